"""Memory that TLS connections hold, by what their clients have done.

`python -m inferonnx.bench.connections [N]` opens N connections to a server in a
process of its own, and reads that process's resident memory from outside. Each row
is the growth over the server before the first of them, for one connection.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from inferonnx.runtime import children
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.server.exchange import Exchange

N_CONNECTIONS = 200

BODY_BYTES = 602_112
"""A float32 image of 3 x 224 x 224."""

SETTLE_S = 0.5
"""Until the server has handled what was sent last."""


def main() -> int:
    """Serve, or measure a process that does."""
    if sys.argv[1:] == ["serve"]:
        return _serve()
    n = int(sys.argv[1]) if len(sys.argv) > 1 else N_CONNECTIONS
    command = [sys.executable, "-m", "inferonnx.bench.connections", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline()) if server.stdout else 0
            sys.stdout.write(_measure(server.pid, port, n))
        finally:
            server.terminate()
    return 0


class _Client:
    """A TLS client that can stop in the middle of a record."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(self.sock.recv(65_536))
        self.flush()

    def flush(self, *, without: int = 0) -> None:
        """Send what is encrypted, but for the last bytes of it."""
        data = self.outgoing.read()
        self.sock.sendall(data[: len(data) - without])

    def ask(self, path: str, n_bytes: int) -> None:
        """Send a body and wait for the reply, which is as long or short."""
        self.begin(path, n_bytes)
        n_left = n_bytes if path == "/echo" else 1
        while n_left > 0:
            try:
                n_left -= len(self.tls.read(65_536))
            except ssl.SSLWantReadError:
                self.incoming.write(self.sock.recv(65_536))

    def begin(self, path: str, n_bytes: int) -> None:
        """Send a request."""
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_bytes}\r\n\r\n"
        self.tls.write(head.encode())
        if n_bytes:
            self.tls.write(bytes(n_bytes))
        self.flush()

    def stop(self) -> None:
        """Send the beginning of a head, and a record of it without its last byte."""
        self.tls.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ")
        self.tls.write(b"a" * 16_000)
        self.flush(without=1)

    def flood(self) -> None:
        """Send more than is taken while a request is under way."""
        self.begin("/hold", 0)
        self.tls.write(bytes(16 * KIB) * 64)
        self.sock.setblocking(False)
        try:
            self.sock.sendall(self.outgoing.read())
        except BlockingIOError:
            return


def _measure(pid: int, port: int, n: int) -> str:
    from inferonnx.report import markdown_table

    context = ssl.create_default_context()
    context.check_hostname = False  # of a process that we have started ourselves
    context.verify_mode = ssl.CERT_NONE
    for client in [_Client(context, port) for _ in range(20)]:  # what is allocated but once
        client.ask("/echo", BODY_BYTES)
        client.sock.close()
    time.sleep(SETTLE_S)
    before = children.status(pid, "VmRSS")
    rows, clients = [], [_Client(context, port) for _ in range(n)]
    steps: tuple[tuple[str, Callable[[_Client], None]], ...] = (
        ("idle after the handshake", lambda _: None),
        ("idle after a body of 1 kB", lambda client: client.ask("/", 1000)),
        ("idle after a body of 600 kB", lambda client: client.ask("/", BODY_BYTES)),
        ("idle after a reply of 600 kB", lambda client: client.ask("/echo", BODY_BYTES)),
        ("stopped in the middle of a head", _Client.stop),
    )
    for what, do in steps:
        rows.append([what, _grown(clients, do, pid, before)])
    for client in clients:
        client.sock.close()
    time.sleep(SETTLE_S)
    before = children.status(pid, "VmRSS")
    clients = [_Client(context, port) for _ in range(n)]
    rows.append(["sends ahead of a request", _grown(clients, _Client.flood, pid, before)])
    for client in clients:
        client.sock.close()
    return markdown_table([f"{n} connections", "KiB each"], rows) + "\n"


def _grown(clients: list[_Client], do: Callable[[_Client], None], pid: int, before: int) -> str:
    for client in clients:
        do(client)
    time.sleep(SETTLE_S)
    grown = children.status(pid, "VmRSS") - before
    return f"{grown / len(clients) / KIB:.1f}"


def _serve() -> int:
    import asyncio

    asyncio.run(_serve_for_ever())
    return 0


async def _serve_for_ever() -> None:
    import asyncio

    from inferonnx.server.http import HttpService
    from inferonnx.server.identity import TlsSettings, born_identity
    from inferonnx.server.limits import ConnectionLimits, HttpLimits
    from inferonnx.server.listener import Listener
    from inferonnx.server.messages import Reply

    async def answer(exchange: Exchange) -> Reply:
        if exchange.head.path == b"/hold":
            await asyncio.Event().wait()
        body = [bytes(view) async for view in exchange.chunks()]
        return Reply(status=200, pieces=body if exchange.head.path == b"/echo" else ())

    identity = born_identity(
        ["localhost"], settings=TlsSettings(), now_s=int(time.time()), random=os.urandom(16)
    )
    limits = ConnectionLimits(n_connections=10_000)
    service = HttpService(answer, limits=HttpLimits(), linger_s=limits.linger_s)
    listener = Listener(service, identity=identity, limits=limits)
    await listener.open("127.0.0.1", 0)
    sys.stdout.write(f"{listener.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
