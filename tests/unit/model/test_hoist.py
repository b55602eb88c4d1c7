"""Large initializers leave bodies, however deep, and the bodies find them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferonnx.model.draft import Draft
from inferonnx.model.hoist import hoist
from inferonnx.model.subgraphs import reads

FLOAT = TensorProto.FLOAT
node = helper.make_node


def value(name):
    return helper.make_tensor_value_info(name, FLOAT, [300])


def weight(name, fill):
    return numpy_helper.from_array(np.full(300, fill, np.float32), name)


def draft_of(*nodes):
    return Draft(
        ir_version=8, opsets={"": 17}, nodes=list(nodes), inputs=[], outputs=[], names={"w"}
    )


def branch(name, initializers, *, nodes=None, inputs=()):
    made = nodes or [node("Add", ["x", "w"], [f"{name}y"])]
    return helper.make_graph(made, name, list(inputs), [value(f"{name}y")], initializers)


def test_equal_weights_become_one_and_others_get_names_of_their_own():
    draft = draft_of(
        node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch("t", [weight("w", 1)]),
            else_branch=branch("e", [weight("w", 2)]),
        ),
        node("If", ["c"], ["z"], then_branch=branch("t", [weight("w", 1)])),
    )
    hoist(draft, {}, 1024)
    names = list(draft.weights)
    assert len(names) == 2
    assert "w" not in names, "a name that was taken"
    assert {float(np.frombuffer(w.data(), np.float32)[0]) for w in draft.weights.values()} == {1, 2}
    assert set(reads(draft.nodes[0])) == {"c", "x", *names}
    assert set(reads(draft.nodes[1])) & set(names) < set(names)


def test_small_ones_stay():
    draft = draft_of(node("If", ["c"], ["y"], then_branch=branch("t", [weight("w", 1)])))
    hoist(draft, {}, 1200)
    assert draft.weights == {}
    assert draft.nodes[0].attribute[0].g.initializer[0].name == "w"


def test_bodies_of_bodies_lose_theirs_too():
    inner = node("If", ["c"], ["ty"], then_branch=branch("i", [weight("deep", 3)]))
    inner.attribute[0].g.node[0].input[1] = "deep"
    outer = branch("t", [weight("w", 1)], nodes=[node("Add", ["x", "w"], ["u"]), inner])
    draft = draft_of(node("If", ["c"], ["y"], then_branch=outer))
    hoist(draft, {}, 1024)
    assert set(reads(draft.nodes[0])) == {"c", "x", *draft.weights}
    assert len(draft.weights) == 2


def test_an_input_with_an_initializer_is_no_input_any_more():
    body = branch("b", [weight("w", 1)], inputs=[value("x"), value("w")])
    draft = draft_of(node("Loop", ["n", "", "s"], ["y"], body=body))
    hoist(draft, {}, 1024)
    assert [v.name for v in draft.nodes[0].attribute[0].g.input] == ["x"]


@pytest.mark.parametrize("beside", [True, False], ids=["with initializer", "alone"])
def test_constant_nodes_of_bodies_become_initializers_once(beside):
    constant = node("Constant", [], ["w"], value=weight("any", 4))
    add = node("Add", ["x", "w"], ["ty"])
    body = branch("t", [weight("w", 4)] if beside else [], nodes=[constant, add])
    small = node("Constant", [], ["k"], value_float=1.0)
    body.node.append(small)
    draft = draft_of(node("If", ["c"], ["y"], then_branch=body))
    hoist(draft, {}, 1024)
    assert len(draft.weights) == 1
    kept = draft.nodes[0].attribute[0].g
    assert [n.op_type for n in kept.node] == ["Add", "Constant"]
    assert not kept.initializer


def test_a_body_that_returns_its_weight_copies_it():
    body = helper.make_graph([], "t", [], [value("w")], [weight("w", 1)])
    draft = draft_of(node("If", ["c"], ["y"], then_branch=body))
    hoist(draft, {}, 1024)
    made = draft.nodes[0].attribute[0].g.node
    assert [(n.op_type, list(n.output)) for n in made] == [("Identity", ["w"])]
    assert list(made[0].input) == list(draft.weights)
