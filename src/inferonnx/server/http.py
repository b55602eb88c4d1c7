"""HTTP/1.1 on a connection: one request after the other, each answered before the next.

What a client may send is checked in `heads` and `incoming`; what it gets is made by
a handler. For each request:

1. Wait for its first byte; meanwhile the connection is idle and may be closed.
2. Read its head, within its deadline.
3. Let the handler answer; it may do so before it has read the body.
4. Send the reply, at the client's pace.
5. Read what is left of the body if that is little, else end the connection.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import h11

from inferonnx.server.exchange import Exchange
from inferonnx.server.heads import END, check_partial, parse_head
from inferonnx.server.incoming import Incoming
from inferonnx.server.messages import ExchangeFigures, HttpError, Reply, error_reply
from inferonnx.server.observer import Observer
from inferonnx.server.outgoing import send_reply
from inferonnx.server.peer import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inferonnx.server.connection import Connection
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.messages import Head

    Handler = Callable[[Exchange], Awaitable[Reply]]


class HttpService:
    """Speaks HTTP/1.1 on connections; a `server.listener.Service`."""

    def __init__(
        self,
        handler: Handler,
        *,
        limits: HttpLimits,
        linger_s: float,
        observer: Observer | None = None,
    ) -> None:
        """Serve with `handler`.

        Args:
            handler: Answers; called for each request, in its connection's own task.
            limits: Of requests.
            linger_s: How long a connection waits for the client's close after ours.
            observer: Is told of exchanges and of bugs.
        """
        self._handler = handler
        self._limits = limits
        self._linger_s = linger_s
        self._observer = observer or Observer()
        self._is_draining = False
        self._n_exchanges = 0

    def drain(self) -> None:
        """From now on, end each connection with its next reply."""
        self._is_draining = True

    async def serve(self, connection: Connection) -> None:
        """Answer requests until either side is done; then close.

        Raises:
            ClientGoneError: The client left in the middle.
        """
        while await self._serve_one(connection):
            pass
        await connection.close(linger_s=self._linger_s)

    async def _serve_one(self, connection: Connection) -> bool:
        """Answer a request; tell whether there may be another."""
        first = await self._first_bytes(connection)
        if not first:
            return False
        self._n_exchanges += 1
        figures = ExchangeFigures(number=self._n_exchanges, begun_s=_now())
        head = None
        try:
            head, state = await self._read_head(connection, first)
            figures.headed_s = _now()
            return await self._answer(connection, head, state, figures)
        except HttpError as error:  # of the head; those of a handler are answered there
            state = h11.Connection(h11.SERVER)
            await self._send(connection, error.reply(), None, state, figures, is_last=True)
            return False
        finally:
            self._observer.answered(connection.peer, head, figures)

    async def _first_bytes(self, connection: Connection) -> bytes:
        """Return the beginning of the next request, or b"" when there is none."""
        if self._is_draining:
            return b""
        connection.idle_since = _now()
        try:
            return await connection.read(timeout_s=self._limits.idle_s)
        except TimeoutError:
            return b""
        finally:
            connection.idle_since = None

    async def _read_head(self, connection: Connection, first: bytes) -> tuple[Head, h11.Connection]:
        deadline_s = _now() + self._limits.head_s
        data, n_checked = bytearray(first), 0
        while True:
            if not n_checked and data[:2] == b"\r\n":
                del data[:2]  # some clients end a body with one too many (RFC 9112, 2.2)
            end = data.find(END, max(n_checked - len(END), 0))
            if (len(data) if end < 0 else end) > self._limits.head_bytes:
                raise HttpError(431, "the request's head is too large", close=True)
            if end >= 0:
                end += len(END)
                connection.unread(data[end:])
                return parse_head(bytes(data[:end]), peer=connection.peer, limits=self._limits)
            check_partial(data, n_checked)
            n_checked = len(data)
            data += await _more_of_head(connection, deadline_s)

    async def _answer(
        self, connection: Connection, head: Head, state: h11.Connection, figures: ExchangeFigures
    ) -> bool:
        incoming = Incoming(head, connection, self._limits)
        exchange = Exchange(head, incoming, connection, limits=self._limits, figures=figures)
        try:
            reply = await self._reply(exchange)
            figures.replied_s = _now()
            is_last = (
                reply.close
                or self._is_draining
                or not _keeps_alive(head)
                or not (incoming.is_read or incoming.can_discard)
            )
            await self._send(connection, reply, head, state, figures, is_last=is_last)
            if not is_last:
                await _discard(incoming)
            return not is_last
        finally:
            figures.n_received = incoming.pace.n_bytes
            exchange.release()

    async def _reply(self, exchange: Exchange) -> Reply:
        """Return what the handler says, or what its error means."""
        expectation = exchange.head.headers.get("expect", "100-continue")
        if expectation.lower() != "100-continue" and exchange.head.version == "1.1":
            return error_reply(417, "the only expectation that is met is 100-continue", close=True)
        try:
            return await self._handler(exchange)
        except HttpError as error:
            return error.reply()
        except ClientGoneError:
            raise
        except Exception as error:
            # What went wrong may name what must not leave: the client gets a reference.
            reference = os.urandom(6).hex()
            self._observer.failed(reference, error)
            return error_reply(500, f"the server failed; its log has the reference {reference}")

    async def _send(
        self,
        connection: Connection,
        reply: Reply,
        head: Head | None,
        state: h11.Connection,
        figures: ExchangeFigures,
        *,
        is_last: bool,
    ) -> None:
        figures.status = reply.status
        figures.n_sent = await send_reply(
            connection, reply, head=head, state=state, is_last=is_last, limits=self._limits
        )
        figures.sent_s = _now()


async def _more_of_head(connection: Connection, deadline_s: float) -> bytes:
    try:
        data = await connection.read(timeout_s=max(0, deadline_s - _now()))
    except TimeoutError as error:
        raise HttpError(408, "the request's head came too slowly", close=True) from error
    if not data:
        raise ClientGoneError
    return data


async def _discard(incoming: Incoming) -> None:
    try:
        await incoming.discard()
    except HttpError as error:  # answered it is already
        raise ClientGoneError from error


def _keeps_alive(head: Head) -> bool:
    tokens = head.headers.get("connection", "").lower().split(",")
    return head.version == "1.1" and "close" not in map(str.strip, tokens)


def _now() -> float:
    return asyncio.get_running_loop().time()
