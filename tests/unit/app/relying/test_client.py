"""The public clients: named at the package's door, arrays in and out."""

import subprocess
import sys

import numpy as np
import pytest

import inferonnx
from inferonnx.app.relying.client import present
from inferonnx.tensors import DType, Tensor


def test_they_stand_at_the_door_and_cost_nothing_before():
    code = (
        "import sys, inferonnx\n"
        "assert not {'ssl', 'h11', 'asyncio', 'inferonnx.client'} & set(sys.modules)\n"
        "inferonnx.Client\n"
        "assert not {'numpy', 'onnx', 'onnxruntime', 'inferonnx.server'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert inferonnx.AsyncClient.__name__ in inferonnx.__all__


def test_tensors_become_arrays():
    tensor = Tensor(dtype=DType.FLOAT, shape=(1, 2), data=np.float32([1, 2]).tobytes())
    array = present(tensor)
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2]]
    text = present(Tensor(dtype=DType.STRING, shape=(1,), strings=["a"]))
    assert text.dtype == object


def test_without_numpy_they_stay_tensors(monkeypatch):
    monkeypatch.setattr("inferonnx.app.relying.client.find_spec", lambda _: None)
    tensor = Tensor(dtype=DType.FLOAT, shape=(0,))
    assert present(tensor) is tensor


def test_the_default_refuses_every_server():
    client = inferonnx.Client("https://localhost:1")
    with pytest.raises(inferonnx.InferonnxError, match="no connection"):
        client.live()
    assert type(client._target.policy).__name__ == "RefuseUnattested"
