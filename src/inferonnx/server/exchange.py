"""One request and its answer, as a handler sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inferonnx.server.bodies import FIRST_BYTES, Body, first_bytes, reserve, too_large
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
        self,
        ledger: Ledger,
        *,
        limit_bytes: int | None = None,
        beside_bytes: int = 0,
        head_bytes: int = 0,
    ) -> memoryview:
        """Return the body, decoded if it was compressed.

        Its memory is promised when its first byte has come, and held as it comes: who
        announces a body and sends little of it holds little. The reservation is released
        when the reply is sent; a handler that is done with the body sooner may do it.

        Args:
            ledger: Whose memory it is.
            limit_bytes: Most that the body may have, encoded and decoded; the
                connection's limit where it is not given.
            beside_bytes: What the handler will hold for this request beside the body.
            head_bytes: Of the body, after which tensors begin; `bodies.allocate` aligns them.

        Raises:
            HttpError: 400, 408, 413, 501 or 503; the handler lets it pass.
            ClientGoneError: The client left.
        """
        limit = self._limits.body_bytes if limit_bytes is None else limit_bytes
        coding = request_coding(self.head.headers.get("content-encoding", ""))
        self._check_length(limit)
        length = None if coding else self._incoming.length
        self._incoming.pace.most_s = self._limits.grace_s
        self._incoming.pace.total_s = self._limits.body_s
        n_came = await self._incoming.begun()
        most = limit if length is None else length
        promised = min(FIRST_BYTES, limit) if length is None else length
        n_held = first_bytes(promised, 1 if length is None else n_came)
        body = Body(
            await self.reserve(ledger, promised + beside_bytes, at_once=n_held),
            most_bytes=most,
            n_held=n_held,
            beside_bytes=beside_bytes,
            head_bytes=head_bytes,
            admission_s=self._limits.admission_s,
        )
        if length is None:
            await self._append(body, coding)
        else:
            await self._fill(body)
        await body.hold_rest()
        self._note_received()
        return body.memory if length is not None else body.memory[: body.n_bytes]

    async def reserve(
        self, ledger: Ledger, n_bytes: int, *, at_once: int | None = None
    ) -> Reservation:
        """Wait for memory that the handler will hold, by default for all of it.

        It is released after the reply. A handler reserves once, by this or by `read_body`.

        Raises:
            HttpError: 413 when there never will be so much, 503 when it takes too long.
        """
        if self.reservation is not None:
            raise RuntimeError("a body is read once")
        self.reservation = await reserve(
            ledger, n_bytes, at_once=at_once, admission_s=self._limits.admission_s
        )
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
        self._check_length(limit)
        async for view in self._incoming.stream(limit):
            yield view
        self._note_received()

    def release(self) -> None:
        """Give the reserved memory back; again does nothing."""
        if self.reservation is not None:
            self.reservation.release()

    def _check_length(self, limit_bytes: int) -> None:
        """Refuse a body by what it says of itself, before it is sent."""
        if self._incoming.length is not None and self._incoming.length > limit_bytes:
            raise too_large(limit_bytes)

    async def _fill(self, body: Body) -> None:
        """Read a body of known length."""
        length, at = len(body.memory), 0
        # Slower than this it would not end in time either, and would only hold memory that
        # others wait for: who announces much and sends little is told at once.
        self._incoming.pace.hasten(length / self._limits.body_s)
        while at < length:
            await body.hold(at + 1)
            await self._incoming.fill(body.memory[at : body.n_held])
            at = body.n_held

    async def _append(self, body: Body, coding: str) -> None:
        """Read a body whose length shows at its end."""
        limit, inflater = len(body.memory), Inflater() if coding else None
        async for view in self._incoming.stream(limit, n_chunks=self._limits.n_chunks):
            if inflater is None:
                await body.append(view)
                continue
            for piece in inflater.inflate(view):
                if body.n_bytes + len(piece) > limit:
                    raise HttpError(400, f"the body inflates to more than {format_size(limit)}")
                await body.append(piece)
                await asyncio.sleep(0)  # a bomb must not hold up the others
        if inflater is not None:
            inflater.finish()

    def _note_received(self) -> None:
        self.figures.received_s = asyncio.get_running_loop().time()
