"""choose_resident: by hand, at its edges, and against every subset."""

from __future__ import annotations

import random
from itertools import product

import pytest

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.plan import choose_resident


@pytest.mark.parametrize(
    ("blocks", "available", "resident", "buffer"),
    [
        pytest.param([], 0, set(), 0, id="no-blocks"),
        pytest.param([0, 0], 0, {0, 1}, 0, id="empty-blocks-always-stay"),
        pytest.param([5], 5, {0}, 0, id="single-block-stays"),
        pytest.param([5, 5], 9, set(), 5, id="nothing-fits-beside-the-buffer"),
        pytest.param([5, 5], 10, {0, 1}, 0, id="all-fit"),
        pytest.param([10, 1, 1, 1], 11, {0}, 1, id="largest-kept-shrinks-the-buffer"),
        pytest.param([0, 9, 4, 3], 12, {0, 3}, 9, id="buffer-of-the-largest"),
        pytest.param([9, 4, 3], 15, {0}, 4, id="large-one-instead-of-two"),
        pytest.param([7, 7, 2], 15, {0}, 7, id="equal-sizes"),
    ],
)
def test_choose_resident(
    blocks: list[int], available: int, resident: set[int], buffer: int
) -> None:
    kept, buffer_bytes = choose_resident(blocks, available_bytes=available)
    assert sum(blocks[i] for i in kept) == sum(blocks[i] for i in resident)
    assert buffer_bytes == buffer
    assert buffer_bytes == max((b for i, b in enumerate(blocks) if i not in kept), default=0)


@pytest.mark.parametrize(
    ("blocks", "available", "needed"),
    [
        pytest.param([3, 8, 1], 7, 8, id="largest-does-not-fit"),
        pytest.param([], -1, 0, id="less-than-nothing"),
    ],
)
def test_choose_resident_names_the_bytes_when_nothing_fits(
    blocks: list[int], available: int, needed: int
) -> None:
    with pytest.raises(InfeasibleBudgetError) as caught:
        choose_resident(blocks, available_bytes=available)
    assert (caught.value.needed_bytes, caught.value.budget_bytes) == (needed, available)
    assert caught.value.node == ""


def test_choose_resident_equals_every_subset_beyond_the_exact_size() -> None:
    """13 blocks of whole units: rounding loses nothing, so the answer is the best."""
    rng = random.Random(5)
    for _ in range(3):
        blocks = [rng.randint(1, 60) for _ in range(13)]
        available = rng.randint(max(blocks), sum(blocks) - 1)
        best = max(
            sum(b for b, keep in zip(blocks, flags, strict=True) if keep)
            for flags in product((0, 1), repeat=13)
            if sum(b for b, keep in zip(blocks, flags, strict=True) if keep)
            + max((b for b, keep in zip(blocks, flags, strict=True) if not keep), default=0)
            <= available
        )
        kept, buffer = choose_resident(blocks, available_bytes=available)
        assert sum(blocks[i] for i in kept) == best
        assert best + buffer <= available


def test_choose_resident_fills_the_memory_for_many_blocks() -> None:
    rng = random.Random(1)
    blocks = [rng.randrange(64, 10 << 20, 64) for _ in range(200)]
    available = 85 << 20
    kept, buffer = choose_resident(blocks, available_bytes=available)
    used = sum(blocks[i] for i in kept) + buffer
    assert available * (1 - 201 / 32768) <= used <= available
