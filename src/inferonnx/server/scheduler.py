"""One queue for each model, and who works it off.

Rules of this file. A queue is bounded: what does not fit is refused at once. A
request is taken from its queue at the last moment, when its model is open and a
worker is free: one whose caller has gone, or whose time is over, is never computed.
A model whose first axis is free and whose share holds more than one row has one worker, which
takes all waiting requests of one kind as a batch; after a batch it waits a moment for
those that it answered to come back. Any other model has as many workers as the engine
lets share a pass. A batch that fails is run request by request, so that none fails
for another's fault.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import BusyError, DeadlineError, InferonnxError
from inferonnx.server.batching import (
    batch_kind,
    batch_rows,
    can_join,
    join,
    joined_shapes,
    split,
)
from inferonnx.server.statistics import Failure, ModelStatistics, Timing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from inferonnx.server.pool import ModelId, Pool
    from inferonnx.server.ports import OpenModel
    from inferonnx.tensors import Tensor


class Answer(NamedTuple):
    """Outputs of one request, in the model's order, and where its time went."""

    outputs: list[Tensor]
    timing: Timing


class QueueLimits(NamedTuple):
    """How much a model's queue takes on.

    Attributes:
        n_waiting: Requests that may wait; one more is refused.
        n_rows: Most rows of a batch; 1 switches batching off.
        delay_s: How long a batch waits for requests to come back.
    """

    n_waiting: int = 64
    n_rows: int = 8
    delay_s: float = 0.002


class _Job:
    """A request in a queue."""

    __slots__ = ("done", "inputs", "kind", "queued_ns", "rows", "started_ns", "timer")

    def __init__(self, inputs: dict[str, Tensor], done: asyncio.Future[Answer]) -> None:
        self.inputs = inputs
        self.done = done
        self.rows = batch_rows(inputs)
        joins = self.rows is not None and all(can_join(t.dtype) for t in inputs.values())
        self.kind = batch_kind(inputs) if joins else None
        self.queued_ns = time.perf_counter_ns()
        self.started_ns = 0
        self.timer: asyncio.TimerHandle | None = None

    def start(self) -> bool:
        """Mark as begun, unless nobody waits for it any more."""
        if self.timer is not None:
            self.timer.cancel()
        self.started_ns = time.perf_counter_ns()
        return not self.done.done()


