"""The door: accepts connections, as many as there is room for, and drains.

Who comes when all places are taken waits, the first of them accepted and the others
in the kernel's queue. Connections on which nothing is under way give their place up,
so that nobody keeps others out by doing nothing: first those that have come and said
nothing since, then those that wait for a next request, longest first, and only then
those that have just come: their handshake or first request is on its way.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.server.connection import Connection, ReceiveBuffer
from inferonnx.server.observer import Observer
from inferonnx.server.peer import ClientGoneError, Peer

if TYPE_CHECKING:
    from inferonnx.server.identity import Identity
    from inferonnx.server.limits import ConnectionLimits

BACKLOG = 128
"""Connections that the kernel completes before we accept them."""

RETRY_S = 0.2
"""Pause when the process has no file descriptor for another connection."""

NEWCOMER_S = 3
"""For the handshake, and again for a first request, in which who has come is not taken for
silent: three round trips by way of a satellite take two."""

RECHECK_S = 0.2
"""How often it is looked for a connection that has fallen idle, while all places are taken."""


class Service(Protocol):
    """What speaks a protocol on connections."""

    async def serve(self, connection: Connection) -> None:
        """Speak until either side is done; then close the connection."""

    def drain(self) -> None:
        """From now on, end each connection as soon as nothing is under way on it."""


class Listener:
    """One or more listening sockets, and the connections that came by them."""

    def __init__(
        self,
        service: Service,
        *,
        identity: Identity,
        limits: ConnectionLimits,
        protocol: str = "http/1.1",
        observer: Observer | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            service: Speaks on the connections.
            identity: Whose certificate they show.
            limits: How many, how long.
            protocol: Name that is agreed on by ALPN.
            observer: Is told of connections that come, go or fail.
        """
        self._service = service
        self._identity = identity
        self._limits = limits
        self._protocol = protocol
        self._observer = observer or Observer()
        self._receive = ReceiveBuffer()
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._per_address: dict[str, int] = {}
        self._has_place = asyncio.Event()

    @property
    def n_connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """What is listened on, as (IP address, port)."""
        return tuple(sock.getsockname()[:2] for sock in self._sockets)

    async def open(self, host: str, port: int) -> None:
        """Listen on all addresses of `host`; port 0 is any free one.

        Raises:
            UsageError: `host` is no name or address of this machine.
            UnavailableError: The port is taken, or may not be used.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise UsageError(f"{host!r} is no address to listen on", hint="Try 0.0.0.0.") from error
        failure: UnavailableError | None = None
        is_open = False
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sock = _listening(family, (address[0], port, *address[2:]))
            except UnavailableError as error:
                failure = error  # a name may have an address of a kind that is not used here
                continue
            port = sock.getsockname()[1]  # any free one is the same for all addresses
            self._sockets.append(sock)
            self._accepting.append(loop.create_task(self._accept(sock)))
            is_open = True
        if failure is not None and not is_open:
            raise failure

    async def drain(self) -> None:
        """Stop accepting, let what is under way finish, return when all is closed."""
        await self._stop_accepting()
        self._service.drain()
        for connection, task in list(self._connections.items()):
            if connection.is_idle and not connection.is_closing:
                task.cancel()
        while self._connections:
            await asyncio.wait(list(self._connections.values()))

    async def abort(self) -> None:
        """Close everything at once."""
        await self._stop_accepting()
        tasks = list(self._connections.values())
        for connection, task in list(self._connections.items()):
            connection.abort()
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _stop_accepting(self) -> None:
        for task in self._accepting:
            task.cancel()
        for task in self._accepting:
            with suppress(asyncio.CancelledError):
                await task
        self._accepting.clear()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    await asyncio.sleep(RETRY_S)
                continue  # else the client left before it was accepted
            peer = Peer(address=address[0], port=address[1])
            n = self._per_address.get(peer.address, 0)
            if 0 < self._limits.n_per_address <= n:
                self._observer.refused(peer, "too many connections from one address")
                sock.close()
                continue
            try:
                await self._place()
            except asyncio.CancelledError:
                sock.close()
                raise
            self._start(sock, peer)

    def _start(self, sock: socket.socket, peer: Peer) -> None:
        context = self._identity.context(self._protocol)
        connection = Connection(context, peer, self._receive)
        connection.idle_since = asyncio.get_running_loop().time()
        self._per_address[peer.address] = self._per_address.get(peer.address, 0) + 1
        task = asyncio.get_running_loop().create_task(self._serve(sock, connection))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._ended(connection, sock, task))

    def _ended(self, connection: Connection, sock: socket.socket, task: asyncio.Task[None]) -> None:
        # A task that was cancelled before its first step has closed nothing.
        connection.abort()
        sock.close()
        del self._connections[connection]
        address = connection.peer.address
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
        self._has_place.set()
        self._observer.closed(connection.peer)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._observer.failed("connection", error)

    async def _place(self) -> None:
        """Wait until one more connection has a place, and make one if that can be."""
        while len(self._connections) >= self._limits.n_connections:
            self._has_place.clear()
            now_s = asyncio.get_running_loop().time()
            idle = [
                (_turn(connection, now_s), task)
                for connection, task in self._connections.items()
                if connection.is_idle and not task.cancelling()
            ]
            if idle:
                min(idle, key=lambda entry: entry[0])[1].cancel()
            with suppress(TimeoutError):  # a connection that falls idle says nothing
                await asyncio.wait_for(self._has_place.wait(), RECHECK_S)

    async def _serve(self, sock: socket.socket, connection: Connection) -> None:
        try:
            await _attach(sock, connection)
            if await self._shake_hands(connection):
                connection.idle_since = None  # until its service says otherwise
                await self._service.serve(connection)
        except (OSError, ClientGoneError):
            pass  # it left
        except asyncio.CancelledError:
            await connection.close()  # drained, or its place is needed

    async def _shake_hands(self, connection: Connection) -> bool:
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                await connection.handshake()
        except ssl.SSLError as error:
            self._observer.refused(connection.peer, f"no TLS handshake: {error.reason or 'failed'}")
            await connection.close(linger_s=self._limits.linger_s)  # so that it gets the alert
            return False
        except TimeoutError:
            self._observer.refused(connection.peer, "no TLS handshake in time")
            return False
        self._observer.connected(connection.peer)
        return True


def _turn(connection: Connection, now_s: float) -> tuple[int, float]:
    """Return what sorts idle connections: who goes first is least."""
    since_s = connection.idle_since or 0
    if connection.received_bytes:
        return 1, since_s
    return (0 if now_s - since_s > NEWCOMER_S else 2), since_s


async def _attach(sock: socket.socket, connection: Connection) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)


def _listening(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise UnavailableError(
            f"can't listen on {address[0]} port {address[1]}: {error.strerror}",
            hint="Stop what uses it, or choose another port.",
        ) from error
    return sock
