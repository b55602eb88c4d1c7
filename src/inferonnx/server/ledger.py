"""The bytes that requests may hold at once.

A request is promised all that it will hold before its body is read, and takes it as its
body comes. More may be promised than there is. Rules of this file:

- Nothing is taken from which not all that have begun could end, one after the other, each
  with all that it was promised (the banker's algorithm): so no two wait for each other.
- Who has begun comes before who has not: nobody new would come in before it anyway.
- Nobody new passes one for which there is no room, so that a large request is not overtaken
  for ever by small ones. Who waits because others' promises are still out is passed: a body
  that has hardly begun must not hold up those that fit beside it.
- What goes beyond a promise is only tried for, never waited for. Who has all that it was
  promised waits for nobody, and counts as one that ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

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
    """Bytes that are somebody's until `release`, or the end of a `with`.

    Attributes:
        n_bytes: What it holds.
        missing_bytes: What it was promised beyond that.
    """

    def __init__(self, ledger: Ledger, promised_bytes: int) -> None:
        """Begin with nothing of what is promised."""
        self._ledger = ledger
        self._is_beyond = False
        self._reply_bytes = 0
        self.n_bytes = 0
        self.missing_bytes = promised_bytes

    def __enter__(self) -> Self:
        """Return the reservation, which `with` releases."""
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()

    async def grow(self, n_bytes: int) -> None:
        """Take so much of what was promised, as soon as all that have begun can still end.

        Raises:
            ValueError: It was not promised so much: a bug of the caller's.
        """
        if not 0 <= n_bytes <= self.missing_bytes:
            raise ValueError(f"{self.missing_bytes} bytes are missing, not {n_bytes}")
        if not self._ledger.take(self, n_bytes):
            await self._ledger.turn(self, n_bytes)

    def try_grow(self, n_bytes: int) -> bool:
        """Take `n_bytes` beyond the promise if they are free; tell whether it worked."""
        _check(n_bytes)
        self.missing_bytes += n_bytes
        if self._ledger.take(self, n_bytes):
            return True
        self.missing_bytes -= n_bytes
        return False

    def could_grow(self, n_bytes: int) -> bool:
        """Tell whether `n_bytes` more would be free if nobody else held anything."""
        return self.n_bytes + self.missing_bytes + n_bytes <= self._ledger.total_bytes

    async def hold(self, n_bytes: int, *, before: asyncio.Task[None] | None = None) -> None:
        """See to it that a reply of `n_bytes` may stay until it is sent.

        Asked for the most that it can be before it is made, and for what it is then.

        Where the ledger has no room for it now, one reply at a time may stay all the same:
        else those larger than the ledger could never be sent.

        Args:
            n_bytes: What it takes.
            before: Sends what has to go first, and ends by itself: its turn comes first, too.

        Raises:
            BusyError: Others hold all that, or wait for it.
        """
        # Who has its turn has it, however long the reply has become.
        if not self._is_beyond and not self.try_hold(n_bytes):
            await self._ledger.go_beyond(before)
            self._is_beyond = True

    def try_hold(self, n_bytes: int) -> bool:
        """As `hold`, if the ledger has room for that now; tell whether it has."""
        missing = n_bytes - self.n_bytes
        if self._is_beyond:
            return False
        if missing <= 0:
            self.shrink(-missing)  # of the request, which nobody needs any more
            return True
        if not self._ledger.take_for_reply(self, missing):
            return False
        self._reply_bytes += missing
        return True

    def shrink(self, n_bytes: int) -> None:
        """Give `n_bytes` of it back.

        Raises:
            ValueError: It does not hold so many: a bug of the caller's.
        """
        if not 0 <= n_bytes <= self.n_bytes:
            raise ValueError(f"a reservation of {self.n_bytes} bytes can't give {n_bytes} back")
        self.n_bytes -= n_bytes
        self._ledger.gave(self, n_bytes)
        if not self.n_bytes:
            self._ledger.end_reply(self._reply_bytes, was_beyond=self._is_beyond)
            self._reply_bytes, self._is_beyond = 0, False

    def release(self) -> None:
        """Give all of it back, and the promise; again does nothing."""
        self.missing_bytes = 0
        self.shrink(self.n_bytes)


class _Place(NamedTuple):
    """Who waits, for how much of what it was promised."""

    one: Reservation
    n_bytes: int
    turn: asyncio.Future[None]


class Ledger:
    """A fixed number of bytes, and who waits for some of them."""

    def __init__(self, total_bytes: int) -> None:
        """Begin with nothing reserved."""
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self._growing: set[Reservation] = set()  # begun, and not yet all that was promised
        self._waiting: list[_Place] = []
        self._beyond = asyncio.Lock()
        self._n_beyond = self._reply_bytes = 0

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def reserve(self, n_bytes: int, *, at_once: int | None = None) -> Reservation:
        """Return a reservation as soon as it can begin.

        Args:
            n_bytes: What is promised.
            at_once: What is taken of it to begin with; all of it where this is not given.

        Raises:
            UsageError: There never will be so much: it is more than the total.
        """
        if n_bytes > self.total_bytes:
            raise UsageError(
                f"the request takes {format_size(n_bytes)}, and all requests together may "
                f"hold {format_size(self.total_bytes)}",
                hint="Send less at once, or serve with more memory.",
            )
        found = self.try_reserve(n_bytes, at_once=at_once)
        if found is not None:
            return found
        one = Reservation(self, n_bytes)
        try:
            await self.turn(one, n_bytes if at_once is None else at_once)
        except BaseException:
            one.release()  # it may have been granted in the moment of the interrupt
            raise
        return one

    def try_reserve(self, n_bytes: int, *, at_once: int | None = None) -> Reservation | None:
        """Return a reservation if it can begin now, and passes nobody for whom there is no room."""
        _check(n_bytes)
        one = Reservation(self, n_bytes)
        is_passing = any(map(self._has_no_room, self._waiting))
        is_taken = not is_passing and self.take(one, n_bytes if at_once is None else at_once)
        return one if is_taken else None

    def take(self, one: Reservation, n_bytes: int) -> bool:
        """Count so much of a promise as held if that is safe now; tell whether it was."""
        if self.used_bytes + n_bytes > self.total_bytes:
            return False
        self._move(one, n_bytes)
        if self._can_all_end():
            return True
        self._move(one, -n_bytes)
        return False

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

    def take_for_reply(self, one: Reservation, n_bytes: int) -> bool:
        """Count `n_bytes` more for the reply of `one`; tell whether there was room.

        Half of the total stays for requests: whoever does not read keeps large replies from
        others, and nothing else.
        """
        if self._reply_bytes + n_bytes > self.total_bytes // 2 or not one.try_grow(n_bytes):
            return False
        self._reply_bytes += n_bytes
        return True

    def end_reply(self, n_bytes: int, *, was_beyond: bool) -> None:
        """Take note that a reply of so much is gone; the next may be beyond in its place."""
        self._reply_bytes -= n_bytes
        if was_beyond:
            self._beyond.release()

    async def turn(self, one: Reservation, n_bytes: int) -> None:
        """Wait until so much of a promise is counted as held."""
        place = _Place(one, n_bytes, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        try:
            await place.turn
        except BaseException:
            if place in self._waiting:
                self._waiting.remove(place)
                self._grant()  # whoever waited behind this one may fit
            raise

    def gave(self, one: Reservation, n_bytes: int) -> None:
        """Count `n_bytes` as free again, which `one` does not hold any more."""
        self.used_bytes -= n_bytes
        self._note(one)
        self._grant()

    def _grant(self) -> None:
        """Serve those that wait, in their order, as the rules above say."""
        is_full = False
        for place in tuple(self._waiting):
            # A cancelled one is on its way to leave: nothing is counted for it.
            if place.turn.done() or (is_full and not place.one.n_bytes):
                continue
            if self._has_no_room(place):
                is_full = True
            elif self.take(place.one, place.n_bytes):
                self._waiting.remove(place)
                place.turn.set_result(None)

    def _has_no_room(self, place: _Place) -> bool:
        is_over = place.turn.done()
        return not is_over and self.used_bytes + place.n_bytes > self.total_bytes

    def _move(self, one: Reservation, n_bytes: int) -> None:
        self.used_bytes += n_bytes
        one.n_bytes += n_bytes
        one.missing_bytes -= n_bytes
        self._note(one)

    def _note(self, one: Reservation) -> None:
        if one.n_bytes and one.missing_bytes:
            self._growing.add(one)
        else:
            self._growing.discard(one)

    def _can_all_end(self) -> bool:
        """Tell whether all that grow can end, the one that misses least first.

        All others end without anything more, so that what they hold counts as free.
        """
        free = self.total_bytes - sum(one.n_bytes for one in self._growing)
        for one in sorted(self._growing, key=lambda one: one.missing_bytes):
            if one.missing_bytes > free:
                return False
            free += one.n_bytes
        return True


def _busy() -> BusyError:
    # Made where it is raised: an error in a variable of a frame that it came through keeps
    # that frame, and the reply that could not stay, until garbage is collected.
    return BusyError("the server's memory is in use by other replies", retry_after_s=1)


def _check(n_bytes: int) -> None:
    if n_bytes < 0:
        raise ValueError(f"{n_bytes} bytes can't be reserved")
