"""What a queue does in one order of events each; any order is in tests/properties."""

import gc

import pytest

from inferonnx.errors import (
    BusyError,
    DeadlineError,
    EngineError,
    ModelError,
    ModelNotReadyError,
    TensorError,
)
from inferonnx.server.jobs import OVERDUE_S
from inferonnx.server.pool import Pool
from inferonnx.server.scheduler import ModelQueue, QueueLimits
from inferonnx.server.statistics import Failure
from inferonnx.server.threads import PassThreads
from inferonnx.tensors import DType, Tensor
from sim.models import DoublingOpener, facts, new_key, numbers
from sim.stepping import SteppingExecutor, SteppingLoop

M = ("m", 1)


class World:
    """A loop, one unlocked model that is open, its queue, and those who ask."""

    def __init__(self, *, batchable=True, concurrency=2, limits=None, n_threads=None):
        self.loop = SteppingLoop()
        self.opener = DoublingOpener({"m": facts(batchable=batchable)})
        self.pool = Pool(self.opener, total_bytes=100, concurrency=concurrency)
        self.runs = SteppingExecutor()
        threads = PassThreads(self.runs, n_shared=n_threads or concurrency)
        self.overdue = []
        self.queue = ModelQueue(
            *(self.pool, M, limits or QueueLimits(), threads),
            overdue=lambda: self.overdue.append(True),
        )
        self.tasks = []
        self.unlock()
        self.answer_all(self.ask(0))
        self.runs_before = len(self.model.batches)

    @property
    def model(self):
        return self.opener.models[-1]

    @property
    def batches(self):
        return self.model.batches[self.runs_before :]

    def unlock(self):
        self.loop.create_task(self.pool.admit(M, "m", new_key()))
        self.loop.settle(seconds=1)

    def ask(self, *values, rows=None, timeout_s=None, turns=0):
        inputs = {"x": numbers(*values, rows=rows)}
        self.tasks.append(self.loop.create_task(self.queue.infer(inputs, timeout_s=timeout_s)))
        self.loop.step(turns)
        return self.tasks[-1]

    def run(self, n=1, turns=10):
        """Let all come to where they wait, then end `n` runs."""
        self.loop.step(turns)
        for _ in range(n):
            self.runs.run_next()
            self.loop.step(turns)

    def answer_all(self, *tasks):
        self.loop.settle(self.runs, seconds=3)
        return [task.result().outputs[0].data.cast("q").tolist() for task in tasks]

    def close(self):
        self.loop.settle(self.runs, seconds=30)
        for task in self.tasks:
            task.cancelled() or task.exception()
        self.tasks.clear()
        gc.collect()
        self.loop.close()
        assert not self.loop.complaints
        assert not self.opener.wrongs
        assert self.queue.statistics.n_pending == 0


@pytest.fixture
def make(request):
    worlds = []

    def make(**kwargs):
        worlds.append(World(**kwargs))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def test_requests_that_wait_are_computed_as_one_batch_and_each_gets_its_rows(make):
    world = make()
    tasks = [world.ask(1), world.ask(2, 3, rows=2), world.ask(4)]
    assert world.answer_all(*tasks) == [[2], [4, 6], [8]]
    assert world.batches == [[1, 2, 3, 4]]
    timings = [task.result().timing for task in tasks]
    assert {timing.n_rows for timing in timings} == {4}


def test_a_batch_has_no_more_rows_than_allowed_and_the_rest_shares_the_pass(make):
    world = make(limits=QueueLimits(n_rows=3))
    tasks = [world.ask(1, 2, rows=2), world.ask(3, 4, rows=2), world.ask(5)]
    world.loop.step(10)
    assert len(world.runs.calls) == 2  # beside each other
    assert world.answer_all(*tasks) == [[2, 4], [6, 8], [10]]
    assert world.batches == [[1, 2], [3, 4, 5]]


def test_rows_of_all_that_join_count(make):
    world = make(limits=QueueLimits(n_rows=3))
    tasks = [world.ask(n) for n in range(5)]
    assert world.answer_all(*tasks) == [[0], [2], [4], [6], [8]]
    assert world.batches == [[0, 1, 2], [3, 4]]


