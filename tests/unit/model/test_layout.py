"""The CPU's layout: its block size, and probes that tell it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from inferonnx.errors import ModelError
from inferonnx.model import layout, prepare

node = helper.make_node

KINDS = [
    "Conv",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReorderInput",
    "ReorderOutput",
    "Upsample",
]


class Nodes:
    """As much of a draft as a probe looks at."""

    def __init__(self, *kinds: str) -> None:
        self.nodes = [node(k, ["a"], ["b"], domain="com.microsoft.nchwc") for k in kinds]


def kinds_of(model: bytes) -> set[str]:
    graph = onnx.load_model_from_string(model).graph
    return {n.op_type for n in graph.node if n.domain == "com.microsoft.nchwc"}


def run(model: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [v.name for v in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def test_blocks_are_of_8_or_16_channels():
    assert layout.block_channels() in {8, 16}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_operator_has_a_probe_with_its_answer(kind):
    probe = layout.probe_of(Nodes(kind))
    assert probe is not None
    assert kind in kinds_of(probe.model)
    assert len(probe.model) < 200_000
    for name, got in run(probe.model, probe.inputs).items():
        assert np.allclose(got, probe.outputs[name], rtol=1e-4, atol=1e-4)
        assert got.std() > 0.01


def test_a_probe_has_convolutions_in_every_form():
    probe = layout.probe_of(Nodes("Conv"))
    convs = [n for n in onnx.load_model_from_string(probe.model).graph.node if n.op_type == "Conv"]
    groups = {helper.get_node_attr_value(n, "group") for n in convs}
    assert {1, 32} <= groups
    assert any(len(n.input) == 4 for n in convs), "the one that adds"


def test_a_probe_tells_another_block_size():
    """Weights blocked for 8 channels give other numbers where blocks have 16, and back."""
    probe = layout.probe_of(Nodes("Conv"))
    model = onnx.load_model_from_string(probe.model)
    size = layout.block_channels()
    other = 24 - size
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.shape == (32, 32, 3, 3):
            o, i, h, w = array.shape
            blocked = array.reshape(o // size, i // size, h, w, size, size)
            plain = blocked.transpose(0, 5, 1, 4, 2, 3).reshape(o, i, h, w)
            again = plain.reshape(o // other, other, i // other, other, h, w)
            moved = np.ascontiguousarray(again.transpose(0, 2, 4, 5, 3, 1)).reshape(o, i, h, w)
            tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    got = run(model.SerializeToString(), probe.inputs)
    assert not all(np.allclose(got[k], v, atol=1e-2) for k, v in probe.outputs.items())


def test_a_graph_without_such_operators_is_generic():
    assert layout.layout_of(Nodes()) == "generic"
    assert layout.probe_of(Nodes()) is None


def test_operators_inside_bodies_count():
    inner = helper.make_graph(
        [node("Conv", ["a"], ["b"], domain="com.microsoft.nchwc")], "b", [], []
    )
    draft = Nodes()
    draft.nodes = [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)]
    assert layout.layout_of(draft) == f"nchwc{layout.block_channels()}"


def test_an_operator_without_a_probe_is_refused():
    with pytest.raises(ModelError, match="no probe for the CPU-specific operator 'Novelty'"):
        layout.probe_of(Nodes("Novelty"))


def test_wrong_numbers_on_this_machine_are_an_error(monkeypatch):
    real = layout._run

    def wrong(model, names, inputs):
        results = real(model, names, inputs)
        return {k: v + 1 for k, v in results.items()} if kinds_of(model) else results

    monkeypatch.setattr(layout, "_run", wrong)
    with pytest.raises(ModelError, match="compute wrong numbers"):
        layout.probe_of(Nodes("Conv"))


def test_a_model_with_every_operator_of_the_layout(build, save, cut):
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((32, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((32, 32, 1, 1)).astype(np.float32),
        "s": np.array([1, 1, 2, 2], np.float32),
    }
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["b", "v"], ["c"]),
        node("AveragePool", ["c"], ["d"], kernel_shape=[2, 2]),
        node(
            "Resize",
            ["d", "", "s"],
            ["e"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        node("Conv", ["e", "v"], ["f"]),
        node("GlobalMaxPool", ["f"], ["g"]),
        node("GlobalAveragePool", ["f"], ["h"]),
        node("Add", ["g", "h"], ["y"]),
    ]
    model = build(nodes, {"x": (TensorProto.FLOAT, [1, 3, 8, 8])}, ["y"], weights)
    with prepare(save(model)) as prepared:
        assert prepared.layout == f"nchwc{layout.block_channels()}"
        assert kinds_of(prepared.probe.model) >= {n.op_type for n in prepared.graph.nodes} & set(
            KINDS
        )
        got = cut(prepared, range(1, len(prepared.graph.nodes)), prepared.sample)
        assert np.array_equal(got["y"], prepared.expected["y"])
