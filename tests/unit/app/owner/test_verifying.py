import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import inferonnx
from inferonnx.app.host.comparing import check_agreement
from inferonnx.app.host.keys import Key
from inferonnx.app.owner.verifying import verify
from inferonnx.errors import DifferenceError, UsageError


@pytest.fixture
def key(key_path):
    return Key.load(key_path)


@pytest.mark.parametrize("n_samples", [0, -1])
def test_nothing_compared_proves_nothing(n_samples, cnn, sealed_cnn, key):
    with pytest.raises(UsageError, match="no samples") as caught:
        verify(cnn, sealed_cnn, key=key, n_samples=n_samples)
    assert caught.value.hint


def test_samples_of_the_caller_are_compared(cnn, sealed_cnn, key, image):
    told = []
    difference = verify(
        cnn, sealed_cnn, key=key, samples=[{"image": image}] * 2, n_samples=0, progress=told.append
    )
    check_agreement(difference)
    assert difference.n_values == 20
    assert told == ["sample 1 of 2", "sample 2 of 2"]


@pytest.mark.parametrize("what", ["inputs", "outputs"])
def test_another_model_is_refused(what, cnn, sealed_cnn, key, tmp_path):
    model = onnx.load(cnn)
    if what == "outputs":
        model.graph.node[-1].output[0] = model.graph.output[0].name = "other"
    else:
        model.graph.node[0].input[0] = model.graph.input[0].name = "other"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(DifferenceError, match=f"{what} of other names") as caught:
        verify(tmp_path / "other.onnx", sealed_cnn, key=key)
    assert caught.value.hint


def test_empty_outputs_prove_nothing(key, tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "empty",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    inferonnx.seal(tmp_path / "m.onnx", tmp_path / "m.sealed", key=key, memory="85MiB")
    empty = {"x": np.zeros(0, np.float32)}
    with pytest.raises(UsageError, match="outputs are empty"):
        verify(tmp_path / "m.onnx", tmp_path / "m.sealed", key=key, samples=[empty])
