"""What is said of a probe that comes out otherwise, and of one that does not come out at all."""

import io
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

from inferonnx.app.host import target as checks
from inferonnx.app.host.target import check_target
from inferonnx.errors import EngineError, TargetError
from inferonnx.runtime.ort import Environment
from inferonnx.sealed import Probe
from serving.loops import looping


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


def check(environment, model, expected, *given, later=None):
    here = os.uname().machine
    target = SimpleNamespace(onnxruntime=environment.version, layout="nchwc8", arch=here)
    probe = Probe(skeleton=model, inputs=tuple(map(npy, given)), outputs=(npy(expected),))
    check_target(SimpleNamespace(target=target, probe=probe), environment, later)


GIVEN = np.array([-1, 2], np.float32)


def test_a_probe_with_its_answer_is_no_obstacle(environment):
    check(environment, skeleton(), np.array([0, 2], np.float32), GIVEN)


def test_another_answer_is_another_layout(environment):
    with pytest.raises(TargetError, match="has another"):
        check(environment, skeleton(), np.array([0, 3], np.float32), GIVEN)


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
        check(environment, model, GIVEN, given)


def test_a_probe_that_would_never_end_is_ended(environment, monkeypatch):
    one = np.array(1, np.float32)
    timers = []

    def later(seconds, call):
        timers.append(threading.Timer(seconds, call))
        timers[-1].start()

    monkeypatch.setattr(checks, "PROBE_S", 0.2)
    check(environment, looping(1000), one, later=later)
    with pytest.raises(EngineError, match=r"did not end within 0\.2 s"):
        check(environment, looping(2**62), one, later=later)
    check(environment, looping(1), one)
    assert len(timers) == 2
    for timer in timers:
        timer.join(30)


def test_a_probe_that_fails_in_time_is_told_as_that(environment):
    with pytest.raises(EngineError, match="could not run"):
        check(environment, skeleton(), GIVEN, GIVEN.astype(np.float64), later=lambda *_: None)
