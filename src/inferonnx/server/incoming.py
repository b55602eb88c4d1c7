"""A request's body as it comes: framing, pace, and nothing of what it means.

A body of known length is counted here and decrypted straight into its place: h11
would copy each byte three times. Chunks go through h11.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import h11

from inferonnx.server.bodies import allocate, too_large
from inferonnx.server.connection import ClientGoneError
from inferonnx.server.heads import END
from inferonnx.server.limits import RECEIVE_BYTES
from inferonnx.server.messages import HttpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from inferonnx.server.connection import Connection
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.messages import Head

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Pace:
    """How long a client may still keep us waiting: a start, and time for what it moved.

    Only time that is spent waiting for the client counts.

    Attributes:
        total_s: Longest in all, however much moves.
    """

    __slots__ = ("_grace_s", "_rate", "_waited_s", "n_bytes", "total_s")

    def __init__(self, limits: HttpLimits, *, grace_s: float | None = None) -> None:
        """Begin with nothing moved, by default with the start that a body has."""
        self._grace_s = limits.grace_s if grace_s is None else grace_s
        self._rate: float = limits.bytes_per_s
        self._waited_s = 0.0
        self.n_bytes = 0
        self.total_s = float("inf")

    @property
    def left_s(self) -> float:
        """Time until patience ends."""
        earned = self._grace_s + self.n_bytes / self._rate
        return max(0.0, min(earned, self.total_s) - self._waited_s)

    def begin_again(self, grace_s: float) -> None:
        """Give so much time from now on, besides that for what moves."""
        self._grace_s = grace_s + self._waited_s - self.n_bytes / self._rate

    def hasten(self, bytes_per_s: float) -> None:
        """Expect at least so much."""
        self._rate = max(self._rate, bytes_per_s)

    def note(self, n_bytes: int, waited_s: float) -> None:
        """Count what moved, and the wait for it."""
        self.n_bytes += n_bytes
        self._waited_s += waited_s


class Incoming:
    """The body of one request.

    Attributes:
        length: Bytes by Content-Length, 0 without; None when it comes in chunks.
        pace: The client's; `pace.n_bytes` is what came so far.
    """

    def __init__(
        self, head: Head, state: h11.Connection, connection: Connection, limits: HttpLimits
    ) -> None:
        """Begin where the head ended."""
        is_chunked = "transfer-encoding" in head.headers
        self.length = None if is_chunked else int(head.headers.get("content-length", "0"))
        self.pace = Pace(limits)
        self._state = state
        self._connection = connection
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._left = self.length
        expects = head.headers.get("expect", "").lower() == "100-continue"
        self._waits_for_continue = expects and head.version == "1.1" and self.length != 0

    @property
    def is_read(self) -> bool:
        """Whether its end was read."""
        return self._left == 0

    @property
    def can_discard(self) -> bool:
        """Whether so little is left that reading it is cheaper than a new connection."""
        is_coming = not self._waits_for_continue
        return is_coming and self._left is not None and self._left <= self._limits.discard_bytes

    async def begun(self) -> None:
        """Wait until the first byte has come, if there is to be one; it is not read.

        Raises:
            HttpError: 408.
            ClientGoneError: The client left instead.
        """
        if self.is_read:
            return
        self._go_on()
        asked_s = self._loop.time()
        try:
            has_come = await self._connection.arrival(timeout_s=self.pace.left_s)
        except TimeoutError as error:
            raise _too_slow() from error
        if not has_come:
            raise ClientGoneError
        self.pace.note(0, self._loop.time() - asked_s)

    async def discard(self) -> None:
        """Read what is left, and forget it."""
        async for _ in self.stream(self._limits.upload_bytes):
            pass

    async def fill(self, memory: memoryview) -> None:
        """Read a body of known length into memory of that length."""
        at = 0
        while self._left:
            at += await self._receive(memory[at:])

    async def stream(
        self, limit_bytes: int, *, n_chunks: int | None = None
    ) -> AsyncIterator[memoryview]:
        """Give the body as it comes; each view is good until the next.

        Args:
            limit_bytes: Most that it may have.
            n_chunks: Most chunks that it may come in; None is no limit.

        Raises:
            HttpError: 400, 408 or 413.
            ClientGoneError: The client left before its end.
        """
        if self.is_read:
            return
        if self.length is None:
            async for view in self._chunks(limit_bytes, n_chunks):
                yield view
        else:
            memory = allocate(min(self._left or 0, RECEIVE_BYTES))
            while self._left:
                yield memory[: await self._receive(memory)]

    def _go_on(self) -> None:
        """Ask for the body, if the client waits to be asked."""
        if self._waits_for_continue:
            self._waits_for_continue = False
            self._connection.write((CONTINUE,))

    async def _receive(self, memory: memoryview) -> int:
        self._go_on()
        asked_s = self._loop.time()
        try:
            n = await self._connection.read_into(memory[: self._left], timeout_s=self.pace.left_s)
        except TimeoutError as error:
            raise _too_slow() from error
        if not n:
            raise ClientGoneError
        self.pace.note(n, self._loop.time() - asked_s)
        self._left = (self._left or 0) - n
        return n

    async def _chunks(self, limit_bytes: int, most_chunks: int | None) -> AsyncIterator[memoryview]:
        self._go_on()
        tail, n_chunks, n_bytes = b"", 0, 0
        while True:
            event = self._event()
            if event is h11.NEED_DATA:
                data = await self._more()
                self._state.receive_data(data)
                tail = tail[-len(END) :] + data
            elif isinstance(event, h11.Data):
                n_chunks += event.chunk_start
                n_bytes += len(event.data)
                if most_chunks is not None and n_chunks > most_chunks:
                    raise HttpError(
                        400,
                        f"Chunked request body exceeds maximum of {most_chunks} non-empty "
                        "chunks. Send fewer or larger HTTP chunks.",  # Triton's words
                        close=True,
                    )
                if n_bytes > limit_bytes:
                    raise too_large(limit_bytes)
                yield memoryview(event.data)
            else:
                self._end(tail)
                return

    def _event(self) -> object:
        try:
            return self._state.next_event()
        except h11.RemoteProtocolError as error:
            raise HttpError(400, "the chunks of the body are malformed", close=True) from error

    async def _more(self) -> bytes:
        asked_s = self._loop.time()
        try:
            data = await self._connection.read(timeout_s=self.pace.left_s)
        except TimeoutError as error:
            raise _too_slow() from error
        if not data:
            raise ClientGoneError
        self.pace.note(len(data), self._loop.time() - asked_s)
        return data

    def _end(self, tail: bytes) -> None:
        """Put back what follows the body; h11 takes a bare LF for the end of a line, we do not."""
        behind, _ = self._state.trailing_data
        if tail[: len(tail) - len(behind)][-len(END) :] != END:
            raise HttpError(400, "the end of the chunks is malformed", close=True)
        self._connection.unread(behind)
        self._left = 0


def _too_slow() -> HttpError:
    return HttpError(408, "the request's body came too slowly", close=True)
