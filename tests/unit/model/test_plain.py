"""Plain onnxruntime, as everything is compared with."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from inferonnx.errors import ModelError
from inferonnx.model.plain import PlainModel

FLOAT = TensorProto.FLOAT
node = helper.make_node


@pytest.fixture
def model(build, save):
    inputs = {
        "x": (FLOAT, ["n", 3]),
        "i": (TensorProto.INT64, ["n"]),
        "b": (TensorProto.BOOL, []),
        "s": (TensorProto.STRING, [2]),
    }
    nodes = [node("Relu", ["x"], ["y"]), node("Identity", ["s"], ["t"])]
    return save(build(nodes, inputs, ["y", "t"]))


def test_outputs_come_by_name(model):
    plain = PlainModel(model)
    assert plain.input_names == ("x", "i", "b", "s")
    sample = plain.made_up({"x": (2, 3), "i": (2,), "b": (), "s": (2,)}, seed=1)
    assert [sample[k].shape for k in "xibs"] == [(2, 3), (2,), (), (2,)]
    assert set(sample["i"].tolist()) <= {0, 1, 2, 3}
    outputs = plain.run(sample)
    assert np.array_equal(outputs["y"], np.maximum(sample["x"], 0))
    assert outputs["t"].tolist() == ["", ""]


def test_samples_differ_by_seed(model):
    plain = PlainModel(model)
    shapes = {"x": (2, 3), "i": (2,), "b": (), "s": (2,)}
    one, other = plain.made_up(shapes, seed=1), plain.made_up(shapes, seed=2)
    assert not np.array_equal(one["x"], other["x"])


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_made_up_integers_are_indices_that_the_model_has(build, save, rows):
    table = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    nodes = [node("Gather", ["table", "i"], ["y"])]
    path = save(build(nodes, {"i": (TensorProto.INT64, ["n"])}, ["y"], weights={"table": table}))
    plain = PlainModel(path)
    drawn = {row for seed in range(3) for row in plain.made_up({"i": (30,)}, seed=seed)["i"]}
    assert drawn == set(range({1: 1, 2: 2, 3: 2, 4: 4}[rows]))


def test_an_input_that_does_not_fit_is_said(model):
    with pytest.raises(ModelError, match="fails on the input"):
        PlainModel(model).run({"x": np.zeros((2, 4), np.float32)})
    with pytest.raises(ModelError, match="no value can be made up for input 'i'"):
        PlainModel(model).made_up({"x": (1, 3)}, seed=0)


def test_elements_that_numpy_lacks(build, save):
    path = save(
        build(
            [node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)],
            {"x": (TensorProto.FLOAT8E5M2, [2])},
            ["y"],
            opset=21,
            ir_version=10,
        )
    )
    plain = PlainModel(path)
    outputs = plain.run({"x": np.array([1, 2], ml_dtypes.float8_e5m2)})
    assert outputs["y"].dtype == ml_dtypes.bfloat16
    assert outputs["y"].tolist() == [1, 2]
    with pytest.raises(ModelError, match="can be made up"):
        plain.made_up({"x": (2,)}, seed=0)


def test_what_onnxruntime_refuses_is_said(build, save):
    path = save(build([node("Nonsense", ["x"], ["y"])], {"x": (FLOAT, [1])}, ["y"]))
    with pytest.raises(ModelError, match="no operator Nonsense"):
        PlainModel(path)
