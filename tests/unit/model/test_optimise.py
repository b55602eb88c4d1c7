"""What onnxruntime saves is taken apart, and never half of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from inferonnx.errors import UnavailableError
from inferonnx.model.load import load_model
from inferonnx.model.optimise import optimise
from inferonnx.model.scratch import ScratchPair

FLOAT = TensorProto.FLOAT
node = helper.make_node


@pytest.fixture
def model(build, save):
    weights = {
        "w": np.ones((400, 400), np.float32),
        "mid": np.ones(300, np.float32),
        "small": np.ones(3, np.float32),
    }
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("ReduceMax", ["m"], ["r"]),
        node("Mul", ["r", "mid"], ["a"]),
        node("Slice", ["a", "from", "to"], ["s"]),
        node("Add", ["s", "small"], ["y"]),
    ]
    weights |= {"from": np.array([0, 0]), "to": np.array([1, 3])}
    return load_model(save(build(nodes, {"x": (FLOAT, [1, 400])}, ["y"], weights)))


@pytest.mark.parametrize(
    ("inline_bytes", "streamed"), [(0, {"w", "mid"}), (1024, {"w", "mid"}), (2000, {"w"})]
)
def test_initializers_are_weights_or_constants_by_size(model, inline_bytes, streamed):
    draft, session = optimise(model, layout="native", inline_bytes=inline_bytes)
    assert streamed <= set(draft.weights)
    assert ("small" in draft.weights) == (inline_bytes == 0)
    assert not set(draft.weights) & set(draft.constants)
    assert [value.name for value in session.get_outputs()] == draft.outputs == ["y"]
    assert all(tensor.data_location == 0 for tensor in draft.constants.values())


def test_only_operator_sets_in_use_are_imported(model):
    draft, _ = optimise(model, layout="original", inline_bytes=1024)
    assert draft.opsets == {"": 17}


def test_data_that_was_not_written_whole_is_noticed(model, monkeypatch):
    real = ScratchPair.map_data
    monkeypatch.setattr(ScratchPair, "map_data", lambda self: real(self)[:-4096])
    with pytest.raises(UnavailableError, match="could not be written whole"):
        optimise(model, layout="native", inline_bytes=1024)


def test_a_graph_that_was_not_written_whole_is_noticed(model, monkeypatch):
    real = ScratchPair.graph
    monkeypatch.setattr(ScratchPair, "graph", lambda self: real(self)[:-3])
    with pytest.raises(UnavailableError, match="could not be written whole"):
        optimise(model, layout="native", inline_bytes=1024)


def test_a_disk_that_fills_up_is_told_as_such(model):
    """A limit on the size of files stands for the full disk."""
    program = """
import resource, signal, sys
from inferonnx.errors import UnavailableError
from inferonnx.model import prepare
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    prepare(sys.argv[1])
except UnavailableError as error:
    print(error.message, "|", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, model.path], capture_output=True, text=True, check=False
    )
    assert "could not be written whole" in done.stdout, done.stderr
    assert "TMPDIR" in done.stdout