def test_what_is_of_another_kind_gets_a_worker_of_its_own_for_one_run(make):
    world = make()
    tasks = [world.ask(1), world.ask(2, 3), world.ask(4)]
    world.loop.step(10)
    assert len(world.runs.calls) == 2
    later = [world.ask(5, turns=3)]
    world.run()
    assert len(world.queue._workers) == 1  # the other collects what comes meanwhile
    assert world.answer_all(*tasks, *later) == [[2], [4, 6], [8], [10]]
    assert world.batches == [[1], [2, 3], [4, 5]]
    assert not world.queue._workers


def test_one_worker_collects_while_it_runs(make):
    world = make()
    first = world.ask(1, turns=5)
    others = [world.ask(n, turns=3) for n in (2, 3, 4)]
    assert len(world.runs.calls) == 1
    assert world.answer_all(first, *others) == [[2], [4], [6], [8]]
    assert world.batches == [[1], [2, 3, 4]]


def test_a_batch_waits_for_those_that_shared_the_last_one_but_not_longer(make):
    world = make(limits=QueueLimits(delay_s=0.5))
    for n in (1, 2, 3):
        world.ask(n)
    world.loop.step(10)
    world.ask(4, turns=5)
    world.runs.run_next()
    world.loop.step(20)
    assert not world.runs.calls  # one is there, two may come back
    world.ask(5, turns=5)
    assert not world.runs.calls
    world.ask(6, turns=5)
    assert len(world.runs.calls) == 1
    world.ask(7, turns=5)
    world.run()
    assert not world.runs.calls
    world.loop.now += 0.5
    world.loop.step(5)
    assert len(world.runs.calls) == 1
    world.answer_all()
    assert world.batches == [[1, 2, 3], [4, 5, 6], [7]]


def test_a_model_that_is_not_batched_has_as_many_workers_as_share_a_pass(make):
    world = make(batchable=False, concurrency=3)
    tasks = [world.ask(n) for n in range(5)]
    world.loop.step(10)
    assert len(world.runs.calls) == 3
    assert world.answer_all(*tasks) == [[0], [2], [4], [6], [8]]
    assert sorted(world.batches) == [[0], [1], [2], [3], [4]]


def test_batching_can_be_switched_off(make):
    world = make(limits=QueueLimits(n_rows=1))
    for n in range(4):
        world.ask(n)
    world.loop.step(10)
    assert len(world.runs.calls) == 2
    world.run()
    assert len(world.runs.calls) == 2  # no worker leaves while there is something to do


def test_outputs_that_are_not_by_rows_end_batching_and_workers_share_passes_instead(make):
    world = make()
    world.model.by_rows = False
    tasks = [world.ask(n) for n in range(2)]
    world.loop.step(10)
    tasks += [world.ask(n) for n in range(2, 5)]
    world.run()
    assert len(world.queue._workers) == 2
    assert len(world.runs.calls) == 2
    assert world.answer_all(*tasks) == [[0], [2], [4], [6], [8]]
    assert world.batches[0] == [0, 1]
    assert sorted(world.batches[1:]) == [[0], [1], [2], [3], [4]]


def test_nobody_is_waited_for_where_nothing_is_joined_any_more(make):
    world = make(limits=QueueLimits(delay_s=0.5), concurrency=1)
    world.model.by_rows = False
    tasks = [world.ask(n) for n in range(2)]
    world.loop.step(10)
    tasks.append(world.ask(2))  # for the worker that has just served two together
    world.run(3)
    assert len(world.runs.calls) == 1
    assert world.answer_all(*tasks) == [[0], [2], [4]]


