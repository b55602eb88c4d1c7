"""The proxy: plaintext HTTP/1.1 from this machine, verified TLS to the server.

For clients that can't verify what a server is. Every upstream connection is verified
by the policy before anything goes over it, and none takes a request when it was
verified longer ago than its greatest age. Heads are read and written by h11; bodies
pass through as they come, in both directions at once.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11

from inferonnx.client.channel import ConnectionLostError
from inferonnx.client.local import own_names
from inferonnx.client.nonblocking import NonblockingTransport
from inferonnx.client.relay import (
    Local,
    LocalGoneError,
    RefusedError,
    Upstream,
    answer_headers,
    check_head,
    request_headers,
)
from inferonnx.errors import DeadlineError, InferonnxError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from inferonnx.client.attestation import ServerFacts
    from inferonnx.client.connections import Target
    from inferonnx.client.relay import Event

MAX_AGE_S = 600.0
"""Greatest age of a verification, by default: what was attested may have been changed since."""

MAX_CONNECTIONS = 256
"""Of local clients; each may take a connection to the server."""

DRAIN_S = 30
"""How long requests under way may take when the proxy ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """What the operator decides.

    Attributes:
        max_age_s: No request goes over a connection that was verified longer ago.
        names: More host names that requests may call the proxy by.
        max_connections: Of local clients at one time.
    """

    max_age_s: float = MAX_AGE_S
    names: tuple[str, ...] = ()
    max_connections: int = MAX_CONNECTIONS


class Proxy:
    """Takes requests on local sockets and hands them to one server."""

    def __init__(
        self,
        target: Target,
        settings: ProxySettings,
        *,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            target: The server, the policy, and the token that is added where a client
                sends none.
            settings: The operator's.
            told: Is told when the server can't be used, and when it can again; one line.
        """
        self._target = target
        self._settings = settings
        self._told = told
        self._trouble = ""
        self._transport = NonblockingTransport(target)
        self._names: frozenset[str] = frozenset()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()
        self._is_draining = False

    async def verify(self) -> ServerFacts:
        """Connect to the server once, verify it, and return what is known about it.

        Raises:
            InferonnxError: It can't be reached, or must not be spoken to.
        """
        connection, _ = await self._transport.connect()
        self._transport.give_back(connection)
        return connection.facts

    async def run(self, sockets: Sequence[socket.socket], stop: asyncio.Event) -> None:
        """Serve until `stop` is set; then let what is under way finish."""
        self._names = own_names(sockets, self._settings.names)
        servers = [await asyncio.start_server(self._accept, sock=sock) for sock in sockets]
        try:
            await stop.wait()
        finally:
            self._is_draining = True
            for server in servers:
                server.close()
            await self._drain()
            self._transport.close()

    async def _drain(self) -> None:
        for task in self._idle:
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        local = Local(reader, writer)
        is_one_too_many = len(self._tasks) >= self._settings.max_connections
        self._tasks.add(task)
        try:
            if is_one_too_many:
                await _refuse(local, RefusedError(503, "the proxy has no room for more clients"))
            else:
                await self._serve(local, task)
        except (OSError, LocalGoneError, h11.ProtocolError, asyncio.CancelledError):
            pass  # it left, or is not to be understood any more, or the proxy ends
        finally:
            self._tasks.discard(task)
            local.close()

    async def _serve(self, local: Local, task: asyncio.Task[None]) -> None:
        """Answer the requests of one local connection."""
        while not self._is_draining:
            self._idle.add(task)
            try:
                request = await local.request()
            except RefusedError as error:
                await _refuse(local, error)
                return
            finally:
                self._idle.discard(task)
            if request is None:
                return
            try:
                await self._answer(local, request)
            except (RefusedError, InferonnxError) as error:
                if local.has_answered:
                    return  # in the middle of it: closing is all that can be said
                await _refuse(local, error)
            if not local.begin_again():
                await local.linger()
                return

    async def _answer(self, local: Local, request: h11.Request) -> None:
        """Hand a request on, and its answer back.

        Raises:
            RefusedError: The request is not for this proxy, or none that can be handed on.
            InferonnxError: The server can't be used.
        """
        check_head(request, self._names)
        has_body = local.expects_body(request)
        while True:
            upstream, is_new = await self._connect()
            try:
                await self._exchange(local, request, upstream)
            except ConnectionLostError as error:
                # An idle connection that was closed meanwhile; the same again on a new one.
                if is_new or has_body or error.is_answered or request.method not in _SAFE:
                    raise
            else:
                return

    async def _connect(self) -> tuple[Upstream, bool]:
        newest_s = time.monotonic() - self._settings.max_age_s
        try:
            connection, is_new = await self._transport.connect(newest_s=newest_s)
        except InferonnxError as error:
            if error.message != self._trouble:
                self._told(f"the server can't be used: {error.message}")
            self._trouble = error.message
            raise
        if self._trouble:
            self._told("the server can be used again")
            self._trouble = ""
        return Upstream(connection), is_new

    async def _exchange(self, local: Local, request: h11.Request, upstream: Upstream) -> None:
        """Let the request's body go up and the answer come down until the answer is whole."""
        is_whole = False
        try:
            await upstream.send(self._head(request))
            up = asyncio.create_task(_send_body(local, upstream))
            down = asyncio.create_task(_send_answer(upstream, local))
            try:
                await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                for task in (down, up):
                    if task.done():
                        task.result()
                        break
                is_whole = True
            finally:
                await _end(up, down)
        finally:
            if is_whole and upstream.is_reusable:
                self._transport.give_back(upstream.connection)
            else:
                upstream.connection.abort()

    def _head(self, request: h11.Request) -> h11.Request:
        address, token = self._target.address, self._target.token
        return h11.Request(
            method=request.method,
            target=address.prefix.encode() + request.target,
            headers=request_headers(request, authority=address.authority, token=token),
        )


_SAFE = (b"GET", b"HEAD", b"OPTIONS")
"""Methods that may be sent again."""


async def _send_body(local: Local, upstream: Upstream) -> None:
    """Hand on the body; then wait for the local client to leave, which ends everything."""
    while True:
        event = await local.event()
        if isinstance(event, h11.Data):
            await upstream.send(h11.Data(data=event.data))
        elif isinstance(event, h11.EndOfMessage):
            await upstream.send(h11.EndOfMessage())
            await local.gone()


async def _send_answer(upstream: Upstream, local: Local) -> None:
    while True:
        event = await upstream.event()
        answer: Event
        if isinstance(event, h11.InformationalResponse):
            answer = h11.InformationalResponse(
                status_code=event.status_code, headers=answer_headers(event), reason=event.reason
            )
        elif isinstance(event, h11.Response):
            answer = h11.Response(
                status_code=event.status_code, headers=answer_headers(event), reason=event.reason
            )
        elif isinstance(event, h11.Data):
            answer = h11.Data(data=event.data)
        else:
            answer = h11.EndOfMessage()
        await local.send(answer)
        if isinstance(event, h11.EndOfMessage):
            return


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _refuse(local: Local, error: Exception) -> None:
    """Say in the protocol's form why there is no answer."""
    status, sentence = 502, str(error)
    if isinstance(error, RefusedError):
        status = error.status
    elif isinstance(error, DeadlineError):
        status = 504
    body = json.dumps({"error": sentence}).encode()
    headers: list[tuple[str, Any]] = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    await local.send(h11.Response(status_code=status, headers=headers))
    await local.send(h11.Data(data=body))
    await local.send(h11.EndOfMessage())
