"""Memory for request bodies, counted before it is used.

A body has one piece of memory, as long as it is or may become, of which it takes no more
than it holds of its reservation: at most twice what has come. Pages that nothing was
written to are not there. The memory is mapped on its own, so that it goes back to the
system with the last view of it, whatever else was allocated meanwhile.
"""

from __future__ import annotations

import asyncio
import mmap
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.server.messages import HttpError
from inferonnx.sizes import KIB, MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import TypeVar

    from inferonnx.server.pieces import Bytes
    from inferonnx.server.ports import Ledger, Reservation

    T = TypeVar("T")

PAGE_BYTES = 4 * KIB
"""What a body holds of which next to nothing has come; up to here memory is no mapping of its
own: less would waste pages and system calls."""

HUGE_BYTES = 2 * MIB
"""A huge page: where the system gives those unasked, a byte would take all of it."""

ALIGNED_BYTES = 64
"""Where tensors begin in memory of ours: a line of the cache."""

FIRST_BYTES = 64 * KIB
"""What a body of unknown length is promised; beyond it there is memory or there is not."""

RETRY_AFTER = ("Retry-After", "1")
"""Sent with 503: requests end within seconds."""


async def reserve(
    ledger: Ledger, n_bytes: int, *, admission_s: float, at_once: int | None = None
) -> Reservation:
    """Wait for memory: `at_once`, or all of it.

    Raises:
        HttpError: 413 when there never will be so much, 503 when it takes too long.
    """
    try:
        return await _within(admission_s, ledger.reserve(n_bytes, at_once=at_once))
    except UsageError as error:
        raise HttpError(413, error.message) from error


def grow(reservation: Reservation, n_bytes: int) -> None:
    """Take more memory for a request that has come in part, without waiting.

    Raises:
        HttpError: 413 when there never will be so much, 503 when others hold it.
    """
    if reservation.try_grow(n_bytes):
        return
    if not reservation.could_grow(n_bytes):
        raise HttpError(413, "the request takes more memory than all requests together may hold")
    raise _no_memory()


def allocate(n_bytes: int, *, head_bytes: int = 0) -> memoryview:
    """Return zeroed memory of its own.

    Args:
        n_bytes: Its length.
        head_bytes: Of it, after which tensors begin: at a multiple of `ALIGNED_BYTES` where
            the memory is mapped, of 16 where it is not, so that they are used where they are.

    Raises:
        MemoryError: The system has no room for the mapping.
    """
    shift = -head_bytes % ALIGNED_BYTES
    if n_bytes <= PAGE_BYTES:
        return memoryview(bytearray(shift + n_bytes))[shift:]
    try:
        mapped = mmap.mmap(-1, shift + n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError from error
    if n_bytes >= HUGE_BYTES:
        with suppress(OSError):  # a kernel without huge pages
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
    return memoryview(mapped)[shift:]


def first_bytes(n_bytes: int, n_came: int) -> int:
    """Return what a body of `n_bytes` may hold when `n_came` of it have come."""
    return min(n_bytes, max(2 * n_came, PAGE_BYTES))


class Body:
    """A body that takes its memory as it comes.

    Attributes:
        memory: All that it may become.
        n_held: Bytes of `memory` that may be written to.
        n_bytes: Appended so far; whoever writes to `memory` keeps its own count.
    """

    def __init__(
        self,
        reservation: Reservation,
        *,
        most_bytes: int,
        n_held: int,
        beside_bytes: int = 0,
        head_bytes: int = 0,
        admission_s: float,
    ) -> None:
        """Begin with part of what the reservation holds.

        Args:
            reservation: Of this body, and of what is beside it.
            most_bytes: Most that it may become.
            n_held: What the reservation holds for it.
            beside_bytes: Part of the promise that is for something else.
            head_bytes: As `allocate` has it.
            admission_s: Longest wait for memory at a time.
        """
        self._reservation = reservation
        self._beside_bytes = beside_bytes
        self._admission_s = admission_s
        self.memory = allocate(most_bytes, head_bytes=head_bytes)
        self.n_held = n_held
        self.n_bytes = 0

    async def hold(self, n_bytes: int) -> None:
        """Wait until at least `n_bytes` are held, of which all but the last have come.

        What was promised is waited for, and anything beyond only tried.

        Raises:
            HttpError: 413 when there never will be so much, 503 when others hold it.
        """
        if n_bytes <= self.n_held:
            return
        more = first_bytes(len(self.memory), n_bytes) - self.n_held
        promised = min(more, max(0, self._reservation.missing_bytes - self._beside_bytes))
        await self._grow(promised)
        self.n_held += promised
        beyond = max(0, more - promised)
        if not self._reservation.try_grow(beyond):
            beyond = max(0, n_bytes - self.n_held)
            grow(self._reservation, beyond)
        self.n_held += beyond

    async def append(self, data: Bytes) -> None:
        """Add bytes.

        Raises:
            HttpError: 413 beyond its most, else as `hold`.
        """
        end = self.n_bytes + len(data)
        if end > len(self.memory):
            raise too_large(len(self.memory))
        await self.hold(end)
        self.memory[self.n_bytes : end] = data
        self.n_bytes = end

    async def hold_rest(self) -> None:
        """Wait for all that was promised: the body is there, and what is beside it comes.

        Raises:
            HttpError: 503, there is no memory.
        """
        await self._grow(self._reservation.missing_bytes)

    async def _grow(self, n_bytes: int) -> None:
        await _within(self._admission_s, self._reservation.grow(n_bytes))


def too_large(limit_bytes: int) -> HttpError:
    """Return the error that says what the limit is."""
    return HttpError(413, f"the request's body is larger than {format_size(limit_bytes)}")


async def _within(admission_s: float, waiting: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(admission_s):
            return await waiting
    except TimeoutError as error:
        raise _no_memory() from error


def _no_memory() -> HttpError:
    return HttpError(503, "the server's memory is in use by other requests", headers=(RETRY_AFTER,))
