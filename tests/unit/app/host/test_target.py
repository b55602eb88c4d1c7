"""What is said of a probe that comes out otherwise, and of one that does not come out at all."""

import io
import os
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

from inferonnx.app.host.target import check_target
from inferonnx.errors import EngineError, TargetError
from inferonnx.runtime.ort import Environment
from inferonnx.sealed import Probe


@pytest.fixture(scope="module")
def environment():
    return Environment.acquire(n_threads=1, spin=False, arena_strategy=1, arena_bytes=0)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def skeleton(operator="Relu"):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def check(environment, model, given, expected):
    here = os.uname().machine
    target = SimpleNamespace(onnxruntime=environment.version, layout="nchwc8", arch=here)
    probe = Probe(skeleton=model, inputs=(npy(given),), outputs=(npy(expected),))
    check_target(SimpleNamespace(target=target, probe=probe), environment)


GIVEN = np.array([-1, 2], np.float32)


def test_a_probe_with_its_answer_is_no_obstacle(environment):
    check(environment, skeleton(), GIVEN, np.array([0, 2], np.float32))


def test_another_answer_is_another_layout(environment):
    with pytest.raises(TargetError, match="has another"):
        check(environment, skeleton(), GIVEN, np.array([0, 3], np.float32))


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (b"no model", GIVEN),
        (skeleton("NoSuchOperator"), GIVEN),
        (skeleton(), GIVEN.astype(np.float64)),
    ],
    ids=["no model", "no operator", "no input of its"],
)
def test_an_engine_that_fails_is_told_as_that(environment, model, given):
    with pytest.raises(EngineError):
        check(environment, model, given, GIVEN)
