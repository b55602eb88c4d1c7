"""A run that would go on for ever ends when its call is given up, and no other does."""

import threading

import pytest

from inferonnx.errors import EngineError
from inferonnx.runtime.ort import OrtSession
from inferonnx.runtime.ort_values import dump, load
from inferonnx.runtime.stop import Stop
from inferonnx.tensors import DType, Tensor
from serving.loops import looping


@pytest.fixture
def session(environment):
    return OrtSession(environment, looping())


def turns(environment, n):
    data = memoryview(n.to_bytes(8, "little"))
    return load(environment, Tensor(dtype=DType.INT64, shape=(), data=data))


ENDLESS = 2**62


def test_a_run_under_way_ends(environment, session):
    stop, errors = Stop(), []

    def run():
        try:
            session.run([turns(environment, ENDLESS)], stop)
        except EngineError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    (given,) = session.run([turns(environment, 3)], Stop())  # beside it
    assert dump(environment, given).data.cast("f")[0] == 1
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(errors) == 1
    (given,) = session.run([turns(environment, 3)])
    assert dump(environment, given).data.cast("f")[0] == 1


def test_what_was_given_up_before_it_ran_ends_at_once(environment, session):
    stop = Stop()
    for _ in range(2):
        stop.set()
    for _ in range(2):
        with pytest.raises(EngineError):
            session.run([turns(environment, ENDLESS)], stop)
