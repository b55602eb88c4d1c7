"""HTTP/1.1 on a channel: one request and its answer, without a socket.

The answer may come before the whole request is sent (a refusal, mostly): then the
rest is kept back and the connection is good for nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

from inferonnx.client.messages import Response
from inferonnx.oip import BadReplyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inferonnx.client.channel import Channel, Flows
    from inferonnx.client.messages import Bytes, Request
    from inferonnx.crypto import Secret

SLICE_BYTES = 128 << 10
"""What is encrypted before it is sent: eight records of TLS."""

SMALL_BYTES = 4 << 10
"""Pieces below this are joined: each would become a record of TLS."""

MAX_HEAD_BYTES = 64 << 10
"""Head of a reply, far above any real one."""

USER_AGENT = "inferonnx"
"""How we call ourselves; which release it is, is nobody's business."""

MAX_INTERIM = 16
"""Replies like 100 Continue that may come before the real one."""


class Exchange:
    """One request and its answer.

    Attributes:
        is_reusable: Another exchange may follow on the same channel; known at the end.
    """

    def __init__(self, channel: Channel, request: Request, *, key_hash: bytes) -> None:
        """Prepare; nothing is sent yet.

        Args:
            channel: After its handshake, its server verified.
            request: What to ask.
            key_hash: Of the server at the other end of the channel.
        """
        self.is_reusable = False
        self._channel = channel
        self._request = request
        self._key_hash = key_hash
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._n_interim = 0
        self._has_begun = False
        self._is_done = False

    def run(self, token: Secret | None) -> Flows[Response]:
        """Send the request and return its answer, whatever its status.

        Args:
            token: Sent along where the request wants it.

        Raises:
            ConnectionLostError: The server left.
            BadReplyError: The answer is no HTTP, or too long.
            UnavailableError: TLS is broken.
        """
        is_sent = yield from self._send(token)
        while not self._is_done:
            self._receive((yield from self._channel.flow(must_receive=True)))
        head = self._head
        if head is None:
            raise self._channel.lost(is_answered=True)
        self.is_reusable = (
            is_sent
            and self._state.our_state is h11.DONE
            and self._state.their_state is h11.DONE
            and self._state.trailing_data == (b"", False)
            and not self._channel.is_ended
        )
        return Response(
            status=head.status_code,
            headers=_joined(head.headers),
            body=self._body,
            key_hash=self._key_hash,
        )

    def _send(self, token: Secret | None) -> Flows[bool]:
        """Send the request; False when an answer came before all of it was sent."""
        for data in _sliced(self._encoded(token)):
            self._channel.write(data)
            if self._channel.n_outgoing < SLICE_BYTES:
                continue
            received = yield from self._channel.flow(must_receive=False)
            if received or self._channel.is_ended:
                self._receive(received)
                if self._head is not None:
                    return False
        return True

    def _encoded(self, token: Secret | None) -> Iterator[Bytes]:
        """Yield the request, the body's pieces as they are."""
        pieces = self._request.pieces
        state = self._state
        yield from state.send_with_data_passthrough(self._head_event(token)) or ()
        for piece in pieces or ():
            # h11 wants bytes to count them, and hands on what it was given.
            yield from state.send_with_data_passthrough(h11.Data(data=piece)) or ()  # type: ignore[arg-type]
        yield from state.send_with_data_passthrough(h11.EndOfMessage()) or ()

    def _head_event(self, token: Secret | None) -> h11.Request:
        request, address = self._request, self._channel.address
        headers = [("Host", address.authority), ("User-Agent", USER_AGENT), *request.headers]
        if request.pieces is not None:
            headers.append(("Content-Length", str(sum(map(len, request.pieces)))))
        encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
        if token is not None and request.wants_token:
            encoded.append((b"Authorization", b"Bearer " + token.reveal()))
        return h11.Request(
            method=request.method, target=address.prefix + request.path, headers=encoded
        )

    def _receive(self, data: bytes) -> None:
        """Take what has come, and the end of the connection if it is one."""
        self._has_begun = self._has_begun or bool(data)
        try:
            if data:
                self._state.receive_data(data)
                self._take_all()
            if self._channel.is_ended and not self._is_done:
                self._state.receive_data(b"")
                self._take_all()
                if self._channel.is_cut:  # the body may have been longer, for all we know
                    raise self._channel.lost(is_answered=True)
        except h11.RemoteProtocolError as error:
            if self._channel.is_ended:
                raise self._channel.lost(is_answered=self._has_begun) from error
            raise BadReplyError(
                f"{self._channel.address.authority} answers, but not in HTTP/1.1",
                hint="Is it a server of InferONNX, and the right port?",
            ) from error

    def _take_all(self) -> None:
        while not self._is_done:
            event = self._state.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            self._take(event)

    def _take(self, event: object) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._n_interim += 1
            if self._n_interim > MAX_INTERIM:
                raise BadReplyError("the server never comes to its answer")
        elif isinstance(event, h11.Response):
            self._head = event
            self._check_length(event)
        elif isinstance(event, h11.Data):
            if len(self._body) + len(event.data) > self._request.max_reply_bytes:
                raise self._too_long()
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._is_done = True

    def _check_length(self, head: h11.Response) -> None:
        """Refuse a body that will be too long, or is in a coding that nobody asked for."""
        headers = _joined(head.headers)
        length = headers.get("content-length", "0")  # h11 has checked that it is a number
        if int(length) > self._request.max_reply_bytes and self._request.method != "HEAD":
            raise self._too_long()
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise BadReplyError("the server compressed its answer, which it was not asked for")

    def _too_long(self) -> BadReplyError:
        return BadReplyError(
            f"the answer of {self._channel.address.authority} has more than "
            f"{self._request.max_reply_bytes} bytes"
        )


def _sliced(pieces: Iterable[Bytes]) -> Iterator[memoryview]:
    """Yield what to encrypt at a time: small pieces joined, large ones in slices."""
    small = bytearray()
    for piece in pieces:
        if len(piece) < SMALL_BYTES:
            small += piece
            continue
        if small:
            yield memoryview(small)
            small = bytearray()
        view = memoryview(piece)
        for start in range(0, len(view), SLICE_BYTES):
            yield view[start : start + SLICE_BYTES]
    if small:
        yield memoryview(small)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; those that come several times are joined."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
