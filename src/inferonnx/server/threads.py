"""Blocking calls in threads, from the event loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
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
