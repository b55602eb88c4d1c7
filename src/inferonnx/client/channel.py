"""TLS without a socket: bytes that come, bytes that go, and what they mean.

What waits for the network is a generator of `Flow`s; whoever runs it, blocking or in
asyncio, moves the bytes. So handshake, verification, exchange and all their errors
exist once.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from inferonnx.client.tls import explain, is_cut, server_facts
from inferonnx.errors import UnavailableError

if TYPE_CHECKING:
    from inferonnx.client.address import ServerAddress
    from inferonnx.client.attestation import ServerFacts

READ_BYTES = 256 << 10
"""Most that is taken from the system at once; a MemoryBIO keeps what it once held."""


class Flow(NamedTuple):
    """What the network is to do.

    Attributes:
        data: To be sent, after all that was to be sent before.
        must_receive: Come back only when something was received. Otherwise come back
            when all is sent, or something was received.
    """

    data: bytes
    must_receive: bool


T = TypeVar("T")
Flows: TypeAlias = Generator[Flow, bytes | None, T]
"""Yields what the network is to do; gets what was received, b"" for nothing, None at the end."""


class ConnectionLostError(UnavailableError):
    """The connection ended before the answer was complete.

    Attributes:
        is_answered: Part of an answer had come. Otherwise nobody knows whether the
            server got the request.
    """

    code = "connection"

    def __init__(self, message: str, *, is_answered: bool = False, hint: str = "") -> None:
        """Keep beside the sentence how far it went."""
        super().__init__(message, hint=hint)
        self.is_answered = is_answered


class Channel:
    """The client's end of one TLS connection.

    Attributes:
        address: Who is at the other end.
        is_ended: Nothing more will come.
        is_cut: It ended without TLS saying so: anybody on the way may have cut it.
    """

    def __init__(self, context: ssl.SSLContext, address: ServerAddress) -> None:
        """Begin before the handshake."""
        self.address = address
        self.is_ended = False
        self.is_cut = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=address.host)

    @property
    def n_outgoing(self) -> int:
        """Bytes that wait for a flow."""
        return self._outgoing.pending

    def handshake(self) -> Flows[ServerFacts]:
        """Shake hands, and return what is known about the server then.

        Raises:
            ServerIdentityError: Its certificate is not trusted, or not for this name.
            CertificateError: Its key can't be bound to.
            UnavailableError: It does not speak TLS as we do.
            ConnectionLostError: It left.
        """
        while True:
            try:
                self._tls.do_handshake()
                return server_facts(self._tls, self.address)
            except ssl.SSLWantReadError:
                self._feed((yield Flow(self._outgoing.read(), must_receive=True)))
            except ssl.SSLError as error:
                if is_cut(error):
                    raise self.lost() from error
                raise explain(error, self.address) from error

    def write(self, data: memoryview) -> None:
        """Encrypt `data`; the next flow takes it along.

        Raises:
            UnavailableError: TLS is broken.
        """
        while data:
            try:
                data = data[self._tls.write(data) :]
            except ssl.SSLError as error:
                raise explain(error, self.address) from error

    def flow(self, *, must_receive: bool) -> Flows[bytes]:
        """Send what waits; return what has come, decrypted. Empty when there is nothing.

        With `must_receive` it is empty only at the end of the connection.

        Raises:
            UnavailableError: TLS is broken, or the server ended it with an alert.
        """
        while True:
            self._feed((yield Flow(self._outgoing.read(), must_receive=must_receive)))
            data = self._decrypted()
            if data or self.is_ended or not must_receive:
                return data

    def outgoing(self) -> bytes:
        """Return what waits for a flow; whoever takes it sends it."""
        return self._outgoing.read()

    def lost(self, *, is_answered: bool = False) -> ConnectionLostError:
        """Return the error for a connection that ended too early."""
        return ConnectionLostError(
            f"{self.address.authority} closed the connection "
            f"{'in the middle of its answer' if is_answered else 'without an answer'}",
            is_answered=is_answered,
            hint="Is the server still running?",
        )

    def closing(self) -> bytes:
        """Return the last bytes to send: TLS's word that nothing more will come."""
        with suppress(ssl.SSLError):  # it waits for the server's word, which nobody needs
            self._tls.unwrap()
        return self._outgoing.read()

    def _feed(self, data: bytes | None) -> None:
        if data is None:
            self._incoming.write_eof()
        else:
            self._incoming.write(data)

    def _decrypted(self) -> bytes:
        pieces = []
        try:
            while data := self._tls.read(READ_BYTES):
                pieces.append(data)
            self.is_ended = True  # b"" is the server's close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if is_cut(error):
                self.is_ended = self.is_cut = True
            elif not pieces:
                raise explain(error, self.address) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
