"""Samples: made up from a signature, or given and checked against it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from inferonnx.errors import ModelError, TensorError, UsageError
from inferonnx.model import prepare, sample
from inferonnx.model.sample import check_dims, check_sample, dim_names, synthesised

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
node = helper.make_node
info = helper.make_tensor_value_info


def first(inputs, dims=None):
    return next(iter(synthesised(inputs, dims or {})))


def test_open_dims_are_one_and_named_ones_as_told():
    inputs = [info("x", FLOAT, ["n", 3, "h", None]), info("i", INT64, ["n"])]
    assert first(inputs)["x"].shape == (1, 3, 1, 1)
    made = first(inputs, {"n": 2, "h": 9})
    assert made["x"].shape == (2, 3, 9, 1)
    assert made["i"].tolist() == [1, 1]


def test_the_same_sample_every_time_and_of_the_right_types():
    inputs = [
        info("f", FLOAT, [50, 50]),
        info("h", TensorProto.FLOAT16, [2]),
        info("c", TensorProto.COMPLEX64, [2]),
        info("b", TensorProto.BOOL, [2]),
        info("u", TensorProto.UINT8, []),
        info("s", STRING, [2]),
    ]
    made = first(inputs)
    assert abs(float(made["f"].mean())) < 0.1
    assert 0.9 < float(made["f"].std()) < 1.1
    assert [made[k].dtype for k in "fhcbu"] == [
        np.float32,
        np.float16,
        np.complex64,
        np.bool_,
        np.uint8,
    ]
    assert made["u"].shape == ()
    assert made["s"].tolist() == ["", ""]
    assert np.array_equal(made["f"], first(inputs)["f"])


def test_a_scalar_float_is_an_array():
    assert isinstance(first([info("x", FLOAT, [])])["x"], np.ndarray)


def test_later_trials_leave_the_batch_alone_first():
    inputs = [
        info("x", FLOAT, ["b", "t"]),
        info("s", FLOAT, [2, "b", 3]),
        info("n", FLOAT, [None, None]),
    ]
    shapes = [
        (made["x"].shape, made["s"].shape, made["n"].shape) for made in synthesised(inputs, {})
    ]
    assert shapes[0] == ((1, 1), (2, 1, 3), (1, 1))
    assert ((1, 16), (2, 1, 3), (1, 16)) in shapes
    assert ((16, 16), (2, 16, 3), (16, 16)) in shapes
    assert len(shapes) == 36


def test_trials_that_would_be_huge_are_left_out(monkeypatch):
    monkeypatch.setattr(sample, "_MOST_ELEMENTS", 2**12)
    made = [trial["x"].size for trial in synthesised([info("x", FLOAT, [None, None])], {})]
    assert max(made) == 4096
    assert len(made) > 10


def test_an_unknown_dim_lists_those_that_exist():
    inputs = [info("x", FLOAT, ["batch", "seq", "batch"])]
    assert dim_names(inputs) == ("batch", "seq")
    with pytest.raises(UsageError, match="no dim 'sequence'") as caught:
        check_dims(inputs, {"sequence": 3})
    assert caught.value.hint == "It has: batch, seq."
    with pytest.raises(UsageError, match="can't be -1"):
        check_dims(inputs, {"seq": -1})
    check_dims(inputs, {"seq": 0})
    with pytest.raises(UsageError) as caught:
        check_dims([info("x", FLOAT, [1])], {"n": 1})
    assert caught.value.hint == "None of its dims has a name."


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "has no input 'x'"),
        ({"x": np.zeros((1, 3), np.float32), "z": np.zeros(1)}, "no input 'z'"),
        ({"x": np.zeros((1, 3))}, r"has type float64, and tensor\(float\) is wanted"),
        ({"x": np.zeros((1, 3), object)}, r"tensor\(float\) is wanted"),
        ({"x": np.zeros(3, np.float32)}, "rank 1, and 2 is wanted"),
        ({"x": np.zeros((1, 4), np.float32)}, "shape"),
        ({"x": [1.0]}, "is not a tensor but list"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(given, problem):
    inputs = [info("x", FLOAT, ["n", 3])]
    with pytest.raises(TensorError, match=problem):
        check_sample(inputs, given)


def test_a_sample_that_fits_is_taken():
    inputs = [info("x", FLOAT, ["n", 3]), info("s", STRING, [1]), info("u", FLOAT, None)]
    check_sample(
        inputs,
        {
            "x": np.zeros((0, 3), np.float32),
            "s": np.array(["a"]),
            "u": np.zeros((1, 2, 3), np.float32),
        },
    )
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [1]))
    check_sample([helper.make_value_info("o", optional)], {})


def test_ones_are_tried_before_zeros_and_both_before_giving_up(build, save):
    table = np.arange(600, dtype=np.float32).reshape(1, 600)
    lookup = build([node("Gather", ["t", "i"], ["y"])], {"i": (INT64, [1])}, ["y"], {"t": table})
    with prepare(save(lookup)) as prepared:
        assert prepared.sample["i"].tolist() == [0]


def test_a_sample_whose_answers_are_finite_is_preferred(build, save):
    model = build([node("Log", ["x"], ["y"])], {"x": (FLOAT, [])}, ["y"])
    nodes = [node("Cast", ["i"], ["f"], to=FLOAT), node("Sub", ["f", "one"], ["d"])]
    nodes.append(node("Reciprocal", ["d"], ["y"]))
    weights = {"one": np.array(1, np.float32)}
    model = build(nodes, {"i": (INT64, [])}, ["y"], weights)
    with prepare(save(model)) as prepared:
        assert prepared.sample["i"] == 0
        assert np.isfinite(prepared.expected["y"])


def test_a_model_that_takes_no_made_up_input_asks_for_one(build, save):
    nodes = [node("Reshape", ["x", "s"], ["y"])]
    weights = {"s": np.array([7, 11, 13], np.int64)}
    model = build(nodes, {"x": (FLOAT, ["n"])}, ["y"], weights)
    with pytest.raises(ModelError, match="made-up inputs") as caught:
        prepare(save(model))
    assert "--input" in caught.value.hint
    with pytest.raises(ModelError, match="made-up inputs: they would be too large"):
        prepare(save(model), dims={"n": 10**11})
    with prepare(save(model), dims={"n": 1001}) as prepared:
        assert prepared.shapes["y"] == (7, 11, 13)


def test_a_given_sample_that_fails_is_said(build, save):
    nodes = [node("Reshape", ["x", "s"], ["y"])]
    model = build(nodes, {"x": (FLOAT, ["n"])}, ["y"], {"s": np.array([2, 2], np.int64)})
    with pytest.raises(ModelError, match="fails on the given input"):
        prepare(save(model), sample={"x": np.zeros(3, np.float32)})


def test_optional_and_foreign_inputs_can_be_given(build, check):
    model = build([node("OptionalHasElement", ["o"], ["y"])], {}, ["y"], opset=18)
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, [2]))
    model.graph.input.append(onnx.ValueInfoProto(name="o", type=kind))
    prepared = check(model, {"o": np.zeros(2, np.float32)})
    assert prepared.expected["y"].item() is True
