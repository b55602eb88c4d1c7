"""partition_io: names at a partition's edge, in stable order."""

from __future__ import annotations

import pytest

from inferonnx.errors import PlanError
from inferonnx.graph import Graph, Node, partition_io

GRAPH = Graph(
    nodes=(
        Node(name="0", op_type="Conv", inputs=("x",), outputs=("a",), weights=("w", "bias")),
        Node(name="1", op_type="Conv", inputs=("a",), outputs=("b",), weights=("v", "bias")),
        Node(name="2", op_type="Add", inputs=("b", "a", "x"), outputs=("y",)),
    ),
    inputs=("x",),
    outputs=("y", "a", "x"),
    weight_bytes={"w": 1, "v": 2, "bias": 3},
    value_bytes=dict.fromkeys("xaby", 4),
    times_s=(0.0,) * 3,
    workspace_bytes=(0,) * 3,
)


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        pytest.param(0, 1, (("x",), ("a",), ("w", "bias")), id="first"),
        pytest.param(1, 2, (("a",), ("b",), ("v", "bias")), id="x-passes-over"),
        pytest.param(2, 3, (("x", "a", "b"), ("y",), ()), id="inputs-by-birth"),
        pytest.param(0, 2, (("x",), ("a", "b"), ("w", "bias", "v")), id="weight-once"),
        pytest.param(0, 3, (("x",), ("a", "y"), ("w", "bias", "v")), id="inner-output-leaves"),
    ],
)
def test_partition_io(start: int, stop: int, expected: tuple[tuple[str, ...], ...]) -> None:
    assert partition_io(GRAPH, start, stop) == expected


def test_partition_io_refuses_an_empty_range() -> None:
    with pytest.raises(PlanError, match="is no partition"):
        partition_io(GRAPH, 1, 1)
