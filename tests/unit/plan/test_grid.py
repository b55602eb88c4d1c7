"""The grid: boxes are halved by bytes until single, and no pair is lost."""

from __future__ import annotations

from inferonnx.plan.grid import Box, Grid
from inferonnx.plan.lattice import Edge, Lattice

LATTICE = Lattice(
    cuts=(0, 1, 2),
    edges=((Edge(1, 10, 5, 0, 0), Edge(2, 100, 9, 0, 0)), (Edge(2, 90, 7, 0, 0),)),
    partition_ps=0,
    is_exact=True,
)


def test_grid_collects_the_values_that_fit() -> None:
    grid = Grid(LATTICE)
    assert (grid.buffers, grid.activations) == ([0, 10, 90, 100], [5, 7, 9])
    assert grid.whole() == Box(0, 3, 0, 2)
    small = Grid(LATTICE, available_bytes=97)
    assert (small.buffers, small.activations) == ([0, 10, 90], [5, 7])


def test_halves_part_the_longer_side_by_bytes() -> None:
    grid = Grid(LATTICE)
    assert grid.halves(Box(0, 3, 0, 2)) == (Box(0, 1, 0, 2), Box(2, 3, 0, 2))
    assert grid.halves(Box(2, 2, 0, 2)) == (Box(2, 2, 0, 1), Box(2, 2, 2, 2))
    assert grid.corner_bytes(Box(2, 3, 1, 2)) == 97


def test_halving_ends_in_every_single_pair() -> None:
    grid = Grid(LATTICE)
    boxes, singles = [grid.whole()], []
    while boxes:
        box = boxes.pop()
        halves = grid.halves(box)
        boxes.extend(halves)
        if not halves:
            singles.append((box.buffer_low, box.activation_low))
            assert box == Box(*(box.buffer_low,) * 2, *(box.activation_low,) * 2)
    assert sorted(singles) == [(b, a) for b in range(4) for a in range(3)]
