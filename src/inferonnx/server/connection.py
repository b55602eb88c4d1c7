"""One TLS connection: bytes decrypted as they come, encrypted as they go.

asyncio's own TLS holds a 256 KiB buffer for each connection. Here all connections
share one receive buffer: asyncio fills it, and it is decrypted before the loop goes
on, straight into the memory of whoever waits (a request's body), or into a small
store of the connection. Rules that must hold:

- A store never grows beyond `ahead_bytes` and one read: then the transport pauses,
  and TCP holds the client back.
- Not more than `SEND_BYTES` wait for a slow client: `drain` between writes.
- The end of the stream is the client's close_notify or FIN. TLS clients do not
  half-close, in practice: whoever closes has left. What was asked for can still be
  written, in case.
- Nothing is read, written or awaited after the transport is lost, but for what is
  in the store already.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from inferonnx.server.limits import (
    AHEAD_BYTES,
    FEED_BYTES,
    LINGER_MOST_S,
    RECEIVE_BYTES,
    RECORD_BYTES,
)
from inferonnx.server.peer import ClientGoneError, Peer
from inferonnx.server.pieces import lots
from inferonnx.server.waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inferonnx.server.pieces import Bytes


class ReceiveBuffer:
    """The memory that receives for all connections of one event loop, one at a time."""

    __slots__ = ("view",)

    def __init__(self) -> None:
        """Allocate it."""
        self.view = memoryview(bytearray(RECEIVE_BYTES))


class Connection(asyncio.BufferedProtocol):
    """The server's end of a TLS connection; made by `server.listener`.

    One task may read while another writes; two readers or two writers may not be.

    Attributes:
        peer: Who is at the other end; its certificate is known after `handshake`.
        alpn: The protocol that was agreed on, or None where the client named none.
        ahead_bytes: Received of it without anybody waiting; whoever raises it counts that.
        idle_since: Loop time since which nothing is under way; None while something is.
        is_ended: The client closed its side, or was lost.
        is_closing: We have closed our side, and throw away what still comes.
        received_bytes: Decrypted so far.
        sent_bytes: Encrypted so far.
    """

    __slots__ = (
        "_ahead",
        "_error",
        "_filled",
        "_incoming",
        "_is_full",
        "_is_lost",
        "_is_open",
        "_is_paused",
        "_loop",
        "_on_end",
        "_outgoing",
        "_reader",
        "_receive",
        "_target",
        "_tls",
        "_transport",
        "_writer",
        "ahead_bytes",
        "alpn",
        "idle_since",
        "is_closing",
        "is_ended",
        "peer",
        "received_bytes",
        "sent_bytes",
    )

    _transport: asyncio.Transport

    def __init__(self, context: ssl.SSLContext, peer: Peer, receive: ReceiveBuffer) -> None:
        """Begin before the handshake."""
        self.peer = peer
        self.alpn: str | None = None
        self.ahead_bytes = AHEAD_BYTES
        self.idle_since: float | None = None
        self.is_ended = False
        self.received_bytes = 0
        self.sent_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._receive = receive.view
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ahead = bytearray()
        self._target: memoryview | None = None
        self._filled = 0
        self._reader = Waiter()
        self._writer = Waiter()
        self._on_end: asyncio.Event | None = None
        self._error: ssl.SSLError | None = None
        self._is_open = False  # the handshake is done
        self._is_paused = False
        self.is_closing = False
        self._is_full = False  # of what the system has not taken
        self._is_lost = True  # until there is a transport

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._is_lost = False
        self._transport.set_write_buffer_limits(high=0)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Offer of the shared buffer what is waited for, and little where nobody does."""
        del sizehint
        if self.is_closing:
            return self._receive
        n_wanted = 0 if self._target is None else len(self._target)
        return self._receive[: max(n_wanted, self.ahead_bytes)]

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt what came."""
        if self.is_closing:
            self._filled += nbytes
            return
        received = self._receive[:nbytes]
        for at in range(0, nbytes, FEED_BYTES):
            if self.is_ended:
                break  # a BIO that nobody empties would grow
            self._incoming.write(received[at : at + FEED_BYTES])
            self._step()
        self._flush()
        if len(self._ahead) >= self.ahead_bytes and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Note the end of the client's bytes; our side stays open for the reply."""
        self._end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits."""
        del exc
        self._is_lost = True
        self._end()
        self._writer.wake()

    def pause_writing(self) -> None:
        """Let `drain` wait."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Let `drain` go on."""
        self._is_full = False
        self._writer.wake()

    # What the server calls.

    @property
    def is_idle(self) -> bool:
        """Whether it can be closed without harm: no request of it has begun to come."""
        return self.idle_since is not None and not self._ahead

    async def handshake(self) -> None:
        """Wait until the client has proved that it speaks TLS, and who it is.

        Raises:
            ssl.SSLError: It does not, or was refused; it has been told by an alert.
            ClientGoneError: It left.
        """
        while not self._is_open:
            if self._error is not None:
                raise self._error
            if self.is_ended:
                raise ClientGoneError
            await self._reader.wait(None)

    async def read(self, *, timeout_s: float | None = None) -> bytes:
        """Return what the client sent, as soon as there is something; b"" at its end.

        Raises:
            TimeoutError: Nothing came in time.
        """
        if not self._ahead and not self.is_ended:
            await self._reader.wait(timeout_s)
        data = bytes(self._ahead)
        self._taken(len(data))
        return data

    async def arrival(self, *, timeout_s: float | None = None) -> int:
        """Wait until there is something to read, and leave it; return how much there is.

        Raises:
            TimeoutError: Nothing came in time.
        """
        if not self._ahead and not self.is_ended:
            await self._reader.wait(timeout_s)
        return len(self._ahead)

    async def read_into(self, view: memoryview, *, timeout_s: float | None = None) -> int:
        """Fill the beginning of `view`, as `read` does; return how much was filled.

        Args:
            view: Flat writable bytes, not empty; decrypted into without a copy.
            timeout_s: Longest wait for the first byte.

        Raises:
            TimeoutError: Nothing came in time; the connection can't be used further.
        """
        if self._ahead:
            n = min(len(view), len(self._ahead))
            view[:n] = memoryview(self._ahead)[:n]
            self._taken(n)
            return n
        if self.is_ended:
            return 0
        self._target, self._filled = view, 0
        try:
            await self._reader.wait(timeout_s)
            return self._filled
        finally:
            self._target = None

    def interrupt(self) -> None:
        """Let a `read` that waits return b"" now, though the client has not left."""
        self._reader.wake()

    def unread(self, data: bytes | bytearray) -> None:
        """Put back what was read too much; the next `read` returns it first."""
        self._ahead[:0] = data

    def write(self, pieces: Iterable[Bytes]) -> None:
        """Encrypt and send; call `drain` before the next `SEND_BYTES`.

        Raises:
            ClientGoneError: The connection is lost.
        """
        # A transport that failed calls `connection_lost` in the loop's next round only.
        if self._is_lost or self._error is not None or self._transport.is_closing():
            raise ClientGoneError
        encrypted = []
        try:
            for lot in lots(pieces, RECORD_BYTES):
                record = lot[0] if len(lot) == 1 else b"".join(lot)
                self._tls.write(record)
                self.sent_bytes += len(record)
                encrypted.append(self._outgoing.read())
        except ssl.SSLError as error:
            raise ClientGoneError from error
        # Not `writelines`: in Python 3.12 and 3.13 it never says that the client is slow
        # (CVE-2024-12254).
        self._transport.write(b"".join(encrypted))

    async def drain(self, *, timeout_s: float | None = None) -> None:
        """Wait until the system has taken all that was written.

        Raises:
            ClientGoneError: The connection is lost.
            TimeoutError: The client does not read.
        """
        if self._is_full and not self._is_lost:
            await self._writer.wait(timeout_s)
        if self._is_lost:
            raise ClientGoneError

    def on_end(self) -> asyncio.Event:
        """Return what is set when the client has left."""
        if self._on_end is None:
            self._on_end = asyncio.Event()
            if self.is_ended:
                self._on_end.set()
        return self._on_end

    async def close(self, *, linger_s: float = 0) -> None:
        """Say goodbye, wait for the client to do so, and close.

        Args:
            linger_s: Longest wait for the client, which may still be sending: its bytes
                are thrown away, and while there are many of them, it goes on. A socket
                that is closed before they have been read resets the connection, and
                the client may lose our last reply.
        """
        if not self._is_lost and not self.is_closing:
            self.is_closing = True
            self.idle_since = self._loop.time()
            self._target = None
            self._ahead = bytearray()
            self._say_goodbye()
            if linger_s > 0:
                await self._linger(linger_s)
        self.abort()

    def abort(self) -> None:
        """Close at once; what the system has not taken yet is lost."""
        if not self._is_lost:
            self._transport.abort()

    # Inside.

    def _step(self) -> None:
        """Go on with the handshake, or decrypt."""
        try:
            if not self._is_open:
                self._tls.do_handshake()
                self._opened()
            self._decrypt()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._error = error  # the alert waits in the outgoing BIO
            self._end()

    def _opened(self) -> None:
        self._is_open = True
        self.alpn = self._tls.selected_alpn_protocol()
        certificate = self._tls.getpeercert(binary_form=True)
        if certificate is not None:
            self.peer = Peer(
                address=self.peer.address, port=self.peer.port, certificate_der=certificate
            )
        self._reader.wake()

    def _decrypt(self) -> None:
        """Decrypt until more is needed (SSLWantReadError) or the client closes."""
        while True:
            if self._target is not None and self._filled < len(self._target):
                # typeshed says bytes, but with memory to fill it is their number.
                n = cast("int", self._tls.read(RECEIVE_BYTES, self._target[self._filled :]))
                self._filled += n
            else:
                data = self._tls.read(AHEAD_BYTES)
                n = len(data)
                self._ahead += data
            if n == 0:
                self._end()
                return
            self.received_bytes += n
            self._reader.wake()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._is_lost:
            self._transport.write(self._outgoing.read())

    def _end(self) -> None:
        self.is_ended = True
        if self._on_end is not None:
            self._on_end.set()
        self._reader.wake()

    def _taken(self, n_bytes: int) -> None:
        """Forget the first bytes of the store, and receive again if it is low."""
        if n_bytes == len(self._ahead):
            self._ahead = bytearray()  # clear() would keep the memory
        else:
            del self._ahead[:n_bytes]
        if self._is_paused and len(self._ahead) < AHEAD_BYTES and not self._is_lost:
            self._is_paused = False
            self._transport.resume_reading()

    def _say_goodbye(self) -> None:
        if self._is_open and self._error is None:
            with suppress(ssl.SSLError):  # it waits for the client's own; ours has been made
                self._tls.unwrap()
        self._flush()

    async def _linger(self, linger_s: float) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()
        self._transport.write_eof()
        end_s = self._loop.time() + LINGER_MOST_S
        while not self.is_ended and self._loop.time() < end_s:
            self._filled = 0  # now counts what is thrown away
            with suppress(TimeoutError):
                await self._reader.wait(linger_s)
            if self._filled < RECEIVE_BYTES:
                return
