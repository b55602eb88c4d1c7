"""Walks and their bounds, against all paths of a small lattice."""

from __future__ import annotations

import random
from itertools import product
from typing import TYPE_CHECKING

import pytest

from inferonnx.plan.lattice import Edge, Lattice
from inferonnx.plan.paths import (
    CHEAPEST,
    LIGHTEST,
    UNREACHABLE,
    Caps,
    Path,
    Price,
    make_path,
    solve_dual,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE = Caps(buffer=10**9, resident=10**9, activation=10**9)


def make_lattice(seed: int, n_points: int = 5) -> Lattice:
    """Edges whose blocks and activations ascend with the head, as a graph's do."""
    rng = random.Random(seed)
    edges = []
    for tail in range(n_points):
        block, activation = 0, rng.randint(1, 20)
        leaving = []
        for head in range(tail + 1, n_points + 1):
            block += rng.choice([0, rng.randint(1, 50)])
            activation += rng.randint(0, 5)
            stream = 3 * block + 40 if block else 0
            leaving.append(Edge(head, block, activation, 5 + head - tail, stream))
        edges.append(tuple(leaving))
    return Lattice(
        cuts=tuple(range(n_points + 1)), edges=tuple(edges), partition_ps=7, is_exact=True
    )


def all_paths(lattice: Lattice, caps: Caps) -> Iterator[Path]:
    """Every division and residency within the caps."""

    def divisions(tail: int) -> Iterator[tuple[Edge, ...]]:
        if tail == len(lattice.edges):
            yield ()
            return
        for edge in lattice.edges[tail]:
            for rest in divisions(edge.head):
                yield (edge, *rest)

    for edges in divisions(0):
        if any(edge.activation > caps.activation for edge in edges):
            continue
        options = [
            [
                kept
                for kept in (True, False)
                if edge.block <= (caps.resident if kept else caps.buffer) and (kept or edge.block)
            ]
            for edge in edges
        ]
        for kept in product(*options):
            yield make_path(lattice, edges, kept)


def test_make_path_adds_up() -> None:
    lattice = Lattice(
        cuts=(0, 1, 2),
        edges=((Edge(1, 10, 0, 3, 100),), (Edge(2, 20, 0, 4, 200),)),
        partition_ps=7,
        is_exact=True,
    )
    edges = tuple(leaving[0] for leaving in lattice.edges)
    path = make_path(lattice, edges, (True, False))
    assert (path.cost, path.held) == (2 * 7 + 200, 3 + 4 + 10)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "caps",
    [FREE, Caps(60, 0, 10**9), Caps(30, 60, 20), Caps(-1, 40, 25)],
    ids=["free", "streamed", "tight", "resident"],
)
@pytest.mark.parametrize(
    "price", [CHEAPEST, LIGHTEST, Price(1, 3), Price(0, 1)], ids=["cost", "bytes", "both", "only"]
)
def test_walk_finds_the_cheapest_path(seed: int, caps: Caps, price: Price) -> None:
    lattice = make_lattice(seed)
    worth = [
        price.picosecond * path.cost + price.byte * path.held for path in all_paths(lattice, caps)
    ]
    taken = walk(lattice, caps, price)
    if not worth:
        assert taken.path is None
        assert taken.tails[0] == UNREACHABLE
        return
    assert taken.path is not None
    assert taken.path in set(all_paths(lattice, caps))
    assert taken.tails[0] == min(worth)
    assert price.picosecond * taken.path.cost + price.byte * taken.path.held == min(worth)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("hint", [CHEAPEST, Price(1, 1), LIGHTEST], ids=["cost", "even", "bytes"])
def test_solve_dual_bounds_every_path_and_is_sharp(seed: int, hint: Price) -> None:
    lattice = make_lattice(seed)
    paths = list(all_paths(lattice, FREE))
    for limit in range(min(p.held for p in paths), max(p.held for p in paths) + 20, 9):
        dual = solve_dual(lattice, FREE, limit=limit, ceiling=UNREACHABLE, hint=hint)
        assert dual is not None
        within = [path for path in paths if path.held <= limit]
        assert dual.floor_cost <= min(path.cost for path in within)
        assert set(dual.paths) <= set(paths)
        if dual.is_tight:
            path = dual.walk.path
            assert path is not None
            assert (path.cost, path.held) == min((p.cost, p.held) for p in within)
            assert path.cost == dual.floor_cost
        # No other price gives a sharper bound.
        others = [Price(1, byte) for byte in range(12)] + [Price(3, 1), Price(2, 1)]
        assert dual.floor_cost >= max(
            walk(lattice, FREE, price).floor_cost(limit) for price in others
        )


def test_solve_dual_is_none_when_nothing_is_light_enough() -> None:
    lattice = make_lattice(3)
    lightest = min(path.held for path in all_paths(lattice, FREE))
    for hint in (CHEAPEST, LIGHTEST):
        options = {"ceiling": UNREACHABLE, "hint": hint}
        assert solve_dual(lattice, FREE, limit=lightest - 1, **options) is None
        assert solve_dual(lattice, FREE, limit=lightest, **options) is not None
        assert solve_dual(lattice, Caps(-1, -1, -1), limit=10**9, **options) is None


def test_solve_dual_stops_above_the_ceiling() -> None:
    lattice = make_lattice(1)
    paths = list(all_paths(lattice, FREE))
    limit = min(path.held for path in paths) + 10
    sharp = solve_dual(lattice, FREE, limit=limit, ceiling=UNREACHABLE, hint=CHEAPEST)
    assert sharp is not None
    early = solve_dual(lattice, FREE, limit=limit, ceiling=0, hint=sharp.walk.price)
    assert early is not None
    assert len(early.paths) == 1
    assert 0 < early.floor_cost <= sharp.floor_cost
