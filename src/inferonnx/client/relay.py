"""The two ends of an exchange that passes through the proxy, and what may pass.

Headers that belong to one connection stay on it (RFC 9110, section 7.6.1). What frames
a body is kept, and written anew by h11.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import h11

from inferonnx.client.channel import READ_BYTES
from inferonnx.client.http import MAX_HEAD_BYTES, SLICE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection

    from inferonnx.client.nonblocking import NonblockingConnection
    from inferonnx.crypto import Secret

Event: TypeAlias = (
    h11.Request | h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage
)

IDLE_S = 120
"""How long a local connection may wait for its next request."""

HEAD_S = 30
"""How long a head may take from its first byte on."""

LINGER_S = 2
"""How long the rest of a request is read after an early answer, so that it is not lost."""

_OF_ONE_CONNECTION = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    }
)


_OF_THE_MESSAGE = frozenset({b"content-length", b"host", b"transfer-encoding"})
"""Never of one connection, though it is named so: without them the message is another."""


class LocalGoneError(Exception):
    """The local client has left; nobody waits for an answer."""


class RefusedError(Exception):
    """A request that is not handed on.

    Attributes:
        status: Of the answer.
    """

    def __init__(self, status: int, sentence: str) -> None:
        """Keep the status beside the sentence."""
        super().__init__(sentence)
        self.status = status


def check_head(request: h11.Request, names: Collection[str]) -> None:
    """Refuse what is not meant for this proxy.

    (1) The target is a path, and no tunnel. (2) `Host` is one of the proxy's names, where
    it has any. (3) No page of another origin has sent it.

    Raises:
        RefusedError: One of these does not hold.
    """
    if request.method == b"CONNECT" or not request.target.startswith(b"/"):  # (1)
        raise RefusedError(400, "the proxy takes requests for paths, and for nothing else")
    if not names:
        return  # a Unix socket: no browser reaches it
    headers: dict[bytes, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name, []).append(value.decode("latin-1").lower())
    host = headers.get(b"host", [])
    if len(host) != 1 or host[0] not in names:  # (2)
        raise RefusedError(421, "Host is not one of this proxy's names (--name adds one)")
    for origin in headers.get(b"origin", []):  # (3)
        if origin.removeprefix("http://") not in names:
            raise RefusedError(403, "the proxy takes no requests from pages of other origins")


def request_headers(
    request: h11.Request, *, authority: str, token: Secret | None
) -> list[tuple[bytes, bytes]]:
    """Return the headers that go to the server; the token where the client sends none."""
    kept = _passing(request)
    names = {name.lower() for name, _ in kept}
    if token is not None and b"authorization" not in names:
        kept.append((b"Authorization", b"Bearer " + token.reveal()))
    rest = [(name, value) for name, value in kept if name.lower() != b"host"]
    return [(b"Host", authority.encode("ascii")), *rest]


def answer_headers(
    answer: h11.Response | h11.InformationalResponse,
) -> list[tuple[bytes, bytes]]:
    """Return the headers that come back to the local client."""
    return _passing(answer)


def _passing(
    head: h11.Request | h11.Response | h11.InformationalResponse,
) -> list[tuple[bytes, bytes]]:
    """Return the headers that do not belong to their connection, written as they came."""
    named = {
        word.strip().lower()
        for name, value in head.headers
        if name == b"connection"
        for word in value.split(b",")
    }
    dropped = _OF_ONE_CONNECTION | (named - _OF_THE_MESSAGE)
    return [(raw, value) for raw, value in head.headers.raw_items() if raw.lower() not in dropped]


class Local:
    """The proxy's end of a local client's connection.

    Attributes:
        has_answered: Part of an answer to the request under way was sent.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin."""
        self.has_answered = False
        self._reader, self._writer = reader, writer
        self._state = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._is_read = False  # the request under way, to its end

    async def request(self) -> h11.Request | None:
        """Return the next request; None when there is none.

        Raises:
            RefusedError: What comes is no request, or does not come to its end.
        """
        has_begun = bool(self._state.trailing_data[0])
        try:
            async with asyncio.timeout(HEAD_S if has_begun else IDLE_S) as limit:
                while (event := self._state.next_event()) is h11.NEED_DATA:
                    data = await self._reader.read(READ_BYTES)
                    if not has_begun:
                        limit.reschedule(asyncio.get_running_loop().time() + HEAD_S)
                        has_begun = True
                    self._state.receive_data(data)
        except TimeoutError as error:
            if not has_begun:
                return None
            raise RefusedError(408, "the request's head did not come to its end") from error
        except h11.RemoteProtocolError as error:
            raise RefusedError(error.error_status_hint, "this is no HTTP/1.1 request") from error
        return event if isinstance(event, h11.Request) else None

    def expects_body(self, request: h11.Request) -> bool:
        """Tell whether a body comes with the request."""
        headers = dict(request.headers)
        return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers

    async def event(self) -> object:
        """Return what comes next of the request under way.

        Raises:
            LocalGoneError: The client has left.
        """
        if self._is_read:
            return h11.EndOfMessage()  # again, for another try
        while (event := self._state.next_event()) is h11.NEED_DATA:
            data = await self._reader.read(READ_BYTES)
            if not data:
                raise LocalGoneError
            self._state.receive_data(data)
        self._is_read = isinstance(event, h11.EndOfMessage)
        return event

    async def gone(self) -> None:
        """Wait until the client leaves; keep what it sends ahead, but not without end.

        Raises:
            LocalGoneError: It has left.
        """
        while True:
            if len(self._state.trailing_data[0]) > MAX_HEAD_BYTES:
                await asyncio.Event().wait()
            data = await self._reader.read(MAX_HEAD_BYTES)
            if not data:
                raise LocalGoneError
            self._state.receive_data(data)

    async def send(self, event: Event) -> None:
        """Send part of an answer, at the client's pace."""
        self.has_answered = self.has_answered or isinstance(event, h11.Response)
        data = self._state.send(event)
        if data:
            self._writer.write(data)
            await self._writer.drain()

    def begin_again(self) -> bool:
        """Prepare for the next request; False when there can't be one."""
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
            self.has_answered = self._is_read = False
            return True
        return False

    async def linger(self) -> None:
        """Read what is left of a request that was answered early, for a moment."""
        with suppress(OSError, TimeoutError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(READ_BYTES):
                    pass

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


class Upstream:
    """The proxy's end of a verified connection, for one exchange.

    Attributes:
        connection: Below it.
    """

    def __init__(self, connection: NonblockingConnection) -> None:
        """Begin on a connection on which nothing is under way."""
        self.connection = connection
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._has_begun = False

    @property
    def is_reusable(self) -> bool:
        """Whether another exchange may follow on the connection."""
        state = self._state
        return (
            state.our_state is h11.DONE
            and state.their_state is h11.DONE
            and state.trailing_data == (b"", False)
            and not self.connection.channel.is_ended
        )

    async def send(self, event: Event) -> None:
        """Send part of the request, at the server's pace."""
        view = memoryview(self._state.send(event) or b"")
        for start in range(0, len(view), SLICE_BYTES):
            await self.connection.send(view[start : start + SLICE_BYTES])

    async def event(self) -> object:
        """Return what comes next of the answer.

        Raises:
            ConnectionLostError: The server left before its end.
        """
        channel = self.connection.channel
        try:
            while (event := self._state.next_event()) is h11.NEED_DATA:
                data = await self.connection.run(channel.flow(must_receive=True))
                self._has_begun = self._has_begun or bool(data)
                if not data and channel.is_cut:
                    raise channel.lost(is_answered=self._has_begun)
                self._state.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise channel.lost(is_answered=self._has_begun) from error
        return event
