"""Memory for request bodies, counted before it is used.

A body of known length has one buffer of just that size. Others grow: each time the
buffer is full there is one of twice the size, and what is in it moves. The memory
is mapped on its own, so that it goes back to the system with the last view of it,
whatever else was allocated meanwhile.
"""

from __future__ import annotations

import asyncio
import mmap
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.server.messages import HttpError
from inferonnx.sizes import KIB, format_size

if TYPE_CHECKING:
    from inferonnx.server.ports import Ledger, Reservation

MAPPED_BYTES = 64 * KIB
"""From here on a buffer is a mapping of its own: less would waste pages and system calls."""

FIRST_BYTES = 64 * KIB
"""What a body of unknown length begins with."""

RETRY_AFTER = ("Retry-After", "1")
"""Sent with 503: requests end within seconds."""


async def reserve(ledger: Ledger, n_bytes: int, *, admission_s: float) -> Reservation:
    """Wait for memory.

    Raises:
        HttpError: 413 when there never will be so much, 503 when it takes too long.
    """
    try:
        async with asyncio.timeout(admission_s):
            return await ledger.reserve(n_bytes)
    except UsageError as error:
        raise HttpError(413, error.message) from error
    except TimeoutError as error:
        raise HttpError(
            503, "the server's memory is in use by other requests", headers=(RETRY_AFTER,)
        ) from error


def allocate(n_bytes: int) -> memoryview:
    """Return zeroed memory of its own, at least one byte."""
    if n_bytes < MAPPED_BYTES:
        return memoryview(bytearray(max(n_bytes, 1)))[:n_bytes]
    return memoryview(mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class GrowingBody:
    """A body whose length shows at its end.

    Attributes:
        n_bytes: Appended so far.
    """

    def __init__(self, reservation: Reservation, *, limit_bytes: int) -> None:
        """Begin with `FIRST_BYTES`, which `reservation` holds beside whatever else.

        Args:
            reservation: Grows and shrinks with the buffer.
            limit_bytes: Most that the body may have.
        """
        self._reservation = reservation
        self._limit = limit_bytes
        self._memory = allocate(FIRST_BYTES)
        self.n_bytes = 0

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Add bytes.

        Raises:
            HttpError: 413 beyond the limit, 503 when there is no memory for more.
        """
        end = self.n_bytes + len(data)
        if end > self._limit:
            raise too_large(self._limit)
        if end > len(self._memory):
            self._grow(max(end, 2 * len(self._memory)))
        self._memory[self.n_bytes : end] = data
        self.n_bytes = end

    def finish(self) -> memoryview:
        """Return the body."""
        return self._memory[: self.n_bytes]

    def _grow(self, n_bytes: int) -> None:
        size = min(n_bytes, max(self._limit, FIRST_BYTES))
        if not self._reservation.try_grow(size):
            raise HttpError(
                503, "the server's memory is in use by other requests", headers=(RETRY_AFTER,)
            )
        grown = allocate(size)
        grown[: self.n_bytes] = self._memory[: self.n_bytes]
        freed = len(self._memory)
        self._memory = grown
        self._reservation.shrink(freed)


def too_large(limit_bytes: int) -> HttpError:
    """Return the error that says what the limit is."""
    return HttpError(413, f"the request's body is larger than {format_size(limit_bytes)}")
