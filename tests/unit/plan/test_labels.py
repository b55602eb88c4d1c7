"""solve_within: the best path that holds at most so many bytes, against all paths."""

from __future__ import annotations

import random
from itertools import product

import pytest

from inferonnx.plan.labels import solve_within
from inferonnx.plan.lattice import Edge, Lattice
from inferonnx.plan.paths import CHEAPEST, LIGHTEST, Caps, Price, make_path, walk

CAPS = Caps(buffer=70, resident=90, activation=10)


def make_chain_lattice(seed: int, n_points: int) -> Lattice:
    """One edge a point, so that a path is a choice of residency alone."""
    rng = random.Random(seed)
    blocks = [rng.choice([0, rng.randint(1, 70)]) for _ in range(n_points)]
    return Lattice(
        cuts=tuple(range(n_points + 1)),
        edges=tuple(
            (Edge(k + 1, block, 10, 5, 3 * block + rng.randint(0, 40) if block else 0),)
            for k, block in enumerate(blocks)
        ),
        partition_ps=7,
        is_exact=True,
    )


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("price", [CHEAPEST, LIGHTEST, Price(1, 3)], ids=["cost", "bytes", "both"])
def test_solve_within_equals_every_choice(seed: int, price: Price) -> None:
    lattice = make_chain_lattice(seed, 7)
    edges = tuple(leaving[0] for leaving in lattice.edges)
    guide = walk(lattice, CAPS, price)
    paths = [
        make_path(lattice, edges, flags)
        for flags in product((True, False), repeat=7)
        if all(keep or edge.block for keep, edge in zip(flags, edges, strict=True))
    ]
    for limit in range(35, 300, 23):
        best = min((p.cost, p.held) for p in paths if p.held <= limit)
        for ceiling in (best[0], 10**9):
            path = solve_within(
                lattice, CAPS, limit=limit, guide=guide, ceiling=ceiling, max_labels=None
            )
            assert path is not None
            assert (path.cost, path.held) == best
            assert path in paths
        below = solve_within(
            lattice, CAPS, limit=limit, guide=guide, ceiling=best[0] - 1, max_labels=None
        )
        assert below is None


def test_solve_within_respects_the_caps() -> None:
    lattice = Lattice(
        cuts=(0, 1, 2),
        edges=(
            (Edge(1, 10, 1, 0, 100), Edge(2, 30, 5, 0, 300)),
            (Edge(2, 20, 1, 0, 200),),
        ),
        partition_ps=1,
        is_exact=True,
    )

    def best_cost(caps: Caps, limit: int = 1000) -> int | None:
        guide = walk(lattice, caps, CHEAPEST)
        path = solve_within(lattice, caps, limit=limit, guide=guide, ceiling=10**6, max_labels=None)
        return None if path is None else path.cost

    assert best_cost(Caps(buffer=0, resident=30, activation=5)) == 1
    assert best_cost(Caps(buffer=0, resident=30, activation=4)) == 2
    assert best_cost(Caps(buffer=20, resident=10, activation=4)) == 202
    assert best_cost(Caps(buffer=20, resident=20, activation=4), limit=20) == 102
    assert best_cost(Caps(buffer=10, resident=10, activation=5)) is None


def test_solve_within_keeps_the_most_promising_labels() -> None:
    """With few labels a point the answer still fits, and costs the optimum or more."""
    lattice = make_chain_lattice(2, 12)
    guide = walk(lattice, CAPS, Price(1, 3))
    found = []
    for limit in range(80, 400, 10):
        question = {"limit": limit, "guide": guide, "ceiling": 10**9}
        few = solve_within(lattice, CAPS, max_labels=2, **question)
        best = solve_within(lattice, CAPS, max_labels=None, **question)
        assert best is not None
        if few is not None:
            assert few.held <= limit
            assert few.cost >= best.cost
            found.append(few.cost == best.cost)
    assert len(found) > 16
    assert not all(found)
