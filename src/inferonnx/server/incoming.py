"""A request's body as it comes: framing, pace, and nothing of what it means.

A body of known length is counted here and decrypted straight into its place: h11
would copy each byte three times. Chunks are read by `server.chunks`.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from inferonnx.server.bodies import allocate
from inferonnx.server.chunks import Chunks
from inferonnx.server.limits import RECEIVE_BYTES
from inferonnx.server.messages import HttpError
from inferonnx.server.peer import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from typing import TypeVar

    from inferonnx.server.connection import Connection
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.messages import Head

    T = TypeVar("T")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Pace:
    """How long a client may still keep us waiting: a start, and time for what it moved.

    Only time that is spent waiting for the client counts.

    Attributes:
        n_bytes: What has moved.
        total_s: Longest in all, however much moves.
        most_s: Longest at a time, however much has moved before.
    """

    __slots__ = ("_rate", "_saved_s", "_waited_s", "most_s", "n_bytes", "total_s")

    def __init__(
        self,
        limits: HttpLimits,
        *,
        grace_s: float | None = None,
        most_s: float = math.inf,
        total_s: float = math.inf,
    ) -> None:
        """Begin with nothing moved, by default with the start that a body has."""
        self._saved_s = limits.grace_s if grace_s is None else grace_s
        self._rate: float = limits.bytes_per_s
        self._waited_s = 0.0
        self.n_bytes = 0
        self.most_s, self.total_s = most_s, total_s

    @property
    def left_s(self) -> float:
        """Time until patience ends."""
        return max(0.0, min(self._saved_s, self.most_s, self.total_s - self._waited_s))

    def hasten(self, bytes_per_s: float) -> None:
        """Expect at least so much."""
        self._rate = max(self._rate, bytes_per_s)

    def note(self, n_bytes: int, waited_s: float) -> None:
        """Count what moved, and the wait for it."""
        self.n_bytes += n_bytes
        self._waited_s += waited_s
        self._saved_s = min(self._saved_s, self.most_s) - waited_s + n_bytes / self._rate


class Incoming:
    """The body of one request.

    Attributes:
        length: Bytes by Content-Length, 0 without; None when it comes in chunks.
        pace: The client's; `pace.n_bytes` is what came so far.
    """

    def __init__(self, head: Head, connection: Connection, limits: HttpLimits) -> None:
        """Begin where the head ended."""
        is_chunked = "transfer-encoding" in head.headers
        self.length = None if is_chunked else int(head.headers.get("content-length", "0"))
        self.pace = Pace(limits)
        self._connection = connection
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._left = self.length
        expects = head.headers.get("expect", "").lower() == "100-continue"
        self._waits_for_continue = expects and head.version == "1.1"

    @property
    def is_read(self) -> bool:
        """Whether its end was read."""
        return self._left == 0

    @property
    def can_discard(self) -> bool:
        """Whether so little is left that reading it is cheaper than a new connection."""
        is_coming = not self._waits_for_continue
        return is_coming and self._left is not None and self._left <= self._limits.discard_bytes

    async def begun(self) -> int:
        """Wait until the first byte has come, if there is to be one; tell how many there are.

        They are not read.

        Raises:
            HttpError: 408.
            ClientGoneError: The client left instead.
        """
        if self.is_read:
            return 0
        self._go_on()
        return await self._awaited(self._connection.arrival(timeout_s=self.pace.left_s))

    async def discard(self) -> None:
        """Read what is left of a body of known length, and forget it."""
        async for _ in self._rest():
            pass

    async def fill(self, memory: memoryview) -> None:
        """Read the next part of a body of known length, as long as `memory`."""
        at = 0
        while at < len(memory):
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
            async for view in self._rest():
                yield view

    def _go_on(self) -> None:
        """Ask for the body, if the client waits to be asked."""
        if self._waits_for_continue:
            self._waits_for_continue = False
            self._connection.write((CONTINUE,))

    async def _receive(self, memory: memoryview) -> int:
        self._go_on()
        place, timeout_s = memory[: self._left], self.pace.left_s
        n = await self._awaited(self._connection.read_into(place, timeout_s=timeout_s))
        self.pace.note(n, 0)
        self._left = (self._left or 0) - n
        return n

    async def _rest(self) -> AsyncIterator[memoryview]:
        memory = allocate(min(self._left or 0, RECEIVE_BYTES))
        while self._left:
            yield memory[: await self._receive(memory)]

    async def _chunks(self, limit_bytes: int, most_chunks: int | None) -> AsyncIterator[memoryview]:
        self._go_on()
        chunks = Chunks(
            limit_bytes=limit_bytes, n_chunks=most_chunks, line_bytes=self._limits.head_bytes
        )
        while not chunks.is_over:
            data = await self._awaited(self._connection.read(timeout_s=self.pace.left_s))
            self.pace.note(len(data), 0)
            for part in chunks.parts(data):
                yield part
        self._connection.unread(chunks.behind)
        self._left = 0

    async def _awaited(self, coming: Awaitable[T]) -> T:
        """Return what comes of the client, whose wait for it counts; nothing is its end."""
        asked_s = self._loop.time()
        try:
            came = await coming
        except TimeoutError as error:
            raise HttpError(408, "the request's body came too slowly", close=True) from error
        if not came:
            raise ClientGoneError
        self.pace.note(0, self._loop.time() - asked_s)
        return came
