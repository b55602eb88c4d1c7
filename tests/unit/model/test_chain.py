"""The original graph cut into plain ONNX files: every kind of model, at every place."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferonnx.errors import ModelError, UsageError
from inferonnx.model.chain import (
    Chain,
    ChainSession,
    cut_chain,
    infer_value_types,
    load_chain,
    measure_operators,
    read_original,
)

FLOAT, INT64, BOOL, STRING = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.STRING,
)
node = helper.make_node
info = helper.make_tensor_value_info


def floats(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = {"x": (FLOAT, [2, 4])}


def typed(path: str) -> Any:
    original = read_original(path)
    infer_value_types(original)
    return original


def whole(path: str, feed: Any) -> dict[str, Any]:
    """Run plain onnxruntime without its optimiser, so that nothing is fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def equal(got: Any, want: Any) -> bool:
    if isinstance(want, list):
        return len(got) == len(want) and all(map(equal, got, want))
    return got.dtype == want.dtype and np.array_equal(got, want)


@pytest.fixture
def cut_everywhere(save, tmp_path):
    """Cut a model in no place, in each, and in all; every chain gives the model's bits."""

    def run(model: onnx.ModelProto | str, feed: Any, n_operators: int) -> Chain:
        path = model if isinstance(model, str) else save(model)
        original = typed(path)
        assert len(original.operators) == n_operators
        allowed = [c for c in range(1, n_operators) if c not in original.uncuttable]
        want = whole(path, feed)
        for number, cuts in enumerate([[], *([c] for c in allowed), allowed]):
            folder = str(tmp_path / f"parts{number}")
            chain = cut_chain(original, folder, cuts, prefix="m_split", strategy="test")
            assert load_chain(folder, model_path=path) == chain
            for link in chain.links:
                proto = onnx.load(chain.path(link))
                assert [v.name for v in proto.graph.output] == list(link.outputs)
            for session in (
                ChainSession(chain, optimise="off"),
                ChainSession(chain, reload=True, optimise="off"),
            ):
                got, seconds = session.run(feed)
                assert len(seconds) == len(chain.links)
                assert list(got) == [v.name for v in original.outputs]
                for name, value in want.items():
                    assert equal(got[name], value), (name, cuts)
        return chain

    return run


def test_residual_and_dense_connections_several_inputs_and_outputs(build, cut_everywhere):
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Add", ["b", "x"], ["c"]),  # residual
        node("Concat", ["x", "b", "c"], ["d"], axis=1),  # dense
        node("Mul", ["c", "z"], ["e"]),
        node("Add", ["c", "bias"], ["f"]),
        node("Concat", ["d", "e"], ["g"], axis=1),
    ]
    weights = {"w": floats(4, 4), "bias": floats(4, seed=1)}
    model = build(nodes, X | {"z": (FLOAT, [2, 4])}, ["g", "c", "f"], weights)
    feed = {"x": floats(2, 4, seed=2), "z": floats(2, 4, seed=3)}
    chain = cut_everywhere(model, feed, 7)
    for link in chain.links:
        onnx.checker.check_model(onnx.load(chain.path(link)), full_check=True)
    assert chain.links[3].inputs == ("x", "b", "c")
    assert chain.links[2].outputs == ("c",)  # an output of the model and of this file


def test_a_weight_that_several_read_is_in_each_of_their_files(build, cut_everywhere):
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    chain = cut_everywhere(build(nodes, X, ["y"], {"w": floats(4, 4)}), {"x": floats(2, 4)}, 2)
    for link in chain.links:
        assert [t.name for t in onnx.load(chain.path(link)).graph.initializer] == ["w"]


@pytest.mark.parametrize("ir_version", [3, 8])
def test_initializers_that_are_inputs_too(build, cut_everywhere, save, ir_version):
    nodes = [node("Add", ["x", "w"], ["a"]), node("Mul", ["a", "w"], ["y"])]
    model = build(nodes, X | {"w": (FLOAT, [4])}, ["y"], {"w": floats(4)}, ir_version=ir_version)
    feed = {"x": floats(2, 4, seed=1)}
    chain = cut_everywhere(model, feed, 2)
    assert chain.inputs == ("x",)
    if ir_version >= 4:  # a default that the caller may replace, as in the whole model
        feed["w"] = floats(4, seed=9)
        got = ChainSession(chain, optimise="off").run(feed).outputs
        assert equal(got["y"], whole(save(model), feed)["y"])


def test_constants_belong_to_their_readers_and_may_be_outputs(build, cut_everywhere):
    constant = node("Constant", [], ["k"], value=numpy_helper.from_array(floats(4), "v"))
    nodes = [constant, node("Add", ["x", "k"], ["a"]), node("Mul", ["a", "k"], ["y"])]
    chain = cut_everywhere(
        build(nodes, X, ["y", "k", "w"], {"w": floats(3)}), {"x": floats(2, 4)}, 2
    )
    assert chain.links[-1].outputs == ("y", "k", "w")
    kinds = [n.op_type for n in onnx.load(chain.path(chain.links[0])).graph.node]
    assert kinds == ["Constant", "Add"]


