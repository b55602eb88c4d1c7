"""Which blocks stay decrypted when the partitions are given.

The blocks that stay cost their bytes; the others share one buffer as large as the
largest of them. So keeping the largest block also shrinks the buffer, and the
choice is no plain knapsack. For each block k, in order of size, as the largest
streamed one:

1. the buffer is block k, and all larger blocks stay: both are fixed;
2. of the smaller ones those stay whose sum comes closest to what is left: a
   subset-sum problem.

The sums that the k smallest blocks can reach are the set bits of one integer;
block k adds `reach << size`. Beyond a few blocks, sizes are rounded up to 1/32768
of the memory available, so that an integer has 4 KiB and the sum of what is chosen
never exceeds what there is.

This module runs inside the enclave: it imports nothing but the errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.errors import InfeasibleBudgetError

if TYPE_CHECKING:
    from collections.abc import Sequence

# 2**12 subsets take some milliseconds; up to here every choice is tried as it is.
_EXACT_BLOCKS = 12
# Bits of the integer of reachable sums: 200 of them, one a block, take 0.8 MiB.
_STEPS = 1 << 15


def choose_resident(blocks: Sequence[int], *, available_bytes: int) -> tuple[frozenset[int], int]:
    """Return which blocks to keep resident, and the bytes of the buffer for the others.

    The sum of the resident blocks and the largest streamed one fit into
    `available_bytes`, and the resident bytes are as many as possible: exactly for
    up to 12 blocks; for more, at least as many as would be possible with
    (blocks + 1) / 32768 of the memory less.

    Args:
        blocks: Bytes of each partition's weights, in any order. An empty block
            always stays, since it costs nothing.
        available_bytes: Memory for resident blocks and the buffer together.

    Returns:
        Indices into `blocks`, and the size of the largest block that is not among
        them, 0 when all stay.

    Raises:
        InfeasibleBudgetError: The largest block alone does not fit.

    Cost: O(blocks) operations on integers of 4 KiB; about 2 ms for 200 blocks.
    """
    largest = max(blocks, default=0)
    if largest > available_bytes:
        raise InfeasibleBudgetError(
            f"the largest block of weights has {largest} bytes, {available_bytes} are available",
            needed_bytes=largest,
            budget_bytes=available_bytes,
        )
    order = sorted((i for i in range(len(blocks)) if blocks[i]), key=lambda i: blocks[i])
    sizes = [blocks[i] for i in order]
    if sum(sizes) <= available_bytes:
        return frozenset(range(len(blocks))), 0
    pick = _best_exact if len(sizes) <= _EXACT_BLOCKS else _best_rounded
    kept = {order[k] for k in pick(sizes, available_bytes)}
    buffer_bytes = max(size for i, size in zip(order, sizes, strict=True) if i not in kept)
    return frozenset(kept | {i for i, size in enumerate(blocks) if not size}), buffer_bytes


def _best_exact(sizes: list[int], available: int) -> list[int]:
    """Return positions in ascending `sizes` to keep, by trying every subset below each cap."""
    best, chosen, cap, above = -1, 0, 0, 0
    for k in range(len(sizes) - 1, -1, -1):
        room = available - sizes[k] - above
        sums = [0]  # sums[mask]: bytes of the blocks below k whose bits are set
        for size in sizes[:k]:
            sums += [total + size for total in sums]
        mask = max(range(len(sums)), key=lambda m: sums[m] if sums[m] <= room else -1)
        if sums[mask] <= room and above + sums[mask] > best:
            best, chosen, cap = above + sums[mask], mask, k
        above += sizes[k]
    return [i for i in range(len(sizes)) if i > cap or (i < cap and chosen >> i & 1)]


def _best_rounded(sizes: list[int], available: int) -> list[int]:
    """Return positions in ascending `sizes` to keep, by sums rounded up to 1/_STEPS."""
    unit = -(-available // _STEPS)
    units = [-(-size // unit) for size in sizes]
    room_mask = (1 << (available // unit + 1)) - 1
    reach = [1]  # reach[k], bit s: some of the k smallest blocks round to s units in all
    for size in units[:-1]:
        reach.append((reach[-1] | reach[-1] << size) & room_mask)
    best, below, cap, above = -1, 0, 0, 0
    for k in range(len(sizes) - 1, -1, -1):
        room = (available - sizes[k] - above) // unit
        if room < 0:
            break  # the larger blocks alone fill the memory; `above` only grows
        total = (reach[k] & ((1 << (room + 1)) - 1)).bit_length() - 1
        if above + total * unit > best:
            best, below, cap = above + total * unit, total, k
        above += sizes[k]
    kept = list(range(cap + 1, len(sizes)))
    for k in range(cap - 1, -1, -1):
        if not reach[k] >> below & 1:  # this sum needs block k
            kept.append(k)
            below -= units[k]
    return kept
