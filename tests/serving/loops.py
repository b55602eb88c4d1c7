"""Skeletons that take as many turns as they are told, or never end."""

from __future__ import annotations

from onnx import TensorProto, helper


def looping(n: int | None = None) -> bytes:
    """Return a model of one Loop that gives 1.0 after `n` turns, or after as many as its input."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on_in"], ["on_out"]),
            helper.make_node("Identity", ["one_in"], ["one_out"]),
        ],
        "body",
        [_value("turn", TensorProto.INT64), _value("on_in", TensorProto.BOOL), _value("one_in")],
        [_value("on_out", TensorProto.BOOL), _value("one_out")],
    )
    nodes = [helper.make_node("Constant", [], ["one"], value_float=1.0)]
    if n is not None:
        nodes.append(helper.make_node("Constant", [], ["turns"], value_int=n))
    nodes.append(helper.make_node("Loop", ["turns", "", "one"], ["last"], body=body))
    inputs = [_value("turns", TensorProto.INT64)] if n is None else []
    graph = helper.make_graph(nodes, "loops", inputs, [_value("last")])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def _value(name: str, kind: int = TensorProto.FLOAT) -> object:
    return helper.make_tensor_value_info(name, kind, [])