def test_a_graph_of_constants_alone_is_one_file(build, cut_everywhere):
    constant = node("Constant", [], ["k"], value=numpy_helper.from_array(floats(4), "v"))
    chain = cut_everywhere(build([constant], {}, ["k"], {}), {}, 0)
    assert len(chain.links) == 1


def test_control_flow_that_captures_outer_values_and_constants(build, cut_everywhere):
    then = helper.make_graph([node("Add", ["a", "w"], ["t"])], "t", [], [info("t", FLOAT, None)])
    other = helper.make_graph([node("Sub", ["x", "k"], ["o"])], "e", [], [info("o", FLOAT, None)])
    body = helper.make_graph(
        [node("Identity", ["go"], ["go_on"]), node("Add", ["state", "a"], ["next"])],
        "b",
        [info("i", INT64, []), info("go", BOOL, []), info("state", FLOAT, None)],
        [info("go_on", BOOL, []), info("next", FLOAT, None)],
    )
    nodes = [
        node("Constant", [], ["k"], value=numpy_helper.from_array(floats(4, seed=5), "v")),
        node("Relu", ["x"], ["a"]),
        node("If", ["c"], ["b"], then_branch=then, else_branch=other),
        node("Loop", ["trips", "", "b"], ["y"], body=body),
    ]
    weights = {"w": floats(4, seed=1), "trips": np.array(3)}
    model = build(nodes, X | {"c": (BOOL, [])}, ["y"], weights)
    for chosen in (True, False):
        feed = {"x": floats(2, 4), "c": np.array(chosen)}
        chain = cut_everywhere(model, feed, 3)
    assert chain.links[1].inputs == ("x", "c", "a")


def test_local_functions_go_with_their_callers(build, cut_everywhere):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    inner = helper.make_function("own", "inner", ["p"], ["q"], [node("Neg", ["p"], ["q"])], opsets)
    outer = helper.make_function(
        *("own", "outer", ["p"], ["q"]),
        [node("inner", ["p"], ["r"], domain="own"), node("Relu", ["r"], ["q"])],
        opsets,
    )
    nodes = [
        node("Add", ["x", "w"], ["a"]),
        node("outer", ["a"], ["b"], domain="own"),
        node("Add", ["b", "x"], ["y"]),
    ]
    model = build(nodes, X, ["y"], {"w": floats(4)}, domains=[("own", 1)], functions=[inner, outer])
    chain = cut_everywhere(model, {"x": floats(2, 4)}, 3)
    functions = [[f.name for f in onnx.load(chain.path(k)).functions] for k in chain.links]
    assert functions == [[], ["inner", "outer"], []]


def test_external_data_is_brought_in(build, save, cut_everywhere, tmp_path):
    model = build(
        [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])],
        X,
        ["y"],
        {"w": floats(4, 4)},
    )
    path = str(tmp_path / "external.onnx")
    onnx.save(model, path, save_as_external_data=True, location="external.bin", size_threshold=0)
    chain = cut_everywhere(path, {"x": floats(2, 4)}, 2)
    assert set(chain.model_data) == {"external.bin"}
    data = (tmp_path / "external.bin").read_bytes()
    (tmp_path / "external.bin").write_bytes(data[:-1] + b"!")
    with pytest.raises(UsageError, match="of another model"):
        load_chain(chain.folder, model_path=path)


def test_a_part_too_large_for_a_protobuf_keeps_its_weights_beside(
    build, save, tmp_path, monkeypatch
):
    from inferonnx.model.chain import building

    monkeypatch.setattr(building, "_PROTOBUF_ROOM_BYTES", 1000)
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Mul", ["a", "v"], ["y"])]
    path = save(build(nodes, X, ["y"], {"w": floats(4, 512), "v": floats(512)}))
    chain = cut_chain(path, tmp_path / "parts", [1], prefix="m", strategy="test")
    assert chain.links[0].data is not None
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == [
        "index.json",
        "m0.onnx",
        "m0.onnx.data",
        "m1.onnx",
        "m1.onnx.data",
    ]
    chain = load_chain(tmp_path / "parts")
    feed = {"x": floats(2, 4)}
    assert equal(ChainSession(chain, optimise="off").run(feed).outputs["y"], whole(path, feed)["y"])


def test_nodes_in_any_order_and_nodes_that_nothing_needs(build, save, tmp_path):
    nodes = [
        node("Relu", ["a"], ["y"], name="second"),
        node("Neg", ["x"], ["a"], name="first"),
        node("Exp", ["a"], ["unread"]),
    ]
    original = typed(save(build(nodes, X, ["y"])))
    assert [n.name for n in original.operators] == ["first", "second"]


