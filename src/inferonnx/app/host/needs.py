"""What calls need beside each other, from the figures of a manifest (docs/memory.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from inferonnx.sealed import Manifest

FIXED_BYTES = 10 * MIB
"""What a pass takes whatever its inputs are: code pages of the library, and the margin.
Passes that hold next to nothing were measured at 12 to 13 MiB."""


SHARING_MEASURED = 8
"""Calls that shared passes when it was measured what they take."""


def sharing_bytes(manifest: Manifest, n_calls: int) -> int:
    """Return what calls take that share a pass, beside floor and weights.

    One runs at a time. The others hold what a call holds, and once for all of them up to
    the memory of the largest partition is lost: what they hold lies in the arena where it
    would be free. Both were measured together, with `SHARING_MEASURED` calls, and are
    `call_bytes` for each; of what was lost, fewer calls may not have paid all.
    """
    if n_calls < 2:
        return manifest.arena.peak_bytes
    others = (n_calls - 1) * manifest.memory.call_bytes
    missing = max(0, SHARING_MEASURED - n_calls)
    lost = _activations(manifest) * missing // (SHARING_MEASURED - 1)
    return manifest.arena.peak_bytes + others + lost


def call_bytes_where_not_measured(held_bytes: int, activation_bytes: int) -> int:
    """Return a call's bytes that make `sharing_bytes` count all that may be lost."""
    return held_bytes + -(-activation_bytes // (SHARING_MEASURED - 1))


def sharing_calls(manifest: Manifest, spare_bytes: int, most: int) -> int:
    """Return how many calls may share a pass, with so much to spare beside that of one."""
    one = sharing_bytes(manifest, 1)
    return max(
        (n for n in range(2, most + 1) if sharing_bytes(manifest, n) - one <= spare_bytes),
        default=1,
    )


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


def _activations(manifest: Manifest) -> int:
    return max((partition.activation_bytes for partition in manifest.partitions), default=0)
