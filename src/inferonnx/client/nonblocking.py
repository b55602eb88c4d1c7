"""The transport of asyncio; all that is decided, `Exchange` and the operations decide.

A task that is cancelled ends the connection it was using: what was asked for may or
may not have happened.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from inferonnx.client.blocking import no_way
from inferonnx.client.channel import READ_BYTES, Channel, ConnectionLostError
from inferonnx.client.connections import (
    CONNECT_S,
    Deadline,
    IdleConnections,
    check_key,
    new_exchange,
)
from inferonnx.client.messages import Pause
from inferonnx.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from inferonnx.client.attestation import ServerFacts
    from inferonnx.client.channel import Flows
    from inferonnx.client.connections import Target
    from inferonnx.client.messages import Request, Response, Steps

T = TypeVar("T")

AHEAD_BYTES = 1 << 20
"""Received bytes that wait to be taken, before the server is held back."""


class NonblockingTransport:
    """Runs operations on connections to one server, in one event loop."""

    def __init__(self, target: Target) -> None:
        """Prepare; nothing is connected yet."""
        self._target = target
        self._idle: IdleConnections[NonblockingConnection] = IdleConnections()

    async def run(self, steps: Steps[T], *, timeout_s: float | None, is_slow: bool = False) -> T:
        """Run an operation and return its result.

        Args:
            steps: What to ask, step by step.
            timeout_s: For all of it; None for as long as it takes.
            is_slow: It reads files or computes between its steps: do that in a thread.

        Raises:
            InferonnxError: What the operation, the network or the policy raises.
        """
        deadline = Deadline(timeout_s)
        answer: Any = None
        failure: UnavailableError | None = None
        try:
            while True:
                work = partial(_advance, steps, answer, failure)
                found = await asyncio.to_thread(work) if is_slow else work()
                if isinstance(found, _Done):
                    result: T = found.value
                    return result
                answer, failure = None, None
                try:
                    answer = await self._do(found, deadline)
                except UnavailableError as error:
                    failure = error  # operations may know a way on
        finally:
            with suppress(ValueError):  # cancelled while a thread is in it: that ends by itself
                steps.close()

    def close(self) -> None:
        """Close all connections; those in use, when they have done what they do."""
        self._idle.close()

    async def connect(self, *, newest_s: float = 0.0) -> tuple[NonblockingConnection, bool]:
        """Return a verified connection, and whether it is a new one.

        Args:
            newest_s: Not one that was verified before this time of the monotonic clock.
        """
        idle = self._idle.take(newest_s=newest_s)
        return (idle, False) if idle is not None else (await self._open(Deadline(None)), True)

    def give_back(self, connection: NonblockingConnection) -> None:
        """Keep a connection, on which nothing is under way, for the next request."""
        self._idle.give(connection)

    async def _do(self, step: Request | Pause, deadline: Deadline) -> Response | None:
        if isinstance(step, Pause):
            await _within(deadline, asyncio.sleep(step.seconds))
            return None
        return await self._send(step, Deadline(step.timeout_s, within=deadline))

    async def _send(self, request: Request, deadline: Deadline) -> Response:
        """Send on an idle connection; where that is closed meanwhile, on a new one."""
        while True:
            connection = self._idle.take(key_hash=request.key_hash)
            is_new = connection is None
            if connection is None:
                connection = await self._open(deadline)
            try:
                return await self._exchange(connection, request, deadline)
            except ConnectionLostError as error:
                if is_new or error.is_answered or not request.may_repeat:
                    raise

    async def _exchange(
        self, connection: NonblockingConnection, request: Request, deadline: Deadline
    ) -> Response:
        try:
            check_key(connection.facts, request)
            exchange = new_exchange(connection, request)
            response = await _within(deadline, connection.run(exchange.run(self._target.token)))
        except BaseException:
            connection.abort()
            raise
        if exchange.is_reusable:
            self._idle.give(connection)
        else:
            connection.close()
        return response

    async def _open(self, deadline: Deadline) -> NonblockingConnection:
        """Connect, shake hands, and let the policy decide."""
        deadline = Deadline(CONNECT_S, within=deadline)
        connection = await _within(deadline, _connected(self._target))
        try:
            handshake = connection.run(connection.channel.handshake())
            connection.facts = await _within(deadline, handshake)
            verify = asyncio.to_thread(self._target.policy.verify, connection.facts)
            await _within(deadline, verify)
        except BaseException:
            connection.abort()
            raise
        connection.verified_s = time.monotonic()
        return connection


class NonblockingConnection(asyncio.Protocol):
    """A transport of asyncio, and the TLS on it.

    Attributes:
        channel: The TLS.
        facts: What is known about the server, after the handshake.
        verified_s: When the policy took it.
    """

    facts: ServerFacts
    verified_s: float
    _transport: asyncio.Transport

    def __init__(self, channel: Channel) -> None:
        """Begin before the connection is there."""
        self.channel = channel
        self._received = bytearray()
        self._is_ended = False
        self._is_full = False  # of what the system has not taken
        self._changed = asyncio.Event()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Keep what has come, and hold the server back when that is much."""
        self._received += data
        if len(self._received) >= AHEAD_BYTES:
            self._transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> bool:
        """Note the end; what is to be sent may still go."""
        self._is_ended = True
        self._changed.set()
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note the end, of both directions."""
        self._is_ended = True
        self._is_full = False
        self._changed.set()

    def pause_writing(self) -> None:
        """Note that the system takes no more for now."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._is_full = False
        self._changed.set()

    # What we call.

    @property
    def is_stale(self) -> bool:
        """Whether the server has closed it, or sent what nobody asked for."""
        return self._is_ended or bool(self._received)

    async def run(self, flows: Flows[T]) -> T:
        """Move bytes as `flows` says, and return its result."""
        try:
            flow = next(flows)
            while True:
                flow = flows.send(await self._move(flow.data, must_receive=flow.must_receive))
        except StopIteration as done:
            result: T = done.value
            return result

    async def send(self, data: memoryview) -> None:
        """Encrypt and send; returns when the system has room for more.

        May run beside a flow that only receives.
        """
        self.channel.write(data)
        if not self._transport.is_closing():
            self._transport.write(self.channel.outgoing())
        while self._is_full and not self._is_ended:
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """End it; TLS's word for it goes out where that can be without waiting."""
        if not self._transport.is_closing():
            if not self._is_full:
                self._transport.write(self.channel.closing())
            self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()

    async def _move(self, data: bytes, *, must_receive: bool) -> bytes | None:
        """Send, and receive; see `Flow` and `Flows`."""
        if data and not self._transport.is_closing():
            self._transport.write(data)
        while not self._received and not self._is_ended and (must_receive or self._is_full):
            self._changed.clear()
            await self._changed.wait()
        if not self._received:
            return None if self._is_ended else b""
        received = bytes(self._received[:READ_BYTES])
        del self._received[:READ_BYTES]
        if len(self._received) < AHEAD_BYTES and not self._transport.is_closing():
            self._transport.resume_reading()
        return received


class _Done:
    """The result of an operation; StopIteration can't leave a thread or a coroutine."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _advance(
    steps: Steps[Any], answer: Any, failure: UnavailableError | None
) -> Request | Pause | _Done:
    """Hand an answer, or what came instead of it, to an operation; return what it does next."""
    try:
        return steps.send(answer) if failure is None else steps.throw(failure)
    except StopIteration as done:
        return _Done(done.value)


async def _within(deadline: Deadline, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, unless the time is over before."""
    try:
        async with asyncio.timeout(_left(deadline, work)):
            return await work
    except TimeoutError as error:
        raise deadline.missed() from error


def _left(deadline: Deadline, work: Coroutine[Any, Any, Any]) -> float | None:
    try:
        return deadline.left_s()
    except BaseException:
        work.close()  # or Python says that it was never awaited
        raise


async def _connected(target: Target) -> NonblockingConnection:
    loop = asyncio.get_running_loop()
    host, port = target.address.host, target.address.port
    try:
        _, connection = await loop.create_connection(
            lambda: NonblockingConnection(Channel(target.context, target.address)),
            host,
            port,
            happy_eyeballs_delay=0.25,
        )
    except OSError as error:
        raise no_way(host, port, error) from error
    return connection
