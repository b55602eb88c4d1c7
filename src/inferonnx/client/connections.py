"""What both transports know about connections: whom they lead to, which are idle, how long."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from inferonnx.client.http import Exchange
from inferonnx.errors import DeadlineError, UnavailableError

if TYPE_CHECKING:
    import ssl

    from inferonnx.client.address import ServerAddress
    from inferonnx.client.attestation import AttestationPolicy, ServerFacts
    from inferonnx.client.channel import Channel
    from inferonnx.client.messages import Request
    from inferonnx.crypto import Secret

IDLE_S = 60
"""How long an idle connection is kept: servers close theirs after 75 seconds or more."""

MOST_IDLE = 16
"""Idle connections that are kept; more come only of as many concurrent calls."""

CONNECT_S = 20
"""Time for a connection and its TLS handshake, within that of the whole operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to speak to, and on which conditions.

    Attributes:
        address: Of the server.
        context: What TLS takes.
        policy: What is taken of what TLS takes.
        token: The caller's; None for none.
    """

    address: ServerAddress
    context: ssl.SSLContext
    policy: AttestationPolicy
    token: Secret | None = None


class Deadline:
    """When an operation must be done."""

    def __init__(self, seconds: float | None, *, within: Deadline | None = None) -> None:
        """Begin now.

        Args:
            seconds: From now; None for no end.
            within: Another one, which ends this one too.
        """
        self._end: float | None = None
        self._seconds = 0.0
        if seconds is not None:
            self._end, self._seconds = time.monotonic() + seconds, seconds
        outer = None if within is None else within._end
        if within is not None and outer is not None and (self._end is None or outer < self._end):
            self._end, self._seconds = outer, within._seconds

    def left_s(self) -> float | None:
        """Return the seconds that are left; None when there is no end.

        Raises:
            DeadlineError: None are.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.missed()
        return left

    def missed(self) -> DeadlineError:
        """Return the error for being too late."""
        return DeadlineError(f"there was no answer within {self._seconds:g} seconds")


class Connection(Protocol):
    """A connection whose server is verified.

    Attributes:
        channel: Its TLS.
        facts: What is known about its server.
        verified_s: When it was verified, on the monotonic clock.
    """

    channel: Channel
    facts: ServerFacts
    verified_s: float

    @property
    def is_stale(self) -> bool:
        """Whether the server has closed it, or sent what nobody asked for."""

    def close(self) -> None:
        """End it, with TLS's word for it where that can be said without waiting."""


C = TypeVar("C", bound=Connection)


class IdleConnections(Generic[C]):
    """Connections that wait for their next request; for any number of threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._idle: list[tuple[float, C]] = []
        self._is_closed = False

    def take(self, *, key_hash: bytes | None = None, newest_s: float = 0.0) -> C | None:
        """Return the connection that was used last and is still good, None if there is none.

        Args:
            key_hash: Only one to the server with this key.
            newest_s: Only one that was verified after this time.
        """
        now = time.monotonic()
        while True:
            with self._lock:
                found = None
                for i in reversed(range(len(self._idle))):
                    if key_hash in (None, self._idle[i][1].facts.public_key_hash):
                        found = self._idle.pop(i)
                        break
            if found is None:
                return None
            since, connection = found
            is_young = now - since < IDLE_S and connection.verified_s >= newest_s
            if is_young and not connection.is_stale:
                return connection
            connection.close()

    def give(self, connection: C) -> None:
        """Keep a connection for the next request; close it when there are enough."""
        with self._lock:
            if not self._is_closed and len(self._idle) < MOST_IDLE:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def close(self) -> None:
        """Close all, and those that are given back later."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._is_closed = True
        for _, connection in idle:
            connection.close()


def new_exchange(connection: Connection, request: Request) -> Exchange:
    """Return the exchange of a request on a verified connection."""
    return Exchange(
        connection.channel,
        request,
        key_hash=connection.facts.public_key_hash,
    )


def check_key(facts: ServerFacts, request: Request) -> None:
    """Refuse to send what is meant for one server to another.

    Raises:
        ServerChangedError: The server at the other end is another.
    """
    if request.key_hash not in (None, facts.public_key_hash):
        raise ServerChangedError(
            f"another server answers at {facts.host}:{facts.port} than a moment ago",
            hint="It may have been restarted: try again.",
        )


class ServerChangedError(UnavailableError):
    """The server has another key than the one that the request was made for."""

    code = "server.changed"