@pytest.mark.parametrize("fits", [1, TensorError("no"), RuntimeError("a bug")])
def test_what_does_not_fit_as_a_batch_runs_beside_each_other(make, fits):
    world = make()
    world.model.fits_up_to = fits
    tasks = [world.ask(n) for n in range(3)]
    world.loop.step(10)
    assert len(world.runs.calls) == 2
    assert world.answer_all(*tasks) == [[0], [2], [4]]
    world.model.fits_up_to = 9
    tasks = [world.ask(n) for n in (5, 6)]
    world.answer_all(*tasks)
    assert world.batches[-1] == [5, 6]  # one that did not fit is no reason for ever


def test_requests_without_rows_are_computed_alone_and_do_not_end_batching(make):
    world = make()
    empty = {"x": Tensor(dtype=DType.INT64, shape=(0, 1))}
    tasks = [world.loop.create_task(world.queue.infer(empty)) for _ in range(2)]
    assert world.answer_all(*tasks, world.ask(1), world.ask(2)) == [[], [], [2], [4]]
    assert world.batches == [[], [], [1, 2]]


def test_a_bad_request_in_a_batch_hurts_nobody_else(make):
    world = make()
    world.opener.bad = {2}
    tasks = [world.ask(n) for n in (1, 2, 3)]
    world.run(2)
    assert tasks[0].done()  # its own run is over, whatever the others' take
    assert world.answer_all(tasks[0], tasks[2]) == [[2], [6]]
    with pytest.raises(TensorError, match="a bad input"):
        tasks[1].result()
    assert world.batches == [[1, 2, 3], [1], [2], [3]]
    assert world.queue.statistics.failures[Failure.BACKEND] == 1


def test_who_leaves_while_its_batch_fails_is_not_computed_again(make):
    world = make()
    world.opener.bad = {1}
    tasks = [world.ask(n) for n in (1, 2, 3)]
    world.loop.step(10)
    tasks[1].cancel()
    world.loop.step(5)
    assert world.answer_all(tasks[2]) == [[6]]
    assert world.batches == [[1, 2, 3], [1], [3]]
    assert tasks[1].cancelled()


@pytest.mark.parametrize("fault", [ModelError("it is broken"), RuntimeError("a bug")])
def test_requests_of_a_run_that_fails_get_an_error_each(make, fault):
    world = make()
    world.model.fault = fault
    tasks = [world.ask(n) for n in range(3)]
    world.loop.settle(world.runs, seconds=2)
    errors = [task.exception() for task in tasks]
    assert all(type(error) is type(fault) and str(error) == str(fault) for error in errors)
    if isinstance(fault, ModelError):
        assert len(set(map(id, errors))) == 3
    kind = Failure.BACKEND if isinstance(fault, ModelError) else Failure.OTHER
    assert world.queue.statistics.failures[kind] == 3


def test_a_request_that_is_abandoned_while_it_waits_is_never_computed(make):
    world = make(batchable=False, concurrency=1)
    first, second, third = (world.ask(n) for n in (1, 2, 3))
    world.loop.step(10)
    second.cancel()
    world.loop.step(2)
    assert second.cancelled()
    assert len(world.queue._jobs) == 1
    world.answer_all(first, third)
    assert world.batches == [[1], [3]]
    assert world.queue.statistics.failures[Failure.CANCELED] == 1


@pytest.mark.parametrize("turns", range(8))
def test_who_leaves_in_the_moment_in_which_requests_are_taken_is_not_computed(make, turns):
    world = make()
    first, second, third = world.ask(1, turns=5), world.ask(2), world.ask(3, turns=5)
    world.runs.run_next()
    world.loop.step(turns)
    has_begun = bool(world.runs.calls)
    second.cancel()
    assert world.answer_all(first, third) == [[2], [6]]
    assert second.cancelled()
    assert world.batches == [[1], [2, 3] if has_begun else [3]]


def test_who_is_cancelled_while_it_is_computed_is_held_until_the_run_has_ended(make):
    world = make()
    tasks = [world.ask(1), world.ask(2)]
    world.loop.step(10)
    for _ in range(3):
        tasks[0].cancel()
        world.loop.step(5)
        assert not tasks[0].done()
    assert world.queue.statistics.n_pending == 2
    world.run()
    assert tasks[0].cancelled()
    assert world.answer_all(tasks[1]) == [[4]]
    assert world.queue.statistics.failures[Failure.CANCELED] == 1


