"""choose_resident against every subset, and its promises for many blocks."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from inferonnx.plan import choose_resident


def largest_streamed(blocks: list[int], kept: frozenset[int]) -> int:
    return max((block for i, block in enumerate(blocks) if i not in kept), default=0)


@given(blocks=st.lists(st.integers(0, 10**7), max_size=10), share=st.floats(0, 1))
def test_choose_resident_equals_brute_force(blocks: list[int], share: float) -> None:
    least = max(blocks, default=0)
    available = least + int(share * (sum(blocks) - least))
    best = 0
    for flags in product((False, True), repeat=len(blocks)):
        kept = frozenset(i for i, keep in enumerate(flags) if keep)
        resident = sum(blocks[i] for i in kept)
        if resident + largest_streamed(blocks, kept) <= available:
            best = max(best, resident)
    kept, buffer = choose_resident(blocks, available_bytes=available)
    assert sum(blocks[i] for i in kept) == best
    assert buffer == largest_streamed(blocks, kept)
    assert best + buffer <= available


@given(
    blocks=st.lists(st.integers(0, 10**7), min_size=13, max_size=60),
    share=st.floats(0, 1),
)
def test_choose_resident_of_many_blocks_fits(blocks: list[int], share: float) -> None:
    least = max(blocks)
    available = least + int(share * (sum(blocks) - least))
    kept, buffer = choose_resident(blocks, available_bytes=available)
    assert kept <= set(range(len(blocks)))
    assert {i for i, block in enumerate(blocks) if not block} <= kept
    assert buffer == largest_streamed(blocks, kept)
    assert sum(blocks[i] for i in kept) + buffer <= available
    if available == sum(blocks):
        assert len(kept) == len(blocks)
