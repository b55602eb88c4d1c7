"""Graph: every check fires for its one cause."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferonnx.errors import PlanError
from inferonnx.graph import Graph, Node


def make_graph() -> Graph:
    """x -> a(w) -> h -> b -> y"""
    return Graph(
        nodes=(
            Node(name="a", op_type="Conv", inputs=("x",), outputs=("h",), weights=("w",)),
            Node(name="", op_type="Relu", inputs=("h",), outputs=("y",)),
        ),
        inputs=("x",),
        outputs=("y",),
        weight_bytes={"w": 100},
        value_bytes={"x": 10, "h": 20, "y": 30},
        times_s=(0.1, 0.2),
        workspace_bytes=(0, 5),
    )


A, B = make_graph().nodes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"times_s": (0.1,)}, "times_s has 1 entries for 2 nodes", id="times"),
        pytest.param({"times_s": (0.1, -1.0)}, "times_s holds", id="negative-time"),
        pytest.param({"times_s": (0.1, math.nan)}, "times_s holds", id="nan-time"),
        pytest.param({"workspace_bytes": ()}, "workspace_bytes has 0", id="workspace"),
        pytest.param({"workspace_bytes": (0, -1)}, "workspace_bytes holds", id="negative"),
        pytest.param({"weight_bytes": {"w": -1}}, "weight 'w' has a negative", id="weight-size"),
        pytest.param(
            {"value_bytes": {"x": 1, "h": -2, "y": 3}}, "value 'h' has a neg", id="value-size"
        ),
        pytest.param({"value_bytes": {"x": 1, "y": 3}}, "size of value 'h' is unknown", id="size"),
        pytest.param({"weight_bytes": {}}, "unknown weight 'w'", id="unknown-weight"),
        pytest.param({"nodes": (B, A)}, "reads 'h' before it exists", id="order"),
        pytest.param({"inputs": ()}, "reads 'x' before it exists", id="no-input"),
        pytest.param({"inputs": ("x", "x")}, "'x' is defined twice", id="input-twice"),
        pytest.param({"nodes": (A, replace(B, outputs=("y", "h")))}, "'h' is defined", id="twice"),
        pytest.param({"nodes": (A, replace(B, outputs=("y", "w")))}, "'w' is defined", id="as-w"),
        pytest.param({"nodes": (A, replace(B, outputs=("y", "")))}, "has no name", id="nameless"),
        pytest.param({"outputs": ("z",)}, "output 'z' is never computed", id="output"),
        pytest.param({"outputs": ("w",)}, "output 'w' is never computed", id="output-weight"),
    ],
)
def test_graph_refuses_what_contradicts_itself(change: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        replace(make_graph(), **change)


def test_graph_accepts_an_input_as_output_and_no_nodes() -> None:
    graph = Graph(
        nodes=(),
        inputs=("x",),
        outputs=("x",),
        weight_bytes={},
        value_bytes={"x": 1},
        times_s=(),
        workspace_bytes=(),
    )
    assert graph.outputs == ("x",)


def test_label_falls_back_to_operator_and_index() -> None:
    graph = make_graph()
    assert [graph.label(index) for index in (0, 1)] == ["a", "Relu (node 1)"]
