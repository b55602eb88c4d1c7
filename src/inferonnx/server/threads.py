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
    """
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(executor, partial(call, *args, **kwargs))
    await wait_out(running)
    return running.result()


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
