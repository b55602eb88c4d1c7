"""One queue for each model, and who works it off.

Rules of this file. A queue is bounded: what does not fit is refused at once, with a
time after which it is worth trying again. A request is taken from its queue at the last
moment, when its model is open and a worker is free: one whose caller has gone, or
whose time is over, is never computed. What is computed when the last of its callers
goes is ended, and they are held until then: their inputs are in use.

A model whose rows are independent has one worker, which takes all waiting requests of one
kind as a batch; after a batch it waits a moment for those that it answered to come
back. What can't join the batch gets a worker of its own, for one run. Any other model
has as many workers as the engine lets share a pass. A batch that fails is run request
by request, so that none fails for another's fault. Whatever a worker meets, all requests
that it took are answered.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import BusyError, DeadlineError, InferonnxError, ModelNotReadyError
from inferonnx.server.batching import join, joined_shapes, split
from inferonnx.server.jobs import Answer, Job, given_up
from inferonnx.server.statistics import Failure, ModelStatistics, Timing
from inferonnx.server.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from inferonnx.server.pool import ModelId, Pool
    from inferonnx.server.ports import OpenModel
    from inferonnx.server.threads import PassThreads
    from inferonnx.tensors import Tensor

MAX_RETRY_AFTER_S = 60
"""Nobody is sent away for longer: what a queue will look like then can't be told from now."""

PACE_WEIGHT = 0.2
"""Weight of the newest run in the mean time that a request takes."""


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