def test_a_run_is_given_up_when_the_last_who_waited_for_it_has_left(make):
    world = make()
    tasks = [world.ask(1), world.ask(2)]
    world.loop.step(10)
    ((_, _, (call,), _),) = world.runs.calls
    _, stop = call[0].args
    tasks[0].cancel()
    world.loop.step(5)
    assert not stop.is_set
    tasks[1].cancel()
    world.loop.step(5)
    assert stop.is_set
    world.model.fault = EngineError("the call was given up")
    world.run()
    assert all(task.cancelled() for task in tasks)
    assert world.batches == [[1, 2]]
    world.model.fault = None
    assert world.answer_all(world.ask(3)) == [[6]]


@pytest.mark.parametrize("batchable", [True, False])
def test_a_run_that_goes_on_for_nobody_is_told_of_and_its_model_not_waited_for(make, batchable):
    world = make(batchable=batchable)
    task = world.ask(1, turns=10)
    task.cancel()
    world.loop.step(5)
    world.loop.now += OVERDUE_S
    world.loop.step(5)
    assert world.overdue == [True]
    slot = world.pool._slots[M]
    assert slot.n_overdue == 1
    world.run()
    assert slot.n_overdue == 0
    assert world.overdue == [True]


def test_who_waits_for_a_thread_has_not_begun(make):
    world = make(batchable=False, n_threads=1)
    first, gone, late = world.ask(1), world.ask(2, turns=10), world.ask(3, timeout_s=5)
    world.loop.step(10)
    assert len(world.queue._workers) == 2
    assert len(world.runs.calls) == 1
    gone.cancel()
    world.loop.now += 6
    world.loop.step(5)
    assert gone.cancelled()  # and not held until there is a thread
    with pytest.raises(DeadlineError):
        late.result()
    assert world.answer_all(first) == [[2]]
    assert world.batches == [[1]]


def test_a_request_that_did_not_begin_in_time_fails_and_is_never_computed(make):
    world = make(batchable=False, concurrency=1)
    first, second = world.ask(1, timeout_s=5), world.ask(2, timeout_s=5)
    world.loop.step(10)
    world.loop.now += 6
    world.loop.step(5)
    with pytest.raises(DeadlineError, match="longer than its time-out"):
        second.result()
    assert not world.queue._jobs
    assert world.answer_all(first) == [[2]]  # it had begun
    assert world.batches == [[1]]
    assert world.queue.statistics.failures[Failure.REJECTED] == 1


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(make):
    world = make(batchable=False, concurrency=1, limits=QueueLimits(n_waiting=3))
    assert world.queue.retry_after_s == 1
    world.queue._request_s = 4.0
    tasks = [world.ask(n, turns=3) for n in range(4)]  # one runs, three wait
    with pytest.raises(BusyError, match="too many requests wait") as caught:
        world.ask(9, turns=3).result()
    assert caught.value.retry_after_s == 12
    world.queue._request_s = 1e9
    assert world.queue.retry_after_s == 60
    assert world.queue.statistics.failures[Failure.REJECTED] == 1
    world.answer_all(*tasks)


def test_the_pace_is_what_a_request_took_of_its_run(make, monkeypatch):
    world = make(limits=QueueLimits(n_waiting=9))
    now = [0.0]
    monkeypatch.setattr("inferonnx.server.scheduler.time.perf_counter", lambda: now[0])
    world.queue._request_s = 0.0
    for n in range(4):
        world.ask(n)
    world.loop.step(10)
    now[0] = 8.0
    world.answer_all()
    assert world.queue._request_s == pytest.approx(2.0)
    world.ask(1)
    world.loop.step(10)
    now[0] = 20.0
    world.answer_all()
    assert world.queue._request_s == pytest.approx(4.0)  # a fifth of the way to 12


