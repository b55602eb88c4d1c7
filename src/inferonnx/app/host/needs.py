"""What calls need beside each other, from the figures of a manifest (docs/memory.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.sizes import KIB, MIB

if TYPE_CHECKING:
    from inferonnx.sealed import Manifest

GROWTH_MARGIN_BYTES = 768 * KIB
"""Added where inputs are not as planned: the margin of a pass was measured with those."""

FIXED_BYTES = 10 * MIB
"""What a pass takes whatever its inputs are: code pages of the library, and the margin.
Passes that hold next to nothing were measured at 12 to 13 MiB."""

CODE_BYTES = 8 * MIB
"""Pages of the library's code that a pass brings in, at least."""

ARENA_MARGIN_BYTES = 2 * MIB
"""An arena's first regions have one."""


def sharing_bytes(manifest: Manifest, n_calls: int) -> int:
    """Return what calls take that share a pass, beside floor and weights.

    One runs at a time. Each of the others takes what a call was measured to take: what it
    holds, and what the arena loses since that lies where it would be free.
    """
    return manifest.arena.peak_bytes + (n_calls - 1) * manifest.memory.call_bytes


def sharing_calls(manifest: Manifest, spare_bytes: int, most: int) -> int:
    """Return how many calls may share a pass, with so much to spare beside that of one.

    Args:
        manifest: Of the model.
        spare_bytes: What is left.
        most: Never more than this.
    """
    return max(1, min(most, 1 + spare_bytes // max(1, manifest.memory.call_bytes)))


def parallel_bytes(manifest: Manifest, n_calls: int) -> int:
    """Return what calls take that run at once, beside floor and weights.

    What was measured for a pass includes code pages and the margin. Each call beside it
    takes the activations of the largest partition, a quarter more for what is lost
    between them, and what a call holds; never more than a pass was measured to take.
    """
    own = _activations(manifest) * 5 // 4 + manifest.memory.call_bytes
    return manifest.arena.peak_bytes + (n_calls - 1) * min(own, manifest.arena.peak_bytes)


def growing_bytes(manifest: Manifest, pass_bytes: int) -> int:
    """Return how much of `pass_bytes` grows with the inputs of its calls.

    Of the call that runs what was measured beyond `FIXED_BYTES`, or twice what is known to
    grow, whichever is more: the arena was seen to lose 0.6 of the activations to larger
    ones. Of the calls beside it, that are in `pass_bytes` with next to no such loss, twice.
    """
    one = manifest.arena.peak_bytes
    known = 2 * (_activations(manifest) + manifest.memory.call_bytes)
    return max(one - FIXED_BYTES, min(one, known)) + 2 * max(0, pass_bytes - one)


def arena_bytes(pass_bytes: int, left_bytes: int) -> int:
    """Return how much of its share a model's passes may take of the arena.

    All that is left to them but code pages, and never less than they need as planned. Regions
    that double have addresses that nothing touches, which count for the arena's limit all the
    same: of eleven models one needed 1.17 times what its passes held.

    Args:
        pass_bytes: What passes take as they were planned, code pages included.
        left_bytes: What is left to them: at least that.
    """
    planned = max(0, pass_bytes - FIXED_BYTES) * 5 // 4 + ARENA_MARGIN_BYTES
    return max(left_bytes - CODE_BYTES, planned)


def _activations(manifest: Manifest) -> int:
    return max((partition.activation_bytes for partition in manifest.partitions), default=0)
