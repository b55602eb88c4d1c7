"""The transport that blocks: sockets, for any number of threads.

A connection is used by one thread at a time. It reads while it sends, so that a
server which refuses early is heard.
"""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

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
    from inferonnx.client.attestation import ServerFacts
    from inferonnx.client.channel import Flows
    from inferonnx.client.connections import Target
    from inferonnx.client.messages import Request, Response, Steps

T = TypeVar("T")


class BlockingTransport:
    """Runs operations on connections to one server."""

    def __init__(self, target: Target) -> None:
        """Prepare; nothing is connected yet."""
        self._target = target
        self._idle: IdleConnections[BlockingConnection] = IdleConnections()

    def run(self, steps: Steps[T], *, timeout_s: float | None) -> T:
        """Run an operation and return its result.

        Args:
            steps: What to ask, step by step.
            timeout_s: For all of it; None for as long as it takes.

        Raises:
            InferonnxError: What the operation, the network or the policy raises.
        """
        deadline = Deadline(timeout_s)
        try:
            step = next(steps)
            while True:
                try:
                    answer: Any = self._do(step, deadline)
                except UnavailableError as error:
                    step = steps.throw(error)  # operations may know a way on
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            steps.close()

    def close(self) -> None:
        """Close all connections; those in use, when they have done what they do."""
        self._idle.close()

    def _do(self, step: Request | Pause, deadline: Deadline) -> Response | None:
        if isinstance(step, Pause):
            left_s = deadline.left_s()
            if left_s is not None and left_s < step.seconds:
                time.sleep(left_s)
                raise deadline.missed()
            time.sleep(step.seconds)
            return None
        return self._send(step, Deadline(step.timeout_s, within=deadline))

    def _send(self, request: Request, deadline: Deadline) -> Response:
        """Send on an idle connection; where that is closed meanwhile, on a new one."""
        while True:
            connection = self._idle.take(key_hash=request.key_hash)
            is_new = connection is None
            if connection is None:
                connection = self._open(deadline)
            try:
                return self._exchange(connection, request, deadline)
            except ConnectionLostError as error:
                if is_new or error.is_answered or not request.may_repeat:
                    raise

    def _exchange(
        self, connection: BlockingConnection, request: Request, deadline: Deadline
    ) -> Response:
        try:
            check_key(connection.facts, request)
            exchange = new_exchange(connection, request)
            response = connection.run(exchange.run(self._target.token), deadline)
        except BaseException:
            connection.abort()
            raise
        if exchange.is_reusable:
            self._idle.give(connection)
        else:
            connection.close()
        return response

    def _open(self, deadline: Deadline) -> BlockingConnection:
        """Connect, shake hands, and let the policy decide."""
        deadline = Deadline(CONNECT_S, within=deadline)
        connection = BlockingConnection(self._target, deadline)
        try:
            connection.facts = connection.run(connection.channel.handshake(), deadline)
            self._target.policy.verify(connection.facts)
        except BaseException:
            connection.abort()
            raise
        connection.verified_s = time.monotonic()
        return connection


class BlockingConnection:
    """A socket, and the TLS on it.

    Attributes:
        channel: The TLS.
        facts: What is known about the server, after the handshake.
        verified_s: When the policy took it.
    """

    facts: ServerFacts
    verified_s: float

    def __init__(self, target: Target, deadline: Deadline) -> None:
        """Connect.

        Raises:
            UnavailableError: There is no way to the server.
            DeadlineError: There was none in time.
        """
        self.channel = Channel(target.context, target.address)
        self._socket = _connected(target.address.host, target.address.port, deadline)
        self._socket.setblocking(False)
        self._unsent = memoryview(b"")
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    @property
    def is_stale(self) -> bool:
        """Whether the server has closed it, or sent what nobody asked for."""
        self._poll.modify(self._socket, select.POLLIN)
        return bool(self._poll.poll(0))

    def run(self, flows: Flows[T], deadline: Deadline) -> T:
        """Move bytes as `flows` says, and return its result."""
        try:
            flow = next(flows)
            while True:
                flow = flows.send(self._move(flow.data, flow.must_receive, deadline))
        except StopIteration as done:
            result: T = done.value
            return result

    def close(self) -> None:
        """End it; TLS's word for it goes out where that can be without waiting."""
        with suppress(OSError):
            if not self._unsent:
                self._socket.send(self.channel.closing())
        self._socket.close()

    def abort(self) -> None:
        """End it at once."""
        self._socket.close()

    def _move(self, data: bytes, must_receive: bool, deadline: Deadline) -> bytes | None:
        """Send, and receive; see `Flow` and `Flows`."""
        self._unsent = memoryview(bytes(self._unsent) + data if self._unsent else data)
        while self._unsent or must_receive:
            events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
            self._poll.modify(self._socket, events)
            found = self._wait(deadline)
            if found & select.POLLOUT:
                self._send_some()
            if found & ~select.POLLOUT:
                received = self._receive_some()
                if received != b"":
                    return received
        return b""

    def _wait(self, deadline: Deadline) -> int:
        left_s = deadline.left_s()
        found = self._poll.poll(None if left_s is None else max(1, round(left_s * 1000)))
        return found[0][1] if found else 0

    def _send_some(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._unsent = memoryview(b"")  # what the server said before it left can be read
            return
        self._unsent = self._unsent[sent:]

    def _receive_some(self) -> bytes | None:
        """Return what is there, b"" for nothing, None at the end."""
        try:
            return self._socket.recv(READ_BYTES) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None


def _connected(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a socket that is connected to one of the addresses of `host`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise no_way(host, port, error) from error
    last: OSError | None = None
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left_s())
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError as error:
            sock.close()
            raise deadline.missed() from error
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise no_way(host, port, last) from last


def no_way(host: str, port: int, error: OSError | None) -> UnavailableError:
    """Return the error for a server that can't be connected to."""
    if isinstance(error, socket.gaierror):
        return UnavailableError(
            f"the name {host!r} can't be resolved: {error.strerror}",
            hint="Is it written right, and is there a network?",
        )
    # asyncio joins the errors of several addresses into one without a number.
    reason = os.strerror(error.errno) if error is not None and error.errno else "it is not there"
    return UnavailableError(
        f"no connection to {host} port {port}: {reason}",
        hint="Is the server running, and is it the right port?",
    )
