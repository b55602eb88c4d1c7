"""BoxSearch: takes the better of two plans, proves the optimum, stops in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferonnx.graph import Graph
from inferonnx.plan import MemoryModel, Rates, boxes
from inferonnx.plan.boxes import BoxSearch
from inferonnx.plan.lattice import Lattice, build_lattice
from inferonnx.plan.least import lightest_plan
from inferonnx.plan.paths import make_path

ChainMaker = Callable[..., Graph]


@pytest.fixture
def lattice(make_chain: ChainMaker, rates: Rates) -> Lattice:
    """Blocks of 640, 64, 64 and 640; sessions cost nothing, values 1 each."""
    memory = MemoryModel(floor_bytes=0, session_bytes=0, node_bytes=0, weight_input_bytes=0)
    graph = make_chain([640, 64, 64, 640], values=[1] * 5)
    return build_lattice(
        graph, memory=memory, rates=rates, uncuttable=frozenset(), block_limit_bytes=None
    )


def test_offer_keeps_the_better_plan(lattice: Lattice) -> None:
    search = BoxSearch(lattice, available_bytes=3 + 640 + 128, times_ps=0)
    singles = tuple(leaving[0] for leaving in lattice.edges)
    search.offer(make_path(lattice, singles, (False,) * 4))
    assert search.best is not None
    # Residency chosen anew: the two small blocks stay beside the buffer of 640.
    assert search.best.path.kept == (False, True, True, False)
    assert (search.best.peak, search.best.least) == (2 + 640 + 128, 2 + 640)
    before = search.best
    whole = (lattice.edges[0][3],)
    search.offer(make_path(lattice, whole, (True,)))  # does not fit
    assert search.best is before


def test_run_finds_the_best_plan(lattice: Lattice) -> None:
    search = BoxSearch(lattice, available_bytes=3 + 640 + 128, times_ps=0)
    search.run()
    assert search.best is not None
    # Both small blocks in one resident partition: one partition less than with four.
    assert [(e.head, e.block) for e in search.best.path.edges] == [(1, 640), (3, 128), (4, 640)]
    assert search.best.cost == 3 * 1_000_000 + 2 * (640 + 10) * 1_000_000


def test_run_settles_what_no_price_finds(make_chain: ChainMaker, rates: Rates) -> None:
    """The best plan is the cheapest path at no price of memory: only labels find it."""
    memory = MemoryModel(floor_bytes=0, session_bytes=0, node_bytes=0, weight_input_bytes=0)
    lattice = build_lattice(
        make_chain([512, 576, 64, 256], values=[1] * 5),
        memory=memory,
        rates=rates,
        uncuttable=frozenset(),
        block_limit_bytes=None,
    )
    search = BoxSearch(lattice, available_bytes=1218, times_ps=0)
    search.run()
    assert search.best is not None
    path = search.best.path
    assert [edge.block for edge in path.edges] == [512, 640, 256]
    assert path.kept == (False, True, False)
    assert path.cost == (3 * 1 + 2 * 10 + 512 + 256) * 1_000_000


def test_run_finds_nothing_where_nothing_fits(lattice: Lattice) -> None:
    search = BoxSearch(lattice, available_bytes=641, times_ps=0)
    search.run()
    assert search.best is None
    search = BoxSearch(lattice, available_bytes=-1, times_ps=0)
    search.run()
    assert search.best is None


def test_run_of_a_large_graph_stops_at_the_limit(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = make_chain([64 * (1 + k * 7 % 11) for k in range(40)], values=[9] * 41)
    lattice = build_lattice(
        graph, memory=memory, rates=rates, uncuttable=frozenset(), block_limit_bytes=None
    )
    _, lightest = lightest_plan(lattice)
    assert lightest is not None
    costs = []
    for limit in (1, 10**7):
        monkeypatch.setattr(boxes, "MAX_EDGES_SEEN", limit)
        search = BoxSearch(lattice, available_bytes=5_000, times_ps=0)
        search.offer(lightest)
        search.run()
        assert search.best is not None
        assert search.best.peak <= 5_000
        costs.append(search.best.cost)
    assert costs[1] < costs[0]


def test_run_of_a_large_graph_settles_only_what_it_can_afford(
    make_chain: ChainMaker, rates: Rates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph whose best plan only labels find, searched as a large one would be."""
    monkeypatch.setattr("inferonnx.plan.lattice.ALL_POINTS", 1)
    lattice = build_lattice(
        make_chain([512, 576, 64, 256], values=[1] * 5),
        memory=MemoryModel(floor_bytes=0, session_bytes=0, node_bytes=0, weight_input_bytes=0),
        rates=rates,
        uncuttable=frozenset(),
        block_limit_bytes=None,
    )
    costs = []
    for looks in (1, 10**9):
        monkeypatch.setattr(boxes, "LOOKS_PER_LABELLED_EDGE", looks)
        search = BoxSearch(lattice, available_bytes=1218, times_ps=0)
        search.run()
        assert search.best is not None
        costs.append(search.best.cost)
    assert costs == [791_000_000, 792_000_000]