def test_inputs_that_are_outputs_or_that_nobody_reads(build, cut_everywhere):
    inputs = X | {"idle": (FLOAT, [3]), "flag": (BOOL, [])}
    nodes = [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["y"])]
    model = build(nodes, inputs, ["y", "flag"])
    model.graph.output[1].type.CopyFrom(model.graph.input[2].type)
    feed = {"x": floats(2, 4), "idle": floats(3), "flag": np.array(True)}
    chain = cut_everywhere(model, feed, 2)
    assert chain.inputs == ("x", "idle", "flag")
    assert chain.links[0].inputs == ("x", "idle", "flag")


def test_strings_and_sequences_cross_cuts(build, cut_everywhere):
    nodes = [
        node("SequenceConstruct", ["x", "x"], ["s"]),
        node("SequenceInsert", ["s", "z"], ["s2"]),
        node("Identity", ["t"], ["t2"]),
        node("Identity", ["t2"], ["t3"]),
        node("ConcatFromSequence", ["s2"], ["y"], axis=0),
    ]
    inputs = X | {"z": (FLOAT, [2, 4]), "t": (STRING, [2])}
    feed = {"x": floats(2, 4), "z": floats(2, 4, seed=1), "t": np.array(["a", "bc"], object)}
    cut_everywhere(build(nodes, inputs, ["y", "t3", "s2"]), feed, 5)


def test_an_optional_value_is_not_cut_through(build, save, tmp_path):
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Optional", ["a"], ["o"]),
        node("OptionalHasElement", ["o"], ["h"]),
        node("OptionalGetElement", ["o"], ["y"]),
    ]
    path = save(build(nodes, X, ["y", "h"], opset=18))
    original = typed(path)
    assert original.uncuttable == {2, 3}
    with pytest.raises(UsageError, match="can't be cut before operator 2"):
        cut_chain(original, tmp_path / "parts", [2], prefix="m", strategy="test")
    chain = cut_chain(original, tmp_path / "parts", [1], prefix="m", strategy="test")
    feed = {"x": floats(2, 4)}
    assert equal(ChainSession(chain).run(feed).outputs["y"], np.maximum(feed["x"], 0))
    figures = measure_operators(original, feed)
    assert len(figures.times_s) == 4


def test_opsets_metadata_and_names_are_kept(build, save, tmp_path):
    nodes = [node("Relu", ["x"], ["a"], name="one"), node("Neg", ["a"], ["y"], name="two")]
    model = build(nodes, X, ["y"], opset=12, domains=[("ai.onnx.ml", 2), ("unused", 3)])
    model.metadata_props.add(key="alphabet", value="abc")
    chain = cut_chain(save(model), tmp_path / "parts", [1], prefix="m", strategy="test")
    for link, name in zip(chain.links, ["one", "two"], strict=True):
        proto = onnx.load(chain.path(link))
        assert {o.domain: o.version for o in proto.opset_import} == {
            "": 12,
            "ai.onnx.ml": 2,
            "unused": 3,
        }
        assert proto.metadata_props[0].value == "abc"
        assert proto.graph.node[0].name == name


def test_shapes_that_the_file_declares_wrongly_are_not_believed(build, save, tmp_path):
    model = build(
        [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["y"])], {"x": (FLOAT, ["n", 4])}, ["y"]
    )
    model.graph.output[0].CopyFrom(info("y", FLOAT, [1, 9]))
    model.graph.value_info.append(info("a", FLOAT, [7]))
    path = save(model)
    chain = cut_chain(path, tmp_path / "parts", [1], prefix="m", strategy="test")
    assert ChainSession(chain).run({"x": floats(3, 4)}).outputs["y"].shape == (3, 4)
    entry = onnx.load(chain.path(chain.links[1])).graph.input[0]
    assert [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim] == ["n", 4]


@pytest.mark.parametrize("cuts", [[0], [2], [1, 1], [-1]])
def test_cuts_that_do_not_ascend_within_the_graph_are_refused(build, save, tmp_path, cuts):
    path = save(build([node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["y"])], X, ["y"]))
    with pytest.raises(UsageError, match="do not ascend"):
        cut_chain(path, tmp_path / "parts", cuts, prefix="m", strategy="test")
    assert not (tmp_path / "parts").exists()


def test_a_missing_input_is_named(build, save, tmp_path):
    path = save(build([node("Relu", ["x"], ["y"])], X, ["y"]))
    chain = cut_chain(path, tmp_path / "parts", [], prefix="m", strategy="test")
    with pytest.raises(ModelError, match="'x' has no value"):
        ChainSession(chain).run({})
    with pytest.raises(ModelError, match=r"onnxruntime fails on 'm0\.onnx'"):
        ChainSession(chain).run({"x": np.zeros((5, 5, 5), np.float32)})
