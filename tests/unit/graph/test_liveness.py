"""Liveness: ranges, boundaries and peaks, by hand and against a direct simulation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import PlanError
from inferonnx.graph import (
    Graph,
    Liveness,
    LiveRange,
    Node,
    boundary,
    live_ranges,
    partition_activation_bytes,
)


def make_residual() -> Graph:
    """x feeds node 0 and the Add (node 3); node 1 has an output that nothing reads.

    Bytes are distinct powers of two, so that a sum names its members.
    """
    return Graph(
        nodes=(
            Node(name="0", op_type="Conv", inputs=("x",), outputs=("a",)),
            Node(name="1", op_type="Dropout", inputs=("a",), outputs=("b", "mask")),
            Node(name="2", op_type="Relu", inputs=("b",), outputs=("c",)),
            Node(name="3", op_type="Add", inputs=("c", "x"), outputs=("y",)),
        ),
        inputs=("x", "unused"),
        outputs=("y", "a"),
        weight_bytes={},
        value_bytes={"x": 1, "unused": 64, "a": 2, "b": 4, "mask": 8, "c": 16, "y": 32},
        times_s=(0.0,) * 4,
        workspace_bytes=(0, 0, 0, 0),
    )


def test_live_ranges_cover_birth_to_last_reader() -> None:
    assert live_ranges(make_residual()) == (
        LiveRange(value="x", first=0, stop=4),
        LiveRange(value="unused", first=0, stop=0),
        LiveRange(value="a", first=0, stop=4),
        LiveRange(value="b", first=1, stop=3),
        LiveRange(value="mask", first=1, stop=2),
        LiveRange(value="c", first=2, stop=4),
        LiveRange(value="y", first=3, stop=4),
    )


@pytest.mark.parametrize(
    ("cut", "values"),
    [(0, ("x",)), (1, ("x", "a")), (2, ("x", "a", "b")), (3, ("x", "a", "c")), (4, ("a", "y"))],
)
def test_boundary_holds_what_is_needed_later(cut: int, values: tuple[str, ...]) -> None:
    assert boundary(make_residual(), cut) == values
    sizes = make_residual().value_bytes
    assert Liveness(make_residual()).boundary_bytes(cut) == sum(sizes[name] for name in values)


@pytest.mark.parametrize("cut", [-1, 5])
def test_boundary_refuses_a_cut_outside(cut: int) -> None:
    with pytest.raises(PlanError, match=f"no cut {cut}"):
        boundary(make_residual(), cut)


@pytest.mark.parametrize(
    ("start", "stop", "peak"),
    [
        pytest.param(0, 1, 1 + 2, id="first"),
        pytest.param(0, 2, 1 + 2 + 4 + 8, id="unread-output-counts-at-its-node"),
        pytest.param(0, 3, 1 + 2 + 4 + 16, id="unread-output-is-gone-later"),
        pytest.param(0, 4, 1 + 2 + 16 + 32, id="whole"),
        pytest.param(2, 3, 1 + 2 + 4 + 16, id="passing-values-count"),
        pytest.param(2, 4, 1 + 2 + 4 + 16 + 32, id="entering-value-held-to-the-end"),
        pytest.param(3, 4, 1 + 2 + 16 + 32, id="last"),
    ],
)
def test_partition_activation_bytes(start: int, stop: int, peak: int) -> None:
    assert partition_activation_bytes(make_residual(), start, stop) == peak


def test_workspace_counts_at_its_node_only() -> None:
    graph = make_residual()
    busy = Graph(
        nodes=graph.nodes,
        inputs=graph.inputs,
        outputs=graph.outputs,
        weight_bytes={},
        value_bytes=graph.value_bytes,
        times_s=graph.times_s,
        workspace_bytes=(1000, 0, 0, 0),
    )
    assert partition_activation_bytes(busy, 0, 4) == 1000 + 1 + 2
    assert partition_activation_bytes(busy, 1, 4) == 1 + 2 + 16 + 32


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (2, 1), (-1, 2), (3, 5), (4, 5)])
def test_partition_activation_bytes_refuses_bad_ranges(start: int, stop: int) -> None:
    with pytest.raises(PlanError, match="is no partition"):
        partition_activation_bytes(make_residual(), start, stop)


def test_graph_without_nodes_passes_its_input_on() -> None:
    graph = Graph(
        nodes=(),
        inputs=("x",),
        outputs=("x",),
        weight_bytes={},
        value_bytes={"x": 7},
        times_s=(),
        workspace_bytes=(),
    )
    assert boundary(graph, 0) == ("x",)
    assert Liveness(graph).peaks_from(0) == []


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random DAGs of up to 8 nodes, several outputs a node, unread values included."""
    values = [f"in{i}" for i in range(draw(st.integers(1, 2)))]
    inputs = tuple(values)
    nodes = []
    for index in range(draw(st.integers(1, 8))):
        reads = draw(st.lists(st.sampled_from(values), max_size=3, unique=True))
        births = tuple(f"v{index}.{k}" for k in range(draw(st.integers(0, 2))))
        nodes.append(Node(name=str(index), op_type="Op", inputs=tuple(reads), outputs=births))
        values.extend(births)
    n_nodes = len(nodes)
    return Graph(
        nodes=tuple(nodes),
        inputs=inputs,
        outputs=tuple(draw(st.lists(st.sampled_from(values), max_size=3, unique=True))),
        weight_bytes={},
        value_bytes={name: draw(st.integers(0, 50)) for name in values},
        times_s=(0.0,) * n_nodes,
        workspace_bytes=tuple(
            draw(st.lists(st.integers(0, 50), min_size=n_nodes, max_size=n_nodes))
        ),
    )


def simulate(graph: Graph, start: int, stop: int) -> int:
    """The peak of one partition, by acting it out with a set of held values."""

    def needed(name: str, after: int) -> bool:
        readers = graph.nodes[after:]
        return name in graph.outputs or any(name in node.inputs for node in readers)

    born = dict.fromkeys(graph.inputs, -1)
    for index, node in enumerate(graph.nodes):
        born |= dict.fromkeys(node.outputs, index)
    entering = {name for name, birth in born.items() if birth < start and needed(name, start)}
    inside: set[str] = set()
    peak = 0
    for index in range(start, stop):
        inside |= set(graph.nodes[index].outputs)
        held = sum(graph.value_bytes[name] for name in entering | inside)
        peak = max(peak, held + graph.workspace_bytes[index])
        inside = {name for name in inside if needed(name, index + 1)}
    return peak


@given(graphs())
def test_peaks_equal_a_simulation(graph: Graph) -> None:
    n_nodes = len(graph.nodes)
    for start in range(n_nodes):
        expected = [simulate(graph, start, stop) for stop in range(start + 1, n_nodes + 1)]
        assert Liveness(graph).peaks_from(start) == expected
        assert expected == sorted(expected)