def test_abandoned_and_expired_requests_make_room_in_the_queue(make):
    world = make(batchable=False, concurrency=1, limits=QueueLimits(n_waiting=2))
    world.ask(1, turns=5)
    gone, late = world.ask(2, turns=3), world.ask(3, timeout_s=1, turns=3)
    gone.cancel()
    world.loop.now += 2
    world.loop.step(5)
    assert late.done()
    tasks = [world.ask(4, turns=3), world.ask(5, turns=3)]
    assert world.answer_all(*tasks) == [[8], [10]]


def test_a_locked_model_is_told_to_all_who_wait_and_to_each_apart(make):
    world = make()
    world.loop.create_task(world.pool.withdraw(M))
    world.loop.settle(seconds=2)
    tasks = [world.ask(n) for n in range(3)]
    world.loop.step(10)
    errors = [task.exception() for task in tasks]
    assert all("locked" in str(error) for error in errors)
    assert len(set(map(id, errors))) == 3


def test_requests_under_way_end_before_a_model_goes_and_those_that_wait_are_told(make):
    world = make(batchable=False, concurrency=1)
    running, waiting = world.ask(1), world.ask(2)
    world.loop.step(10)
    leaving = world.loop.create_task(world.pool.withdraw(M))
    world.loop.step(5)
    assert not leaving.done()
    assert world.answer_all(running) == [[2]]
    assert leaving.result() is True
    with pytest.raises(ModelNotReadyError):
        waiting.result()
    world.unlock()
    assert world.answer_all(world.ask(3)) == [[6]]


def test_a_queue_is_finished_when_nothing_waits_or_runs(make):
    world = make(batchable=False, concurrency=1)
    tasks = [world.ask(1), world.ask(2)]
    world.loop.step(5)
    finishing = world.loop.create_task(world.queue.finish())
    world.run()
    assert not finishing.done()
    world.run()
    assert finishing.done()
    assert world.answer_all(*tasks) == [[2], [4]]
    idle = world.loop.create_task(world.queue.finish())
    world.loop.step(2)
    assert idle.done()


def test_a_cancelled_worker_leaves_nobody_waiting(make):
    world = make(batchable=False, concurrency=1)
    running, waiting = world.ask(1), world.ask(2)
    world.loop.step(10)
    (worker,) = world.queue._workers
    worker.cancel()
    world.loop.step(5)
    assert not running.done()  # its run can't be interrupted
    assert world.answer_all(waiting) == [[4]]
    with pytest.raises(ModelNotReadyError, match="interrupted"):
        running.result()
    assert world.pool.entry(M).n_users == 0


def test_a_worker_that_is_cancelled_before_it_begins_is_replaced(make):
    world = make()
    task = world.ask(1, turns=1)
    (worker,) = world.queue._workers
    worker.cancel()
    assert world.answer_all(task) == [[2]]


def test_who_comes_when_the_last_worker_is_just_leaving_is_served(make):
    world = make(limits=QueueLimits(n_rows=1), concurrency=1)
    world.ask(1)
    world.run(turns=3)
    (worker,) = world.queue._workers
    while not worker.done():
        world.loop.step()
    late = world.ask(2, turns=0)
    assert world.answer_all(late) == [[4]]


def test_runs_and_rows_and_the_bytes_of_shared_passes_are_counted(make):
    world = make(concurrency=2)
    before = world.queue.statistics.streamed_bytes
    tasks = [world.ask(1), world.ask(2), world.ask(3, 4)]
    world.answer_all(*tasks)
    statistics = world.queue.statistics
    assert (statistics.n_executions, statistics.n_inferences) == (1 + 2, 1 + 3)
    assert statistics.success.count == 4
    assert {n: tally.infer.count for n, tally in statistics.batches.items()} == {1: 2, 2: 1}
    assert statistics.streamed_bytes - before == 20
    assert statistics.last_inference_ms > 1_600_000_000_000
    # Opened again, a model counts from nothing.
    world.loop.create_task(world.pool.withdraw(M))
    world.loop.settle(seconds=1)
    world.unlock()
    world.answer_all(world.ask(1))
    assert statistics.streamed_bytes - before == 30