class ModelQueue:
    """The requests of one version of a model."""

    def __init__(
        self,
        pool: Pool,
        model: ModelId,
        limits: QueueLimits,
        threads: PassThreads,
        *,
        overdue: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with nothing to do; `overdue` is told of runs that don't end when given up."""
        self._tell_overdue = overdue
        self.statistics = ModelStatistics()
        self._pool, self._model, self._limits, self._threads = pool, model, limits, threads
        self._jobs: deque[Job] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._splits = True  # until an output shows not to be by rows
        self._arrived = asyncio.Event()
        self._request_s = 0.0  # of one worker, a mean
        self._counted: weakref.ref[OpenModel] | None = None
        self._counted_bytes = 0

    async def infer(self, inputs: dict[str, Tensor], *, timeout_s: float | None = None) -> Answer:
        """Return the model's answer.

        Who is cancelled while it is computed returns when that has ended: what `inputs`
        consist of is in use until then, and its memory still counts.

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
            raise BusyError(
                "too many requests wait for this model", retry_after_s=self.retry_after_s
            )
        job = Job(inputs, timeout_s=timeout_s)
        self._jobs.append(job)
        self.statistics.n_pending += 1
        self._arrived.set()
        self._hire(self._n_workers)
        try:
            answer = await job.answer()
        except BaseException as error:
            self.statistics.failed(_why(error), time.perf_counter_ns() - began)
            raise
        finally:
            self.statistics.n_pending -= 1
            if job in self._jobs:
                self._jobs.remove(job)
        now_ms = max(0, time.time_ns() // 1_000_000)  # a host's clock may stand before 1970
        self.statistics.succeeded(answer.timing, rows=job.rows, now_ms=now_ms)
        return answer

    async def finish(self) -> None:
        """Return when nothing waits or runs; who calls it sends nothing more."""
        while self._workers:
            await asyncio.wait(tuple(self._workers))

    @property
    def retry_after_s(self) -> int:
        """Whole seconds in which what waits now will have been computed, as far as is known."""
        expected = len(self._jobs) * self._request_s / max(1, len(self._workers))
        return max(1, min(MAX_RETRY_AFTER_S, -int(-expected // 1)))

    @property
    def _may_batch(self) -> bool:
        facts = self._pool.facts(self._model)
        return self._splits and self._limits.n_rows > 1 and facts is not None and facts.is_batchable

    @property
    def _n_workers(self) -> int:
        return 1 if self._may_batch else self._pool.concurrency

    def _hire(self, limit: int) -> None:
        """Have one worker more if there is work, and there are fewer than `limit`."""
        if self._jobs and len(self._workers) < limit:
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._left)

    def _left(self, worker: asyncio.Task[None]) -> None:
        """Forget a worker; whoever came since its last look, or counted on it, gets another."""
        self._workers.discard(worker)
        if any(job.is_awaited for job in self._jobs):
            self._hire(self._n_workers)

    async def _work(self) -> None:
        """Work off the queue; the model is given back between runs, for others that need room."""
        n_joined = 1
        while self._jobs:
            n_joined = await self._serve(n_joined)
            if len(self._workers) > self._n_workers:
                return

    async def _serve(self, n_joined: int) -> int:
        """Run what waits first, and what joins it; return how many requests that were."""
        try:
            async with self._pool.lease(self._model) as model:
                await self._gather(n_joined)
                async with self._threads.thread(self._model) as thread:
                    jobs = self._take(model)
                    await self._run(model, jobs, thread)
                return len(jobs)
        except InferonnxError as error:
            # The model can't be had: whoever waits for it now is told so.
            while self._jobs:
                self._jobs.popleft().fail(error)
            return 1

    async def _gather(self, n_joined: int) -> None:
        """Wait a moment for the requests that came together the last time."""
        enough = min(n_joined, self._limits.n_rows)
        if enough <= 1 or not self._may_batch:
            return
        try:
            async with asyncio.timeout(self._limits.delay_s):
                while len(self._jobs) < enough:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return

    def _take(self, model: OpenModel) -> list[Job]:
        """Take the first request that somebody waits for, and those that join it."""
        first = self._next()
        if first is None:
            return []
        jobs, rows = [self._jobs.popleft()], first.rows
        while self._may_batch and (job := self._next()) is not None:
            if not self._joins(model, first, job, rows + job.rows):
                break
            jobs.append(self._jobs.popleft())
            rows += job.rows
        for job in jobs:
            job.begin()
        if self._next() is not None:
            self._hire(self._pool.concurrency)  # what can't join may share the pass
        return jobs

    def _next(self) -> Job | None:
        """Return the first request that somebody waits for; those before it are forgotten."""
        while self._jobs and not self._jobs[0].is_awaited:
            self._jobs.popleft()
        return self._jobs[0] if self._jobs else None

    def _joins(self, model: OpenModel, first: Job, job: Job, n_rows: int) -> bool:
        if first.kind is None or job.kind != first.kind or n_rows > self._limits.n_rows:
            return False
        try:
            return model.fits(joined_shapes(first.inputs, n_rows))
        except Exception:
            return False  # if it is the request's fault, its own run says so to it alone

    async def _run(self, model: OpenModel, jobs: Sequence[Job], thread: Executor) -> None:
        """Compute requests and answer all of them: together, or else one by one."""
        began = time.perf_counter()
        try:
            if len(jobs) > 1 and await self._together(model, jobs, thread):
                return
            for job in jobs:
                if job.is_awaited:
                    await self._alone(model, job, thread)
                job.release()
        finally:
            # Nothing is left over but when the worker is cancelled.
            for job in jobs:
                job.fail(ModelNotReadyError("the request was interrupted", hint="Try again."))
                job.release()
            if jobs:
                newest = (time.perf_counter() - began) / len(jobs) - self._request_s
                self._request_s += newest * (PACE_WEIGHT if self._request_s else 1)

    async def _together(self, model: OpenModel, jobs: Sequence[Job], thread: Executor) -> bool:
        """Compute requests as one batch; tell whether they are answered."""
        try:
            outputs, timing = await self._compute(model, jobs, thread)
            start = time.perf_counter_ns()
            parts = split(outputs, [job.rows for job in jobs])
        except Exception:
            return False
        if parts is None:
            self._splits = False
            for _ in self._jobs:
                self._hire(self._pool.concurrency)
            return False
        self._settle(model, jobs, parts, timing._replace(output_ns=time.perf_counter_ns() - start))
        return True

    async def _alone(self, model: OpenModel, job: Job, thread: Executor) -> None:
        job.begin()
        try:
            outputs, timing = await self._compute(model, [job], thread)
            self._settle(model, [job], [outputs], timing)
        except Exception as error:
            job.fail(error)

    async def _compute(
        self, model: OpenModel, jobs: Sequence[Job], thread: Executor
    ) -> tuple[list[Tensor], Timing]:
        start = time.perf_counter_ns()
        inputs = join([job.inputs for job in jobs])
        joined = time.perf_counter_ns()
        with given_up(jobs, overdue=self._overdue) as stop:
            outputs = await in_thread(thread, model.run, inputs, stop)
        computed = time.perf_counter_ns()
        n_rows = sum(job.rows for job in jobs)
        return outputs, Timing(0, joined - start, computed - joined, 0, n_rows)

    @contextmanager
    def _overdue(self) -> Iterator[None]:
        """Tell of a run that may never end, and have nobody wait for its model's memory."""
        self._tell_overdue()
        with self._pool.overdue(self._model):
            yield

    def _settle(
        self,
        model: OpenModel,
        jobs: Sequence[Job],
        parts: Sequence[list[Tensor]],
        timing: Timing,
    ) -> None:
        """Count a run, and hand its results out."""
        self.statistics.executed(timing.n_rows, timing, streamed_bytes=self._opened_since(model))
        for job, part in zip(jobs, parts, strict=True):
            queue_ns = job.started_ns - job.queued_ns
            job.succeed(Answer(part, timing._replace(queue_ns=queue_ns)))

    def _opened_since(self, model: OpenModel) -> int:
        """Return the bytes that passes have opened since the last time: runs share passes."""
        if self._counted is None or self._counted() is not model:
            self._counted, self._counted_bytes = weakref.ref(model), 0
        new = model.opened_bytes - self._counted_bytes
        self._counted_bytes += new
        return new


def _why(error: BaseException) -> Failure:
    if isinstance(error, asyncio.CancelledError):
        return Failure.CANCELED
    if isinstance(error, DeadlineError):
        return Failure.REJECTED
    return Failure.BACKEND if isinstance(error, InferonnxError) else Failure.OTHER
