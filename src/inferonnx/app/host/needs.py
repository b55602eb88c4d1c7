"""What calls need beside each other, from the figures of a manifest (docs/memory.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.sealed import Manifest


def sharing_bytes(manifest: Manifest, n_calls: int) -> int:
    """Return what calls take that share a pass, beside floor and weights.

    One runs at a time. The others hold what a call holds, and once the memory of the
    largest partition is lost: what they hold lies in the arena where it would be free.
    """
    others = (n_calls - 1) * manifest.memory.call_bytes
    return manifest.arena.peak_bytes + others + (_activations(manifest) if n_calls > 1 else 0)


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


def _activations(manifest: Manifest) -> int:
    return max((partition.activation_bytes for partition in manifest.partitions), default=0)