class ModelQueue:
    """The requests of one version of a model."""

    def __init__(self, pool: Pool, model: ModelId, limits: QueueLimits, threads: Executor) -> None:
        """Begin with nothing to do."""
        self.statistics = ModelStatistics()
        self._pool, self._model, self._limits, self._threads = pool, model, limits, threads
        self._jobs: deque[_Job] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._batches = True  # until it is seen that they do not fit, or do not split
        self._last_rows = 1
        self._arrived = asyncio.Event()

    async def infer(self, inputs: dict[str, Tensor], *, timeout_s: float | None = None) -> Answer:
        """Return the model's answer.

        Args:
            inputs: By name, checked against the model's signature; not changed meanwhile.
            timeout_s: Time in which it must begin.

        Raises:
            BusyError: The queue is full.
            DeadlineError: It did not begin in time.
            InferonnxError: The model could not be opened, or fails on these inputs.
        """
        began = time.perf_counter_ns()
        if len(self._jobs) >= self._limits.n_waiting:
            self.statistics.failed(Failure.REJECTED, 0)
            raise BusyError("too many requests wait for this model", retry_after_s=1)
        job = _Job(inputs, asyncio.get_running_loop().create_future())
        if timeout_s is not None:
            job.timer = asyncio.get_running_loop().call_later(timeout_s, _expire, job)
        self._jobs.append(job)
        self.statistics.n_pending += 1
        self._arrived.set()
        self._hire()
        try:
            answer = await job.done
        except asyncio.CancelledError:
            self.statistics.failed(Failure.CANCELED, time.perf_counter_ns() - began)
            raise
        except DeadlineError:
            self.statistics.failed(Failure.REJECTED, time.perf_counter_ns() - began)
            raise
        except InferonnxError:
            self.statistics.failed(Failure.BACKEND, time.perf_counter_ns() - began)
            raise
        except BaseException:
            self.statistics.failed(Failure.OTHER, time.perf_counter_ns() - began)
            raise
        finally:
            self.statistics.n_pending -= 1
            if job.timer is not None:
                job.timer.cancel()
            if job.done.cancelled() and job in self._jobs:
                self._jobs.remove(job)
        self.statistics.succeeded(
            answer.timing, rows=job.rows or 1, now_ms=time.time_ns() // 1_000_000
        )
        return answer

    async def finish(self) -> None:
        """Return when nothing is waiting or running."""
        while self._workers:
            await asyncio.wait(tuple(self._workers))

    def _hire(self) -> None:
        limit = 1 if self._may_batch() else self._pool.concurrency
        if len(self._workers) < min(limit, len(self._workers) + len(self._jobs)):
            self._workers.add(asyncio.ensure_future(self._work()))

    def _may_batch(self) -> bool:
        entry = self._pool.entry(self._model)
        facts = entry.facts if entry is not None else None
        return bool(
            self._batches and self._limits.n_rows > 1 and facts is not None and facts.is_batchable
        )

    async def _work(self) -> None:
        """Work off the queue; the model is given back between runs, for others that need room."""
        try:
            while self._jobs:
                try:
                    async with self._pool.lease(self._model) as model:
                        await self._gather()
                        if jobs := self._take(model):
                            await self._run(model, jobs)
                except Exception as error:
                    # The model can't be had: whoever waits for it now is told so.
                    while self._jobs:
                        _fail(self._jobs.popleft(), error)
        finally:
            # Here and not in a callback: a request that comes before the loop's next
            # turn must not count on a worker that has left.
            task = asyncio.current_task()
            if task is not None:
                self._workers.discard(task)

    async def _gather(self) -> None:
        """Wait a moment for the requests that came together the last time."""
        if self._last_rows <= 1 or not self._may_batch():
            return
        deadline = time.monotonic() + self._limits.delay_s
        enough = min(self._last_rows, self._limits.n_rows)
        while len(self._jobs) < enough and (left := deadline - time.monotonic()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _take(self, model: OpenModel) -> list[_Job]:
        """Take the first request that somebody waits for, and those that join it."""
        first = None
        while self._jobs and first is None:
            job = self._jobs.popleft()
            first = job if job.start() else None
        if first is None:
            return []
        jobs, rows = [first], first.rows or 1
        batches = self._may_batch() and first.kind is not None
        while batches and self._jobs and self._jobs[0].kind == first.kind:
            more = rows + (self._jobs[0].rows or 1)
            if more > self._limits.n_rows:
                break
            if not model.fits(joined_shapes(first.inputs, more)):
                self._batches = len(jobs) > 1  # not even two: workers that share a pass instead
                break
            job = self._jobs.popleft()
            if job.start():
                jobs.append(job)
                rows = more
        if not self._batches:
            for _ in self._jobs:
                self._hire()
        self._last_rows = len(jobs)
        return jobs

    async def _run(self, model: OpenModel, jobs: Sequence[_Job]) -> None:
        start = time.perf_counter_ns()
        rows = [job.rows or 1 for job in jobs]
        inputs = join([job.inputs for job in jobs])
        joined = time.perf_counter_ns()
        try:
            outputs = await self._compute(model, inputs)
            computed = time.perf_counter_ns()
            parts = [outputs] if len(jobs) == 1 else split(outputs, rows)
            self._batches = self._batches and parts is not None
        except Exception as error:
            if len(jobs) == 1:
                _fail(jobs[0], error)
                return
            parts = None
        if parts is None:
            for job in jobs:
                await self._run(model, [job])
            return
        timing = Timing(
            0, joined - start, computed - joined, time.perf_counter_ns() - computed, sum(rows)
        )
        self.statistics.executed(sum(rows), timing, streamed_bytes=model.residency.streamed_bytes)
        for job, part in zip(jobs, parts, strict=True):
            if not job.done.done():
                own = timing._replace(queue_ns=job.started_ns - job.queued_ns)
                job.done.set_result(Answer(part, own))

    async def _compute(self, model: OpenModel, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, model.run, inputs)


def _fail(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _expire(job: _Job) -> None:
    _fail(job, DeadlineError("the request waited longer than its time-out"))
