"""Names that nodes read through their bodies, and renaming them within their scope."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from inferonnx.model.subgraphs import (
    all_graphs,
    all_names,
    all_tensors,
    captured,
    reads,
    rename_reads,
)

FLOAT = TensorProto.FLOAT
node = helper.make_node


def value(name):
    return helper.make_tensor_value_info(name, FLOAT, [1])


def tensor(name):
    return helper.make_tensor(name, FLOAT, [1], [1.0])


@pytest.fixture
def loop():
    """A Loop whose body holds an If; `own` is a name of the body, `far` is read two levels deep."""
    branch = helper.make_graph(
        [node("Add", ["far", "own"], ["d"]), node("Mul", ["d", "k"], ["deep"])],
        "branch",
        [],
        [value("deep")],
        [tensor("k")],
    )
    other = helper.make_graph([], "other", [], [value("returned")])
    body = helper.make_graph(
        [
            node("Add", ["state", "near"], ["own"]),
            node("If", ["c"], ["o"], then_branch=branch, else_branch=other),
        ],
        "body",
        [value("i"), value("c"), value("state")],
        [value("c"), value("o")],
        [tensor("w")],
    )
    return node("Loop", ["n", "", "x", "x"], ["y"], body=body)


def test_reads_are_inputs_then_captured_names_each_once(loop):
    assert reads(loop) == ("n", "x", "near", "returned", "far")
    assert captured(loop.attribute[0].g) == ("near", "returned", "far")


def test_renaming_keeps_the_scope(loop):
    rename_reads(loop, {"x": "X", "far": "FAR", "own": "OWN", "k": "K", "near": "NEAR"})
    assert reads(loop) == ("n", "X", "NEAR", "returned", "FAR")
    body = loop.attribute[0].g
    assert list(body.node[0].output) == ["own"]
    inner = next(a.g for a in body.node[1].attribute if a.name == "then_branch")
    assert list(inner.node[0].input) == ["FAR", "own"]
    assert list(inner.node[1].input) == ["d", "k"]


def test_everything_inside_is_walked(loop):
    graph = helper.make_graph([loop], "g", [value("x")], [value("y")], [tensor("outer")])
    assert [g.name for g in all_graphs(graph)][:2] == ["g", "body"]
    assert sorted(t.name for t in all_tensors(graph)) == ["k", "outer", "w"]
    assert {"x", "y", "outer", "w", "k", "far", "own", "deep", "state"} <= set(all_names(graph))


def test_tensors_in_attributes_are_walked():
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("s", FLOAT, [1], [1.0]),
        helper.make_tensor("si", TensorProto.INT64, [1], [0]),
        [3],
    )
    nodes = [
        node("Constant", [], ["a"], value=tensor("t")),
        node("Constant", [], ["b"], sparse_value=sparse),
    ]
    graph = helper.make_graph(nodes, "g", [], [])
    assert [t.name for t in all_tensors(graph)] == ["t", "s", "si"]
