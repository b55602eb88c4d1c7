"""The lattice: all partitions of a small graph, fewer of a large one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from inferonnx.graph import Graph, Node, boundary, partition_activation_bytes, partition_io
from inferonnx.plan.lattice import ALL_POINTS, SHORT, Edge, Lattice, build_lattice

if TYPE_CHECKING:
    from inferonnx.plan import MemoryModel, Rates

ChainMaker = Callable[..., Graph]


def lattice_of(graph: Graph, memory: MemoryModel, rates: Rates, **options: object) -> Lattice:
    settings = {"uncuttable": frozenset(), "block_limit_bytes": None} | options
    return build_lattice(graph, memory=memory, rates=rates, **settings)


def test_edges_are_all_partitions(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([100, 0, {"w0": 100, "v": 1}], values=[5, 10, 20, 40])
    lattice = lattice_of(graph, memory, rates)
    assert lattice.cuts == (0, 1, 2, 3)
    assert lattice.is_exact
    assert lattice.partition_ps == 1_000_000
    assert lattice.edges == (
        (
            Edge(head=1, block=128, activation=15, session=13, stream=138_000_000),
            Edge(head=2, block=128, activation=35, session=14, stream=138_000_000),
            Edge(head=3, block=192, activation=65, session=17, stream=202_000_000),
        ),
        (
            Edge(head=2, block=0, activation=30, session=11, stream=0),
            Edge(head=3, block=192, activation=70, session=16, stream=202_000_000),
        ),
        (Edge(head=3, block=192, activation=60, session=15, stream=202_000_000),),
    )


def test_forbidden_cuts_are_no_points(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([64] * 4)
    lattice = lattice_of(graph, memory, rates, uncuttable=frozenset({1, 3}))
    assert lattice.cuts == (0, 2, 4)
    assert [[(e.head, e.block) for e in leaving] for leaving in lattice.edges] == [
        [(1, 128), (2, 256)],
        [(2, 128)],
    ]


def test_block_limit_leaves_what_can_not_be_cut(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([64, 64, 640, 64])
    lattice = lattice_of(graph, memory, rates, block_limit_bytes=128)
    assert [[e.head for e in leaving] for leaving in lattice.edges] == [[1, 2], [2], [3], [4]]


def test_a_graph_without_nodes_has_one_point(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    lattice = lattice_of(make_chain([]), memory, rates)
    assert (lattice.cuts, lattice.edges) == ((0,), ())


def test_every_cut_is_a_point_up_to_the_limit(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    assert lattice_of(make_chain([0] * (ALL_POINTS - 1)), memory, rates).is_exact
    assert not lattice_of(make_chain([0] * ALL_POINTS), memory, rates).is_exact


def test_thinning_keeps_the_narrowest_cut_between_weights(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    """Weights at every fourth node; cuts 0, 4, 8... are narrower than the others."""
    weights = [64 if k % 4 == 2 else 0 for k in range(40)]
    widths = [100 - (k % 4 == 0) for k in range(41)]
    workspace = [1000] + [0] * 39  # so that no activation peak calls cuts back
    graph = make_chain(weights, values=widths, workspace=workspace)
    # Cuts 1 and 2 come before the first weight; of the last stretch 39 is left.
    assert lattice_of(graph, memory, rates).cuts == (0, 1, *range(4, 40, 4), 39, 40)


def test_thinning_looks_past_weights_that_are_next_to_nothing(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    """Behind each large weight is a small one, and the cut between them is the narrowest."""
    weights = [1_000_000 if k % 4 == 2 else 64 if k % 4 == 3 else 0 for k in range(40)]
    widths = [100 - (k % 4 == 3) for k in range(41)]
    workspace = [1000] + [0] * 39
    graph = make_chain(weights, values=widths, workspace=workspace)
    assert lattice_of(graph, memory, rates).cuts == (0, 1, *range(3, 40, 4), 40)


def test_thinning_brings_back_the_cuts_of_a_peak(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    """The same, but any two nodes together hold more than each alone, at nodes 20 to 23."""
    weights = [64 if k % 4 == 2 else 0 for k in range(40)]
    widths = [1000 if 20 < k < 24 else 100 - (k % 4 == 0) for k in range(41)]
    cuts = lattice_of(make_chain(weights, values=widths), memory, rates).cuts
    assert cuts == (0, 1, 4, 8, 12, 16, 20, 21, 22, 23, 24, 28, 32, 36, 39, 40)


def test_thinning_joins_small_weights(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    """One weight in fifty is large: the small ones between two of them stay together."""
    weights = [100_000 if k % 50 == 25 else 200 for k in range(500)]
    lattice = lattice_of(make_chain(weights), memory, rates)
    blocks = [weights[start:stop] for start, stop in pairwise(lattice.cuts)]
    assert [len(block) for block in blocks if 100_000 in block] == [1] * 10
    assert len(blocks) == 21


def test_thinning_joins_up_to_a_hundredth(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    """Of 300 equal weights three are a hundredth of all."""
    cuts = lattice_of(make_chain([64] * 300), memory, rates).cuts
    assert cuts == tuple(range(0, 301, 3))


def branching(n_nodes: int) -> Graph:
    """A graph whose activations are widest in the middle of weightless stretches."""
    return Graph(
        nodes=tuple(
            Node(
                name=f"n{k}",
                op_type="Op",
                inputs=(f"v{k}", *((f"v{k - 3}",) if k % 5 == 4 else ())),
                outputs=(f"v{k + 1}",),
                weights=(f"w{k}",) if k % 3 == 0 else (),
            )
            for k in range(n_nodes)
        ),
        inputs=("v0",),
        outputs=(f"v{n_nodes}",),
        weight_bytes={f"w{k}": 64 * (1 + k % 7) for k in range(0, n_nodes, 3)},
        value_bytes={f"v{k}": 10 + (k * 37) % 101 for k in range(n_nodes + 1)},
        times_s=(0.0,) * n_nodes,
        workspace_bytes=(0,) * n_nodes,
    )


@pytest.mark.parametrize("n_nodes", [ALL_POINTS, 60, 150])
def test_thinning_does_not_raise_the_least_activation_peak(
    n_nodes: int, memory: MemoryModel, rates: Rates
) -> None:
    graph = branching(n_nodes)
    lattice = lattice_of(graph, memory, rates)
    finest = max(partition_activation_bytes(graph, k, k + 1) for k in range(n_nodes))
    assert max(leaving[0].activation for leaving in lattice.edges) == finest
    assert lattice.cuts[0] == 0
    assert lattice.cuts[-1] == n_nodes
    assert len(lattice.cuts) < n_nodes


def test_edges_of_a_thinned_lattice_tell_the_truth(memory: MemoryModel, rates: Rates) -> None:
    graph = branching(150)
    lattice = lattice_of(graph, memory, rates)
    for tail, leaving in enumerate(lattice.edges):
        start = lattice.cuts[tail]
        assert [e.head for e in leaving[:SHORT]] == list(
            range(tail + 1, min(tail + SHORT, len(lattice.cuts) - 1) + 1)
        )
        assert leaving[-1].head == len(lattice.cuts) - 1
        for edge in leaving[::7]:
            stop = lattice.cuts[edge.head]
            weights = partition_io(graph, start, stop).weights
            assert edge.block == sum(memory.padded(graph.weight_bytes[w]) for w in weights)
            assert edge.activation == partition_activation_bytes(graph, start, stop)
            assert edge.session == 10 + (stop - start) + 2 * len(weights)
        assert boundary(graph, start)  # every cut of this graph carries something


def test_long_edges_get_fewer_with_their_length(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    lattice = lattice_of(make_chain([64] * 90), memory, rates)
    heads = [edge.head for edge in lattice.edges[0]]
    n_points = len(lattice.cuts)
    assert n_points == 91
    assert heads == [*range(1, 33), *range(36, 64, 4), *range(64, 90, 8), 90]
