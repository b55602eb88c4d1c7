"""The bytes that requests may hold at once.

Who asks for more than is free waits, first come first served, so that a large
request is not overtaken for ever by small ones. A request reserves once, before
its body is read, for everything that it will hold; who already holds something
may only try, never wait: then no two requests can wait for each other. Who holds
something already may overtake those that wait: refusing it would help nobody, and
there are only so many, since nobody new comes in before them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from typing import Self


class Reservation:
    """Bytes that are somebody's until `release`, or the end of a `with`."""

    def __init__(self, ledger: Ledger, n_bytes: int) -> None:
        """Hold what the ledger has already counted."""
        self._ledger = ledger
        self.n_bytes = n_bytes

    def __enter__(self) -> Self:
        """Return the reservation, which `with` releases."""
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    def try_grow(self, n_bytes: int) -> bool:
        """Take `n_bytes` more if they are free; tell whether it worked."""
        if not self._ledger.take(n_bytes):
            return False
        self.n_bytes += n_bytes
        return True

    def shrink(self, n_bytes: int) -> None:
        """Give `n_bytes` of it back.

        Raises:
            ValueError: It does not hold so many: a bug of the caller's.
        """
        if not 0 <= n_bytes <= self.n_bytes:
            raise ValueError(f"a reservation of {self.n_bytes} bytes can't give {n_bytes} back")
        self.n_bytes -= n_bytes
        self._ledger.give(n_bytes)

    def release(self) -> None:
        """Give all of it back; again does nothing."""
        self.shrink(self.n_bytes)


class Ledger:
    """A fixed number of bytes, and who waits for some of them."""

    def __init__(self, total_bytes: int) -> None:
        """Begin with nothing reserved."""
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def reserve(self, n_bytes: int) -> Reservation:
        """Return a reservation as soon as there is room.

        Raises:
            UsageError: There never will be: it is more than the total.
        """
        _check(n_bytes)
        if n_bytes > self.total_bytes:
            raise UsageError(
                f"the request takes {format_size(n_bytes)}, and all requests together may "
                f"hold {format_size(self.total_bytes)}",
                hint="Send less at once, or serve with more memory.",
            )
        if self._waiting or not self.take(n_bytes):
            await self._wait(n_bytes)
        return Reservation(self, n_bytes)

    def try_reserve(self, n_bytes: int) -> Reservation | None:
        """Return a reservation if there is room now and nobody waits, else None."""
        if self._waiting or not self.take(n_bytes):
            return None
        return Reservation(self, n_bytes)

    def take(self, n_bytes: int) -> bool:
        """Count `n_bytes` as used if they are free, whoever waits; tell whether they were.

        Raises:
            ValueError: `n_bytes` is negative: a bug of the caller's.
        """
        _check(n_bytes)
        if self.used_bytes + n_bytes > self.total_bytes:
            return False
        self.used_bytes += n_bytes
        return True

    def give(self, n_bytes: int) -> None:
        """Count `n_bytes` as free again."""
        self.used_bytes -= n_bytes
        self._grant()

    async def _wait(self, n_bytes: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (n_bytes, turn)
        self._waiting.append(place)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give(n_bytes)  # granted in the moment of the interrupt
            elif place in self._waiting:
                self._waiting.remove(place)
                self._grant()  # whoever waited behind this one may fit
            raise

    def _grant(self) -> None:
        while self._waiting:
            n_bytes, turn = self._waiting[0]
            # A cancelled one is on its way to leave: nothing is counted for it.
            if not turn.cancelled():
                if self.used_bytes + n_bytes > self.total_bytes:
                    return
                self.used_bytes += n_bytes
                turn.set_result(None)
            self._waiting.popleft()


def _check(n_bytes: int) -> None:
    if n_bytes < 0:
        raise ValueError(f"{n_bytes} bytes can't be reserved")
