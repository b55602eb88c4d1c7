"""Every kind of model that the product promises to take, cut at every place."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, INT32, BOOL, STRING = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.BOOL,
    TensorProto.STRING,
)
node = helper.make_node


def floats(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def scalar_info(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [])


def small_cnn() -> tuple[list[onnx.NodeProto], dict[str, np.ndarray[Any, Any]]]:
    weights = {
        "w1": floats(16, 3, 3, 3, seed=1) / 4,
        "b1": floats(16, seed=2),
        "w2": floats(32, 16, 3, 3, seed=3) / 8,
        "w3": floats(10, 32, seed=4),
        "b3": floats(10, seed=5),
    }
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    return nodes, weights


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 12, 13, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25])
def test_opsets_from_7_to_the_newest(check, build, opset):
    nodes, weights = small_cnn()
    model = build(
        nodes, {"x": (FLOAT, [1, 3, 8, 8])}, ["y"], weights, opset=opset, ir_version=4 + opset // 4
    )
    prepared = check(model)
    assert len(prepared.graph.weight_bytes) >= 2
    assert prepared.layout.startswith("nchwc")
    assert prepared.probe is not None


@pytest.mark.parametrize("layout", ["native", "generic", "original"])
def test_layouts(check, build, layout):
    nodes, weights = small_cnn()
    model = build(nodes, {"x": (FLOAT, ["n", 3, 8, 8])}, ["y"], weights)
    prepared = check(model, layout=layout, rtol=0 if layout == "native" else 1e-5)
    assert prepared.layout == ("generic" if layout != "native" else prepared.layout)
    assert (prepared.probe is None) == (layout != "native")
    if layout == "original":
        assert [n.op_type for n in prepared.graph.nodes] == [n.op_type for n in nodes]


def test_initializers_listed_as_inputs_are_weights_in_ir_3(check, build):
    nodes, weights = small_cnn()
    inputs = {"x": (FLOAT, [1, 3, 8, 8])} | {k: (FLOAT, list(v.shape)) for k, v in weights.items()}
    prepared = check(build(nodes, inputs, ["y"], weights, opset=8, ir_version=3))
    assert [value.name for value in prepared.inputs] == ["x"]
    assert prepared.notes == ()


def test_inputs_with_a_default_are_constants_and_said_so(check, build):
    weights = {"w": floats(20, 20)}
    inputs = {"x": (FLOAT, ["n", 20]), "w": (FLOAT, [20, 20])}
    model = build([node("MatMul", ["x", "w"], ["y"])], inputs, ["y"], weights)
    prepared = check(model, rtol=1e-5)
    assert [value.name for value in prepared.inputs] == ["x"]
    assert "'w'" in prepared.notes[0]
    assert len(prepared.graph.weight_bytes) == 1


def test_constant_nodes_are_weights(check, build):
    nodes = [
        node("Constant", [], ["w"], value=numpy_helper.from_array(floats(20, 30), "any")),
        node("Constant", [], ["s"], value_float=2.5),
        node("Constant", [], ["i"], value_ints=[1, 0]),
        node("MatMul", ["x", "w"], ["m"]),
        node("Mul", ["m", "s"], ["t"]),
        node("Gather", ["t", "i"], ["y"]),
    ]
    prepared = check(build(nodes, {"x": (FLOAT, [2, 20])}, ["y"]), rtol=1e-5)
    assert list(prepared.graph.weight_bytes.values()) == [20 * 30 * 4]


def test_dynamic_dims_are_given_by_name_and_stay_open(check, build):
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Transpose", ["m"], ["t"], perm=[1, 0, 2]),
        node("Relu", ["t"], ["y"]),
    ]
    model = build(nodes, {"x": (FLOAT, ["batch", "seq", 20])}, ["y"], {"w": floats(20, 30)})
    others = [{"x": floats(*shape, 20)} for shape in ((1, 1), (3, 2), (2, 40), (0, 3))]
    prepared = check(model, dims={"seq": 9}, other_feeds=others, rtol=1e-5)
    assert prepared.sample["x"].shape == (1, 9, 20)
    assert prepared.inputs[0].shape == ("batch", "seq", 20)


def test_outputs_that_are_inputs_or_constants(check, build):
    nodes = [node("Add", ["x", "w"], ["y"]), node("Identity", ["x"], ["z"])]
    weights = {"w": floats(300), "c": floats(5), "big": floats(400)}
    inputs = {"x": (FLOAT, [300]), "unused": (INT64, ["n"])}
    model = build(nodes, inputs, ["y", "x", "w", "c", "z", "big"], weights)
    prepared = check(model)
    assert set(prepared.expected) == {"y", "x", "w", "c", "z", "big"}
    assert [value.name for value in prepared.inputs] == ["x", "unused"]


def test_an_output_that_is_listed_twice(check, build):
    nodes = [node("MatMul", ["x", "w"], ["y"]), node("Relu", ["y"], ["z"])]
    model = build(nodes, {"x": (FLOAT, [4, 20])}, ["y", "z", "y"], {"w": floats(20, 20)})
    assert [value.name for value in check(model).outputs] == ["y", "z", "y"]


def test_a_graph_without_nodes(check, build):
    prepared = check(build([], {"x": (FLOAT, [3])}, ["x"]))
    assert prepared.graph.nodes == ()


def test_optional_inputs_and_outputs_that_are_left_out(check, build):
    nodes = [
        node("Dropout", ["x"], ["d", ""]),
        node("Unsqueeze", ["d", "axes"], ["u"]),
        node("GRU", ["u", "gw", "gr"], ["", "last"], hidden_size=8),
        node("LayerNormalization", ["x", "w"], ["l", "", "spread"]),
        node("Clip", ["l", "", "high"], ["y"]),
    ]
    weights = {
        "axes": ints(0),
        "gw": floats(1, 24, 400, seed=1) / 20,
        "gr": floats(1, 24, 8, seed=2) / 3,
        "w": floats(400),
        "high": np.array(0.5, np.float32),
    }
    check(build(nodes, {"x": (FLOAT, [2, 400])}, ["last", "y", "spread"], weights))


def test_scalars_stay_scalars(check, build):
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Mul", ["s", "half"], ["h"]),
        node("Cast", ["h"], ["n"], to=INT64),
        node("Range", ["zero", "n", "one"], ["r"]),
        node("Shape", ["r"], ["y"]),
    ]
    weights = {
        "half": np.array(0.5, np.float32),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
    }
    model = build(nodes, {"x": (FLOAT, [])}, ["y", "h"], weights)
    prepared = check(model, {"x": np.array(7, np.float32)})
    assert prepared.shapes["h"] == ()


def test_zero_sized_tensors(check, build):
    nodes = [
        node("Concat", ["x", "none"], ["c"], axis=0),
        node("MatMul", ["c", "w"], ["m"]),
        node("MatMul", ["empty", "w"], ["e"]),
        node("Concat", ["m", "e"], ["y"], axis=0),
    ]
    weights = {"w": floats(20, 30), "none": np.zeros((0, 20), np.float32)}
    model = build(nodes, {"x": (FLOAT, [2, 20]), "empty": (FLOAT, ["n", 20])}, ["y"], weights)
    check(model, {"x": floats(2, 20), "empty": floats(0, 20)}, rtol=1e-5)


def test_strings(check, build):
    nodes = [
        node("StringNormalizer", ["x"], ["s"], stopwords=["the"], is_case_sensitive=1),
        node("Concat", ["s", "more"], ["c"], axis=0),
        node("Identity", ["c"], ["y"]),
        node(
            "LabelEncoder",
            ["c"],
            ["z"],
            domain="ai.onnx.ml",
            keys_strings=["a", "cat"],
            values_int64s=[1, 2],
            default_int64=-1,
        ),
    ]
    model = build(
        nodes,
        {"x": (STRING, ["n"])},
        ["y", "z"],
        domains=[("ai.onnx.ml", 2)],
    )
    words = [f"a long word, number {i:03}" for i in range(90)]
    model.graph.initializer.append(helper.make_tensor("more", STRING, [90], words))
    prepared = check(model, {"x": np.array(["the", "cat", "a"], object)})
    assert prepared.graph.value_bytes["s"] >= 2 * 32
    assert prepared.graph.weight_bytes == {}


def test_sequences_cross_cuts(check, build):
    nodes = [
        node("SequenceConstruct", ["x", "w"], ["s"]),
        node("SequenceInsert", ["s", "x"], ["t"]),
        node("SplitToSequence", ["w"], ["u"], axis=0),
        node("SequenceAt", ["u", "one"], ["v"]),
        node("ConcatFromSequence", ["t"], ["y"], axis=0),
        node("SequenceLength", ["u"], ["n"]),
    ]
    weights = {"w": floats(2, 200), "one": np.array(1, np.int64)}
    model = build(nodes, {"x": (FLOAT, [2, 200])}, ["y", "t", "v", "n"], weights)
    prepared = check(model)
    assert prepared.graph.value_bytes["s"] == 2 * 400 * 4
    assert prepared.outputs[1].type == "seq(tensor(float))"
    assert prepared.outputs[1].shape is None


def test_a_sequence_as_input_is_made_up(check, build):
    model = build([node("SequenceLength", ["s"], ["n"])], {}, ["n"])
    model.graph.input.append(helper.make_tensor_sequence_value_info("s", FLOAT, ["a", 3]))
    prepared = check(model)
    assert [array.shape for array in prepared.sample["s"]] == [(1, 3)]


def test_maps_are_outputs(check, build):
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Softmax", ["m"], ["p"]),
        node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_int64s=list(range(30))),
    ]
    model = build(
        nodes, {"x": (FLOAT, [2, 20])}, ["y"], {"w": floats(20, 30)}, domains=[("ai.onnx.ml", 1)]
    )
    prepared = check(model, rtol=1e-5)
    assert prepared.outputs[0].type == "seq(map(int64,tensor(float)))"
    assert prepared.graph.value_bytes["y"] > 2 * 30 * 12


def test_a_map_as_input(check, build):
    model = build(
        [
            node(
                "DictVectorizer",
                ["x"],
                ["v"],
                domain="ai.onnx.ml",
                string_vocabulary=["a", "b", "c"],
            ),
            node("Relu", ["v"], ["y"]),
        ],
        {},
        ["y"],
        domains=[("ai.onnx.ml", 1)],
    )
    kind = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, []))
    model.graph.input.append(helper.make_value_info("x", kind))
    check(model)
    check(model, {"x": {"b": 2.0, "c": -1.0}})


def test_optional_values_are_not_cut(check, build):
    nodes = [
        node("Mul", ["x", "w"], ["m"]),
        node("Optional", ["m"], ["o"]),
        node("OptionalHasElement", ["o"], ["h"]),
        node("OptionalGetElement", ["o"], ["g"]),
        node("Add", ["g", "w"], ["y"]),
    ]
    model = build(nodes, {"x": (FLOAT, [300])}, ["y", "h"], {"w": floats(300)})
    prepared = check(model, layout="original")
    names = [n.op_type for n in prepared.graph.nodes]
    ends = [names.index("OptionalHasElement"), names.index("OptionalGetElement")]
    assert prepared.uncuttable == set(range(names.index("Optional") + 1, max(ends) + 1))
    assert any("optional" in note for note in prepared.notes)


def branch(name: str, weight: np.ndarray[Any, Any], captured: str) -> onnx.GraphProto:
    return helper.make_graph(
        [
            node("Constant", [], [f"{name}k"], value=numpy_helper.from_array(weight * 2, "k")),
            node("MatMul", ["x", f"{name}w"], [f"{name}m"]),
            node("Add", [f"{name}m", f"{name}k"], [f"{name}a"]),
            node("Mul", [f"{name}a", captured], [f"{name}y"]),
        ],
        name,
        [],
        [helper.make_tensor_value_info(f"{name}y", FLOAT, None)],
        [numpy_helper.from_array(weight, f"{name}w")],
    )


def test_if_with_weights_inside_and_from_outside(check, build):
    nodes = [
        node("Relu", ["x"], ["r"]),
        node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch("t", floats(20, 20, seed=1), "outer"),
            else_branch=branch("e", floats(20, 20, seed=2), "r"),
        ),
        node("Add", ["y", "outer"], ["z"]),
    ]
    inputs = {"x": (FLOAT, [20, 20]), "c": (BOOL, [])}
    model = build(nodes, inputs, ["z"], {"outer": floats(20, 20, seed=3)})
    feeds = [{"x": floats(20, 20), "c": np.array(flag)} for flag in (True, False)]
    prepared = check(model, feeds[0], other_feeds=feeds[1:])
    assert len(prepared.graph.weight_bytes) == 5
    chooser = next(n for n in prepared.graph.nodes if n.op_type == "If")
    assert set(chooser.inputs) == {"c", "x", "r"}
    assert len(chooser.weights) == 5


def test_if_that_returns_its_own_weight(check, build):
    def constant_branch(name: str, seed: int) -> onnx.GraphProto:
        return helper.make_graph(
            [],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}w", FLOAT, [300])],
            [numpy_helper.from_array(floats(300, seed=seed), f"{name}w")],
        )

    nodes = [
        node(
            "If",
            ["c"],
            ["y"],
            then_branch=constant_branch("t", 1),
            else_branch=constant_branch("e", 2),
        )
    ]
    model = build(nodes, {"c": (BOOL, [])}, ["y"])
    feeds = [{"c": np.array(flag)} for flag in (True, False)]
    check(model, feeds[0], other_feeds=feeds[1:])


def loop_body(inner: list[onnx.NodeProto] | None = None) -> onnx.GraphProto:
    return helper.make_graph(
        inner
        or [
            node("MatMul", ["s", "bw"], ["m"]),
            node("Tanh", ["m"], ["t"]),
            node("Add", ["t", "outer"], ["s2"]),
            node("Identity", ["s2"], ["each"]),
            node("Identity", ["c"], ["c2"]),
        ],
        "body",
        [
            scalar_info("i", INT64),
            scalar_info("c", BOOL),
            helper.make_tensor_value_info("s", FLOAT, [1, 20]),
        ],
        [
            scalar_info("c2", BOOL),
            helper.make_tensor_value_info("s2", FLOAT, [1, 20]),
            helper.make_tensor_value_info("each", FLOAT, [1, 20]),
        ],
        [numpy_helper.from_array(floats(20, 20, seed=1) / 5, "bw")],
    )


def test_loop_with_weights_inside_and_from_outside(check, build):
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Loop", ["n", "", "r"], ["last", "all"], body=loop_body()),
        node("Add", ["all", "outer"], ["y"]),
    ]
    inputs = {"x": (FLOAT, [1, 20]), "n": (INT64, [])}
    model = build(nodes, inputs, ["y", "last"], {"outer": floats(15, 1, 20)[:1]})
    feeds = [{"x": floats(1, 20), "n": np.array(count)} for count in (3, 0, 7)]
    prepared = check(model, feeds[0], other_feeds=feeds[1:])
    assert list(prepared.graph.weight_bytes.values()) == [1600]


def test_if_inside_loop_keeps_names_apart(check, build):
    inner = [
        node("Constant", [], ["limit"], value_int=2),
        node("Less", ["i", "limit"], ["early"]),
        node(
            "If",
            ["early"],
            ["s2"],
            then_branch=helper.make_graph(
                [node("MatMul", ["s", "w"], ["ty"])],
                "t",
                [],
                [helper.make_tensor_value_info("ty", FLOAT, [1, 20])],
                [numpy_helper.from_array(floats(20, 20, seed=5), "w")],
            ),
            else_branch=helper.make_graph(
                [node("MatMul", ["s", "w"], ["ey"])],
                "e",
                [],
                [helper.make_tensor_value_info("ey", FLOAT, [1, 20])],
                [numpy_helper.from_array(floats(20, 20, seed=6), "w")],
            ),
        ),
        node("Identity", ["s2"], ["each"]),
        node("Identity", ["c"], ["c2"]),
    ]
    nodes = [
        node("Loop", ["n", "", "x"], ["last", "all"], body=loop_body(inner)),
        node("MatMul", ["last", "v"], ["y"]),
    ]
    inputs = {"x": (FLOAT, [1, 20]), "n": (INT64, [])}
    model = build(nodes, inputs, ["y", "all"], {"v": floats(20, 20, seed=7)})
    feed = {"x": floats(1, 20), "n": np.array(4)}
    prepared = check(model, feed, rtol=1e-5)
    assert len(prepared.graph.weight_bytes) == 3


def test_scan_with_weights_inside(check, build):
    body = helper.make_graph(
        [
            node("Add", ["s", "e"], ["a"]),
            node("MatMul", ["a", "w"], ["s2"]),
            node("Relu", ["s2"], ["o"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("s", FLOAT, [20]),
            helper.make_tensor_value_info("e", FLOAT, [20]),
        ],
        [
            helper.make_tensor_value_info("s2", FLOAT, [20]),
            helper.make_tensor_value_info("o", FLOAT, [20]),
        ],
        [numpy_helper.from_array(floats(20, 20) / 5, "w")],
    )
    nodes = [
        node("ReduceSum", ["x", "axes"], ["start"], keepdims=0),
        node("Scan", ["start", "x"], ["last", "all"], body=body, num_scan_inputs=1),
        node("Sigmoid", ["all"], ["y"]),
    ]
    model = build(nodes, {"x": (FLOAT, ["t", 20])}, ["y", "last"], {"axes": ints(0)})
    prepared = check(model, {"x": floats(5, 20)}, other_feeds=[{"x": floats(1, 20)}])
    assert list(prepared.graph.weight_bytes.values()) == [1600]


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(check, build, op_type):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type]
    weights = {
        "w": floats(2, gates * 16, 12, seed=1) / 4,
        "r": floats(2, gates * 16, 16, seed=2) / 4,
        "b": floats(2, 2 * gates * 16, seed=3),
        "h": floats(2, 3, 16, seed=4),
    }
    nodes = [
        node("Relu", ["x"], ["r0"]),
        node(
            op_type,
            ["r0", "w", "r", "b", "", "h"],
            ["all", "last"],
            hidden_size=16,
            direction="bidirectional",
        ),
        node("Tanh", ["all"], ["y"]),
    ]
    model = build(nodes, {"x": (FLOAT, ["t", 3, 12])}, ["y", "last"], weights)
    others = [{"x": floats(1, 3, 12)}]
    prepared = check(model, {"x": floats(7, 3, 12)}, other_feeds=others, rtol=1e-6)
    assert {"w", "r"} <= set(prepared.graph.weight_bytes)


def test_integer_quantisation(check, build):
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.integers(-90, 90, (16, 40, 3, 3)).astype(np.int8),
        "ws": np.full(16, 0.02, np.float32),
        "wz": np.zeros(16, np.int8),
        "m": rng.integers(-90, 90, (16, 90)).astype(np.int8),
        "ms": np.array(0.01, np.float32),
        "mz": np.array(0, np.int8),
        "s": np.array(0.05, np.float32),
        "z": np.array(128, np.uint8),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["dw"], axis=0),
        node("Conv", ["d", "dw"], ["c"], pads=[1, 1, 1, 1]),
        node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
        node("DequantizeLinear", ["cq", "s", "z"], ["cd"]),
        node("GlobalAveragePool", ["cd"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("DynamicQuantizeLinear", ["f"], ["fq", "fs", "fz"]),
        node("MatMulInteger", ["fq", "m", "fz", "mz"], ["mm"]),
        node("Cast", ["mm"], ["mf"], to=FLOAT),
        node("Mul", ["fs", "ms"], ["scale"]),
        node("Mul", ["mf", "scale"], ["y"]),
    ]
    model = build(nodes, {"x": (FLOAT, [1, 40, 6, 6])}, ["y"], weights)
    prepared = check(model)
    assert sum(prepared.graph.weight_bytes.values()) >= 16 * 40 * 9 + 16 * 90


def test_local_functions_are_inlined(check, build):
    function = helper.make_function(
        "local",
        "Dense",
        ["a", "w"],
        ["b"],
        [node("MatMul", ["a", "w"], ["t"]), node("Relu", ["t"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    nodes = [
        node("Dense", ["x", "w1"], ["h"], domain="local"),
        node("Dense", ["h", "w2"], ["y"], domain="local"),
    ]
    weights = {"w1": floats(20, 30, seed=1), "w2": floats(30, 20, seed=2)}
    model = build(
        nodes,
        {"x": (FLOAT, [1, 20])},
        ["y"],
        weights,
        domains=[("local", 1)],
        functions=[function],
    )
    prepared = check(model, rtol=1e-5)
    assert {n.domain for n in prepared.graph.nodes} <= {"", "com.microsoft"}
    assert len(prepared.graph.weight_bytes) == 2


def test_metadata_producer_and_odd_names_survive(check, build):
    nodes = [
        node("MatMul", ["in:0", "a/w__1"], ["out:0"], name="same"),
        node("Relu", ["out:0"], ["y"]),
    ]
    model = build(nodes, {"in:0": (FLOAT, [None, 20])}, ["y"], {"a/w__1": floats(20, 20)})
    helper.set_model_props(model, {"alphabet": "αβγ", "empty": ""})
    prepared = check(model, rtol=1e-5)
    assert prepared.metadata == {"alphabet": "αβγ", "empty": ""}
    assert prepared.inputs[0].shape == (None, 20)


def test_repeated_and_dead_operator_sets_are_tolerated(check, build):
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    domains = [("", 17), ("ai.onnx.ml", 1), ("com.microsoft.experimental", 1), ("com.microsoft", 1)]
    model = build(nodes, {"x": (FLOAT, [1, 20])}, ["y"], {"w": floats(20, 20)}, domains=domains)
    check(model, rtol=1e-5)


def test_a_lie_about_an_output_shape_is_not_believed(check, build):
    nodes = [node("Unsqueeze", ["x", "axes"], ["u"]), node("Relu", ["u"], ["y"])]
    model = build(nodes, {"x": (FLOAT, ["n", 20])}, [], {"axes": ints(0)})
    model.graph.output.append(helper.make_tensor_value_info("y", FLOAT, [1, "seq"]))
    prepared = check(model)
    assert prepared.outputs[0].shape is None or len(prepared.outputs[0].shape) == 3


def test_weights_of_types_that_numpy_does_not_have(check, build):
    rng = np.random.default_rng(3)
    nodes = [
        node("DequantizeLinear", ["packed", "scale"], ["d"], axis=0, block_size=32),
        node("MatMul", ["x", "d"], ["m"]),
        node("Cast", ["brain"], ["b"], to=FLOAT),
        node("Add", ["m", "b"], ["a"]),
        node("Cast", ["small"], ["s"], to=FLOAT),
        node("Add", ["a", "s"], ["y"]),
    ]
    weights = {"scale": np.full((4, 30), 0.1, np.float32)}
    model = build(nodes, {"x": (FLOAT, [1, 128])}, ["y"], weights, opset=21, ir_version=10)
    nibbles = rng.integers(0, 256, 128 * 30 // 2).astype(np.uint8).tobytes()
    halves = (floats(40, 30).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    eights = rng.integers(0, 126, 40 * 30).astype(np.uint8).tobytes()
    for name, kind, shape, raw in (
        ("packed", TensorProto.INT4, (128, 30), nibbles),
        ("brain", TensorProto.BFLOAT16, (40, 30), halves),
        ("small", TensorProto.FLOAT8E4M3FN, (40, 30), eights),
    ):
        model.graph.initializer.append(
            onnx.TensorProto(name=name, data_type=kind, dims=shape, raw_data=raw)
        )
    prepared = check(model, layout="original", rtol=1e-5)
    sizes = {int(prepared.weight(name).dtype): b for name, b in prepared.graph.weight_bytes.items()}
    assert sizes == {
        int(TensorProto.INT4): 1920,
        int(TensorProto.BFLOAT16): 2400,
        int(TensorProto.FLOAT8E4M3FN): 1200,
    }


def test_half_precision(check, build):
    weights = {"w": floats(30, 40).astype(np.float16), "b": floats(40).astype(np.float16)}
    nodes = [node("Gemm", ["x", "w", "b"], ["g"]), node("Relu", ["g"], ["y"])]
    prepared = check(build(nodes, {"x": (TensorProto.FLOAT16, [2, 30])}, ["y"], weights), rtol=1e-3)
    assert sum(prepared.graph.weight_bytes.values()) >= 2400


def test_sparse_initializers(check, build):
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    model = build(nodes, {"x": (FLOAT, [1, 40])}, ["y"])
    values = helper.make_tensor("w", FLOAT, [4], [1.0, 2.0, 3.0, 4.0])
    indices = helper.make_tensor("w.i", INT64, [4], [0, 50, 600, 1599])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [40, 40]))
    check(model, rtol=1e-5)


def test_nodes_in_any_order_and_dead_ones(check, build):
    nodes = [
        node("Relu", ["m"], ["y"]),
        node("MatMul", ["x", "w"], ["m"]),
        node("Neg", ["x"], ["nobody"]),
    ]
    prepared = check(build(nodes, {"x": (FLOAT, [1, 20])}, ["y"], {"w": floats(20, 20)}), rtol=1e-5)
    assert "Neg" not in {n.op_type for n in prepared.graph.nodes}


def test_operators_of_onnxruntime_itself(check, build):
    nodes = [
        node(
            "SkipLayerNormalization",
            ["x", "r", "g", "b", "bias"],
            ["s", "", "", "sum"],
            domain="com.microsoft",
        ),
        node("BiasGelu", ["s", "bias"], ["e"], domain="com.microsoft"),
        node("Attention", ["e", "qkv", "qkvb"], ["a"], domain="com.microsoft", num_heads=4),
        node("FusedGemm", ["flat", "w", "bias"], ["f"], domain="com.microsoft", activation="Relu"),
    ]
    width = 320
    weights = {
        "g": floats(width, seed=1),
        "b": floats(width, seed=2),
        "bias": floats(width, seed=3),
        "qkv": floats(width, 3 * width, seed=4) / 20,
        "qkvb": floats(3 * width, seed=5),
        "w": floats(width, width, seed=6) / 20,
        "r": floats(1, 5, width, seed=7),
        "shape": ints(-1, width),
    }
    nodes.insert(3, node("Reshape", ["a", "shape"], ["flat"]))
    model = build(nodes, {"x": (FLOAT, [1, 5, width])}, ["f", "sum"], weights)
    prepared = check(model, rtol=1e-5)
    assert prepared.notes == ()
    assert len(prepared.graph.weight_bytes) == 7


def test_constant_nodes_of_ir_version_3_are_no_inputs(check, build):
    nodes = [
        node("Constant", [], ["s"], value=numpy_helper.from_array(ints(4), "any")),
        node("Reshape", ["x", "s"], ["y"]),
    ]
    model = build(nodes, {"x": (FLOAT, [2, 2])}, ["y"], opset=9, ir_version=3, domains=())
    assert [value.name for value in check(model).inputs] == ["x"]


def test_convolutions_inside_bodies(check, build):
    def conv_branch(name: str, seed: int) -> onnx.GraphProto:
        return helper.make_graph(
            [
                node("Conv", ["x", f"{name}w"], [f"{name}c"], pads=[1, 1, 1, 1]),
                node("Relu", [f"{name}c"], [f"{name}r"]),
                node("Conv", [f"{name}r", "v"], [f"{name}y"], pads=[1, 1, 1, 1]),
            ],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}y", FLOAT, None)],
            [numpy_helper.from_array(floats(32, 32, 3, 3, seed=seed) / 9, f"{name}w")],
        )

    nodes = [
        node("If", ["c"], ["y"], then_branch=conv_branch("t", 1), else_branch=conv_branch("e", 2)),
        node("Conv", ["y", "v"], ["z"], pads=[1, 1, 1, 1]),
    ]
    inputs = {"x": (FLOAT, [1, 32, 6, 6]), "c": (BOOL, [])}
    model = build(nodes, inputs, ["z"], {"v": floats(32, 32, 3, 3, seed=3) / 9})
    feeds = [{"x": floats(1, 32, 6, 6), "c": np.array(flag)} for flag in (True, False)]
    prepared = check(model, feeds[0], other_feeds=feeds[1:])
    assert prepared.probe is not None
    assert len(prepared.graph.weight_bytes) >= 3


def test_one_weight_read_twice_by_one_node(check, build):
    nodes = [node("Greater", ["x", "w"], ["m"]), node("Where", ["m", "w", "w"], ["y"])]
    model = build(nodes, {"x": (FLOAT, [400])}, ["y"], {"w": floats(400)})
    prepared = check(model)
    assert {w for n in prepared.graph.nodes for w in n.weights} <= {"w"}


def test_float16_tables_and_products_in_pieces(check, build):
    weights = {
        "t": floats(500, 20).astype(np.float16),
        "w": floats(20, 500).astype(np.float16),
    }
    nodes = [node("Gather", ["t", "i"], ["g"]), node("MatMul", ["g", "w"], ["y"])]
    model = build(nodes, {"i": (INT64, ["n"])}, ["y"], weights)
    check(model, {"i": ints(3, 499, -500)}, rtol=1e-2, piece_bytes=4096)


def test_a_name_of_a_body_may_be_one_of_the_outer_graph_elsewhere(check, build):
    """Bodies of two nodes use the same names; each keeps its own weight."""
    nodes = [
        node("Loop", ["n", "", "x"], ["a", "s"], body=loop_body()),
        node("Loop", ["n", "", "a"], ["y", "t"], body=loop_body()),
    ]
    for place, loop in enumerate(nodes):
        tensor = numpy_helper.from_array(floats(20, 20, seed=place) / 5, "bw")
        loop.attribute[0].g.initializer[0].CopyFrom(tensor)
    inputs = {"x": (FLOAT, [1, 20]), "n": (INT64, [])}
    model = build(nodes, inputs, ["y", "s", "t"], {"outer": floats(1, 20)})
    prepared = check(model, {"x": floats(1, 20), "n": np.array(3)})
    assert sorted(prepared.graph.weight_bytes.values()) == [1600, 1600]


def test_a_model_without_inputs(check, build):
    nodes = [node("MatMul", ["a", "b"], ["m"]), node("Relu", ["m"], ["y"])]
    model = build(nodes, {}, ["y"], {"a": floats(20, 30), "b": floats(30, 20)})
    prepared = check(model)
    assert prepared.sample == {}
    assert sum(prepared.graph.weight_bytes.values()) == 1600


def test_a_model_whose_only_output_was_folded_away(check, build):
    nodes = [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["y"])]
    prepared = check(build(nodes, {"x": (FLOAT, [20, 30])}, ["y"]))
    assert [n.op_type for n in prepared.graph.nodes] == ["Identity"]
    assert prepared.outputs[0].shape == (20, 30)
