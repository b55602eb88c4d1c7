"""The bytes that requests may hold at once.

Who asks for more than is free waits, first come first served, so that a large
request is not overtaken for ever by small ones. A request reserves once, before
its body is read, for everything that it will hold; who already holds something
may only try, never wait: then no two requests can wait for each other.
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
        """Take `n_bytes` more if they are free and nobody waits; tell whether it worked."""
        if not self._ledger.take(n_bytes):
            return False
        self.n_bytes += n_bytes
        return True

    def shrink(self, n_bytes: int) -> None:
        """Give `n_bytes` of it back."""
        self.n_bytes -= n_bytes
        self._ledger.give(n_bytes)

    def release(self) -> None:
        """Give all of it back; again does nothing."""
        n_bytes, self.n_bytes = self.n_bytes, 0
        self._ledger.give(n_bytes)


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
        if n_bytes > self.total_bytes:
            raise UsageError(
                f"the request takes {format_size(n_bytes)}, and all requests together may "
                f"hold {format_size(self.total_bytes)}",
                hint="Send less at once, or serve with more memory.",
            )
        if not self.take(n_bytes):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((n_bytes, turn))
            try:
                await turn
            except BaseException:
                if turn.done() and not turn.cancelled():
                    self.give(n_bytes)  # granted in the moment of the interrupt
                else:
                    self._grant()  # whoever waited behind this one may fit
                raise
        return Reservation(self, n_bytes)

    def try_reserve(self, n_bytes: int) -> Reservation | None:
        """Return a reservation if there is room now and nobody waits, else None."""
        return Reservation(self, n_bytes) if self.take(n_bytes) else None

    def take(self, n_bytes: int) -> bool:
        """Count `n_bytes` as used if they are free and nobody waits."""
        if self._waiting or self.used_bytes + n_bytes > self.total_bytes:
            return False
        self.used_bytes += n_bytes
        return True

    def give(self, n_bytes: int) -> None:
        """Count `n_bytes` as free again."""
        self.used_bytes -= n_bytes
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            n_bytes, turn = self._waiting[0]
            if not turn.cancelled():
                if self.used_bytes + n_bytes > self.total_bytes:
                    return
                self.used_bytes += n_bytes
                turn.set_result(None)
            self._waiting.popleft()
