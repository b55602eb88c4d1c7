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
from inferonnx.oip import BusyError
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from typing import Self


REPLIES_WAITING = 8
"""Replies that are there and wait for their turn beyond the ledger. What a model's calls give
counts with its share, for the calls that it computes at once: no more may pile up."""

REPLY_TURN_S = 30
"""Longest wait for that turn: its holder may be a client that does not read."""


class Reservation:
    """Bytes that are somebody's until `release`, or the end of a `with`."""

    def __init__(self, ledger: Ledger, n_bytes: int) -> None:
        """Hold what the ledger has already counted."""
        self._ledger = ledger
        self._is_beyond = False
        self._reply_bytes = 0
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

    async def hold(self, n_bytes: int, *, before: asyncio.Task[None] | None = None) -> None:
        """See to it that a reply of `n_bytes`, which is there, may stay until it is sent.

        Where the ledger has no room for it now, one reply at a time may stay all the same:
        else those larger than the ledger could never be sent.

        Args:
            n_bytes: What it takes.
            before: Sends what has to go first, and ends by itself: its turn comes first, too.

        Raises:
            BusyError: Others hold all that, or wait for it.
        """
        missing = n_bytes - self.n_bytes
        if missing <= 0:
            self.shrink(-missing)  # of the request, which nobody needs any more
        elif self._ledger.take_for_reply(missing):
            self.n_bytes += missing
            self._reply_bytes += missing
        else:
            await self._ledger.go_beyond(before)
            self._is_beyond = True

    def shrink(self, n_bytes: int) -> None:
        """Give `n_bytes` of it back.

        Raises:
            ValueError: It does not hold so many: a bug of the caller's.
        """
        if not 0 <= n_bytes <= self.n_bytes:
            raise ValueError(f"a reservation of {self.n_bytes} bytes can't give {n_bytes} back")
        self.n_bytes -= n_bytes
        self._ledger.give(n_bytes)
        if not self.n_bytes:
            self._ledger.end_reply(self._reply_bytes, was_beyond=self._is_beyond)
            self._reply_bytes, self._is_beyond = 0, False

    def release(self) -> None:
        """Give all of it back; again does nothing."""
        self.shrink(self.n_bytes)


class Ledger:
    """A fixed number of bytes, and who waits for some of them."""

    def __init__(self, total_bytes: int) -> None:
        """Begin with nothing reserved."""
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._beyond = asyncio.Lock()
        self._n_beyond = self._reply_bytes = 0
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

    async def go_beyond(self, before: asyncio.Task[None] | None) -> None:
        """Wait for `before`, then for the turn of the one reply that may be beyond the total.

        Raises:
            BusyError: Too many wait already, or it takes too long.
        """
        if self._n_beyond >= REPLIES_WAITING:
            raise _busy()
        self._n_beyond += 1
        try:
            async with asyncio.timeout(REPLY_TURN_S):
                if before is not None:
                    await asyncio.wait((before,))
                await self._beyond.acquire()
        except TimeoutError:
            raise _busy() from None
        finally:
            self._n_beyond -= 1

    def take_for_reply(self, n_bytes: int) -> bool:
        """Count `n_bytes` more of a reply; tell whether there was room.

        Half of the total stays for requests: whoever does not read keeps large replies from
        others, and nothing else.
        """
        if self._reply_bytes + n_bytes > self.total_bytes // 2 or not self.take(n_bytes):
            return False
        self._reply_bytes += n_bytes
        return True

    def end_reply(self, n_bytes: int, *, was_beyond: bool) -> None:
        """Take note that a reply of so much is gone; the next may be beyond in its place."""
        self._reply_bytes -= n_bytes
        if was_beyond:
            self._beyond.release()

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


def _busy() -> BusyError:
    # Made where it is raised: an error in a variable of a frame that it came through keeps
    # that frame, and the reply that could not stay, until garbage is collected.
    return BusyError("the server's memory is in use by other replies", retry_after_s=1)


def _check(n_bytes: int) -> None:
    if n_bytes < 0:
        raise ValueError(f"{n_bytes} bytes can't be reserved")
