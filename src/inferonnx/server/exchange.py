"""One request and its answer, as a handler sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inferonnx.server.bodies import FIRST_BYTES, GrowingBody, allocate, reserve, too_large
from inferonnx.server.codings import Inflater, request_coding
from inferonnx.server.messages import HttpError
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from inferonnx.server.connection import Connection
    from inferonnx.server.incoming import Incoming
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.messages import ExchangeFigures, Head
    from inferonnx.server.ports import Ledger, Reservation


class Exchange:
    """A request under way.

    Attributes:
        head: The request without its body.
        figures: Sizes and times so far.
        reservation: Memory that is reserved; None before. Released after the reply.
    """

    def __init__(
        self,
        head: Head,
        incoming: Incoming,
        connection: Connection,
        *,
        limits: HttpLimits,
        figures: ExchangeFigures,
    ) -> None:
        """Begin when the head is read."""
        self.head = head
        self.figures = figures
        self.reservation: Reservation | None = None
        self._incoming = incoming
        self._connection = connection
        self._limits = limits

    @property
    def content_length(self) -> int | None:
        """Bytes of the body as it is sent; None when that shows at its end."""
        return self._incoming.length

    @property
    def gone(self) -> asyncio.Event:
        """Set when the client has left: what it asked for need not be computed.

        It can't be seen of a client that has sent ahead more than is taken.
        """
        return self._connection.on_end()

    async def read_body(
        self, ledger: Ledger, *, limit_bytes: int | None = None, beside_bytes: int = 0
    ) -> memoryview:
        """Return the body, decoded if it was compressed.

        Its memory is reserved before it is read, and not before its first byte has come:
        who announces a body and sends nothing holds none. The reservation is released when
        the reply is sent; a handler that is done with the body sooner may do it.

        Args:
            ledger: Whose memory it is.
            limit_bytes: Most that the body may have, encoded and decoded; the
                connection's limit where it is not given.
            beside_bytes: What the handler will hold for this request beside the body.

        Raises:
            HttpError: 400, 408, 413, 501 or 503; the handler lets it pass.
            ClientGoneError: The client left.
        """
        limit = self._limits.body_bytes if limit_bytes is None else limit_bytes
        coding = request_coding(self.head.headers.get("content-encoding", ""))
        length = self._incoming.length
        if length is not None and length > limit:
            raise too_large(limit)
        pace = self._incoming.pace
        pace.total_s = self._limits.body_s
        await self._incoming.begun()
        if coding or length is None:
            reservation = await self.reserve(ledger, FIRST_BYTES + beside_bytes)
            pace.begin_again(self._limits.stall_s)
            body = await self._read_into(GrowingBody(reservation, limit_bytes=limit), coding, limit)
        else:
            # Slower than this it would not end in time either, and would only hold memory that
            # others wait for: who announces much and sends little is told at once.
            pace.hasten(length / self._limits.body_s)
            await self.reserve(ledger, length + beside_bytes)
            pace.begin_again(self._limits.stall_s)
            body = allocate(length)
            await self._incoming.fill(body)
        self._note_received()
        return body

    async def reserve(self, ledger: Ledger, n_bytes: int) -> Reservation:
        """Wait for memory that the handler will hold; released after the reply.

        A handler reserves once, by this or by `read_body`.

        Raises:
            HttpError: 413 when there never will be so much, 503 when it takes too long.
        """
        if self.reservation is not None:
            raise RuntimeError("a body is read once")
        self.reservation = await reserve(ledger, n_bytes, admission_s=self._limits.admission_s)
        return self.reservation

    async def chunks(self, *, limit_bytes: int | None = None) -> AsyncGenerator[memoryview, None]:
        """Give the body as it comes, 64 KiB at most at a time; nothing is held.

        Each view is good until the next one is asked for. A body is read once, by this
        or by `read_body`. It may come in any number of chunks: who may send one without
        end may as well send small ones.

        Raises:
            HttpError: 400, 408 or 413, or 501 when it is compressed.
            ClientGoneError: The client left.
        """
        limit = self._limits.upload_bytes if limit_bytes is None else limit_bytes
        if request_coding(self.head.headers.get("content-encoding", "")):
            raise HttpError(501, "a compressed body can't be streamed")
        if self._incoming.length is not None and self._incoming.length > limit:
            raise too_large(limit)
        async for view in self._incoming.stream(limit):
            yield view
        self._note_received()

    def release(self) -> None:
        """Give the reserved memory back; again does nothing."""
        if self.reservation is not None:
            self.reservation.release()

    async def _read_into(self, body: GrowingBody, coding: str, limit: int) -> memoryview:
        if not coding:
            async for view in self._incoming.stream(limit, n_chunks=self._limits.n_chunks):
                body.append(view)
            return body.finish()
        inflater = Inflater()
        async for view in self._incoming.stream(limit, n_chunks=self._limits.n_chunks):
            for piece in inflater.inflate(view):
                if body.n_bytes + len(piece) > limit:
                    raise HttpError(400, f"the body inflates to more than {format_size(limit)}")
                body.append(piece)
                await asyncio.sleep(0)  # a bomb must not hold up the others
        inflater.finish()
        return body.finish()

    def _note_received(self) -> None:
        self.figures.received_s = asyncio.get_running_loop().time()
