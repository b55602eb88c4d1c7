"""One request in a model's queue: what it wants, who waits for it, and until when."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import DeadlineError, InferonnxError
from inferonnx.runtime.stop import Stop
from inferonnx.server.batching import batch_kind, batch_rows, can_join
from inferonnx.server.threads import wait_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from inferonnx.server.statistics import Timing
    from inferonnx.tensors import Tensor


OVERDUE_S = 10.0
"""How long a node may go on when nobody waits for it: one that takes longer may never end."""


class Answer(NamedTuple):
    """Outputs of one request, in the model's order, and where its time went."""

    outputs: list[Tensor]
    timing: Timing


class Job:
    """A request, from its arrival to its answer; it is answered once.

    Attributes:
        inputs: By name.
        rows: Size of the first axis, 1 where there is none.
        kind: What it must have in common with another to be joined; None when it can't be.
        queued_ns: When it came.
        started_ns: When it was last begun.
    """

    __slots__ = (
        "_done",
        "_released",
        "_timer",
        "inputs",
        "kind",
        "queued_ns",
        "rows",
        "started_ns",
    )

    def __init__(self, inputs: dict[str, Tensor], *, timeout_s: float | None) -> None:
        """Begin to wait; without an answer in time it fails, unless it was begun."""
        loop = asyncio.get_running_loop()
        rows = batch_rows(inputs)
        self.inputs = inputs
        self.rows = rows or 1
        joins = rows is not None and all(can_join(t.dtype) for t in inputs.values())
        self.kind = batch_kind(inputs) if joins else None
        self.queued_ns = self.started_ns = time.perf_counter_ns()
        self._done: asyncio.Future[Answer] = loop.create_future()
        self._released: asyncio.Future[None] | None = None
        self._timer = None if timeout_s is None else loop.call_later(timeout_s, self._expire)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody still waits for an answer."""
        return not self._done.done()

    async def answer(self) -> Answer:
        """Return the answer; a caller that is cancelled is held as long as inputs are in use.

        Raises:
            DeadlineError: It was not begun in time.
            Exception: What it failed with.
        """
        try:
            return await self._done
        finally:
            self._stop_timer()
            if self._released is not None:
                await wait_out(self._released)

    def begin(self) -> None:
        """Note that its inputs are in use from now on: it can't expire any more."""
        self._stop_timer()
        self.started_ns = time.perf_counter_ns()
        self._released = self._done.get_loop().create_future()

    def release(self) -> None:
        """Note that its inputs are not in use any more."""
        if self._released is not None and not self._released.done():
            self._released.set_result(None)

    def succeed(self, answer: Answer) -> None:
        """Answer it, if somebody waits."""
        if self.is_awaited:
            self._done.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Have it fail, if somebody waits, with an error of its own."""
        if self.is_awaited:
            own = error.again() if isinstance(error, InferonnxError) else error
            self._done.set_exception(own)

    def watch(self, left: Callable[[object], None]) -> None:
        """Call `left` soon after it is not awaited any more."""
        self._done.add_done_callback(left)

    def unwatch(self, left: Callable[[object], None]) -> None:
        """Call `left` no more."""
        self._done.remove_done_callback(left)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self.fail(DeadlineError("the request waited longer than its time-out"))


@contextmanager
def given_up(
    jobs: Sequence[Job], *, overdue: Callable[[], AbstractContextManager[None]]
) -> Iterator[Stop]:
    """Give what is set when none of the jobs is awaited any more.

    Where they go on for `OVERDUE_S` after that, `overdue` is entered until they end.
    """
    stop = Stop()
    with ExitStack() as until_over:

        def look(_: object) -> None:
            if any(job.is_awaited for job in jobs) or stop.is_set:
                return
            stop.set()
            loop = asyncio.get_running_loop()
            timer = loop.call_later(OVERDUE_S, lambda: until_over.enter_context(overdue()))
            until_over.callback(timer.cancel)

        for job in jobs:
            job.watch(look)
            until_over.callback(job.unwatch, look)
        yield stop
