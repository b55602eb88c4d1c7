"""Blocking calls in threads, from the event loop, and how many of them compute passes."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable
    from concurrent.futures import Executor
    from typing import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


async def in_thread(
    executor: Executor | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return what `call` returns, from a thread of `executor` or of the loop's own.

    A thread can't be interrupted. Who is cancelled while it runs learns so when it has
    ended: until then it uses what it was given, and what depends on it must not go on.
    When this returns the thread holds nothing of that any more.
    """
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(executor, _only_once, [partial(call, *args, **kwargs)])
    del call, args, kwargs
    await wait_out(running)
    return running.result()


def _only_once(calls: list[partial[T]]) -> T:
    # An executor's thread forgets what it ran some time after the result is there: a
    # closed model, and the arena with it, would outlive its place in the pool.
    return calls.pop()()


async def wait_out(future: asyncio.Future[T]) -> None:
    """Return when `future` is done; a cancellation comes through then, and not before."""
    cancelled = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # seen, so that asyncio does not report it as lost
        raise cancelled


class PassThreads:
    """Threads that compute passes: some for all models, and one more for a model that has none.

    So a model whose passes take long, or never end, keeps no other from being computed.
    """

    def __init__(
        self, shared: Executor, *, n_shared: int, extra: Callable[[], Executor] | None = None
    ) -> None:
        """Begin with all free.

        Args:
            shared: Threads for all models.
            n_shared: How many these are.
            extra: Makes one more, which ends with its pass.
        """
        self._shared, self._n_free = shared, n_shared
        self._extra = extra or partial(ThreadPoolExecutor, 1, "inferonnx-pass")
        self._n_running: Counter[Hashable] = Counter()
        self._waiting: list[tuple[Hashable, asyncio.Future[Executor]]] = []

    @asynccontextmanager
    async def thread(self, model: Hashable) -> AsyncIterator[Executor]:
        """Give a thread for passes of `model`, one at a time, as soon as there is one."""
        turn: asyncio.Future[Executor] = asyncio.get_running_loop().create_future()
        self._waiting.append((model, turn))
        self._grant()
        try:
            yield await turn
        finally:
            if turn.cancelled():
                self._waiting.remove((model, turn))
            else:
                self._give_back(model, turn.result())

    def _grant(self) -> None:
        for model, turn in tuple(self._waiting):
            if turn.done():
                continue  # cancelled, and on its way to leave
            if self._n_free:
                self._n_free -= 1
                executor = self._shared
            elif not self._n_running[model]:
                executor = self._extra()
            else:
                continue
            self._waiting.remove((model, turn))
            self._n_running[model] += 1
            turn.set_result(executor)

    def _give_back(self, model: Hashable, executor: Executor) -> None:
        self._n_running[model] -= 1
        if not self._n_running[model]:
            del self._n_running[model]  # models come and go
        if executor is self._shared:
            self._n_free += 1
        else:
            executor.shutdown(wait=False)
        self._grant()
