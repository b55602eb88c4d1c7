from contextlib import contextmanager, nullcontext

import pytest

from inferonnx.errors import DeadlineError, ModelError
from inferonnx.server.jobs import OVERDUE_S, Answer, Job, given_up
from inferonnx.server.statistics import Timing
from inferonnx.tensors import DType, Tensor
from sim.models import numbers
from sim.stepping import SteppingLoop

ANSWER = Answer([], Timing(1, 2, 3, 4, 1))


@pytest.fixture
def loop():
    loop = SteppingLoop()
    yield loop
    loop.close()
    assert not loop.complaints


def begin(loop, inputs=None, timeout_s=None):
    """Return a job, and the task of who waits for it."""

    async def make():
        given = {"x": numbers(1, 2, 3, rows=3)} if inputs is None else inputs
        return Job(given, timeout_s=timeout_s)

    job = loop.run_until_complete(make())
    task = loop.create_task(job.answer())
    loop.step(2)
    return job, task


def test_a_job_is_answered_once(loop):
    job, task = begin(loop)
    assert job.is_awaited
    job.succeed(ANSWER)
    job.succeed(Answer([], Timing(0, 0, 0, 0, 9)))
    job.fail(ModelError("too late"))
    assert not job.is_awaited
    loop.step(3)
    assert task.result() is ANSWER


def test_each_job_fails_with_an_error_of_its_own(loop):
    error = ModelError("it is broken", hint="mend it")
    tasks = []
    for _ in range(2):
        job, task = begin(loop)
        job.fail(error)
        tasks.append(task)
    loop.step(3)
    raised = [task.exception() for task in tasks]
    assert all(type(e) is ModelError and e.hint == "mend it" for e in raised)
    assert len({id(error), *map(id, raised)}) == 3


def test_a_job_expires_until_it_is_begun(loop):
    _, late = begin(loop, timeout_s=1)
    begun, task = begin(loop, timeout_s=1)
    begun.begin()
    loop.now += 2
    loop.step(3)
    assert isinstance(late.exception(), DeadlineError)
    assert not task.done()
    begun.succeed(ANSWER)
    begun.release()
    loop.step(3)
    assert task.result() is ANSWER


def test_an_answered_job_keeps_no_timer(loop):
    job, task = begin(loop, timeout_s=50)
    job.succeed(ANSWER)
    loop.step(3)
    assert task.done()
    assert all(handle.cancelled() for handle in loop._scheduled)


@pytest.mark.parametrize("settle", ["succeed", "nothing"])
def test_a_caller_is_held_as_long_as_its_inputs_are_in_use(loop, settle):
    job, task = begin(loop)
    job.begin()
    task.cancel()
    loop.step(3)
    assert not job.is_awaited
    assert not task.done()
    if settle == "succeed":
        job.succeed(ANSWER)
    job.release()
    job.release()
    loop.step(3)
    assert task.cancelled()


@pytest.mark.parametrize(
    ("inputs", "rows", "joins"),
    [
        ({"x": numbers(1, 2, 3, rows=3)}, 3, True),
        ({"x": numbers(1), "y": numbers(1, 2, rows=2)}, 1, False),
        ({"x": Tensor(dtype=DType.INT64, shape=(), data=bytes(8))}, 1, False),
        ({"x": Tensor(dtype=DType.INT64, shape=(0, 2))}, 1, False),
        ({"x": Tensor(dtype=DType.UINT4, shape=(2, 1), data=bytes(1))}, 2, False),
        ({"x": Tensor(dtype=DType.STRING, shape=(2,), strings=("a", "b"))}, 2, True),
        ({}, 1, False),
    ],
)
def test_only_rows_of_whole_bytes_join(loop, inputs, rows, joins):
    job, task = begin(loop, inputs)
    assert job.rows == rows
    assert (job.kind is not None) == joins
    task.cancel()
    loop.step(3)


@pytest.mark.parametrize("ends", [True, False])
def test_who_goes_on_for_nobody_is_told_of(loop, ends):
    told = []

    @contextmanager
    def overdue():
        told.append("begins")
        yield
        told.append("ends")

    job, task = begin(loop)
    with given_up([job], overdue=overdue) as stop:
        loop.now += OVERDUE_S + 1
        loop.step(3)
        assert not stop.is_set
        assert not told  # somebody waits
        task.cancel()
        loop.step(3)
        assert stop.is_set
        if not ends:
            loop.now += OVERDUE_S + 1
            loop.step(3)
            assert told == ["begins"]
    loop.now += OVERDUE_S + 1
    loop.step(3)
    assert told == ([] if ends else ["begins", "ends"])


def test_who_goes_on_for_several_who_left_together_is_told_of_once(loop):
    told = []
    (one, first), (two, second) = begin(loop), begin(loop)
    with given_up([one, two], overdue=lambda: nullcontext(told.append(True))):
        first.cancel()
        second.cancel()
        loop.step(5)
        loop.now += OVERDUE_S + 1
        loop.step(3)
        assert told == [True]
