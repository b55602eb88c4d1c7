"""A real server in a thread of the test's process, and what its clients need."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

from inferonnx.errors import UsageError
from inferonnx.server.http import HttpService
from inferonnx.server.identity import TlsSettings, born_identity
from inferonnx.server.limits import ConnectionLimits, HttpLimits
from inferonnx.server.listener import Listener
from inferonnx.server.messages import Reply
from inferonnx.server.observer import Observer

# Server and client are threads of one process here and hand over to each other all the
# time; each time, the interpreter would wait for five milliseconds.
sys.setswitchinterval(0.0002)

PATIENCE_S = 30
"""No test waits for this long but to fail."""


class Counted:
    """A reservation of `Budget`."""

    def __init__(self, budget, n_bytes):
        self.budget, self.n_bytes = budget, n_bytes

    def try_grow(self, n_bytes):
        if self.budget.used + n_bytes > self.budget.total:
            return False
        self.budget.take(n_bytes)
        self.n_bytes += n_bytes
        return True

    def shrink(self, n_bytes):
        self.n_bytes -= n_bytes
        self.budget.take(-n_bytes)

    def release(self):
        n_bytes, self.n_bytes = self.n_bytes, 0
        self.budget.take(-n_bytes)


class Budget:
    """A ledger that fits the port: who asks waits until there is room."""

    def __init__(self, total=1 << 40):
        self.total, self.used, self.most = total, 0, 0
        self.changed = asyncio.Event()

    def take(self, n_bytes):
        self.used += n_bytes
        self.most = max(self.most, self.used)
        self.changed.set()

    async def reserve(self, n_bytes):
        if n_bytes > self.total:
            raise UsageError(f"the request takes {n_bytes} bytes of {self.total}")
        while self.used + n_bytes > self.total:
            self.changed.clear()
            await self.changed.wait()
        self.take(n_bytes)
        return Counted(self, n_bytes)

    def try_reserve(self, n_bytes):
        return None


class Notes(Observer):
    """Keeps what it is told."""

    def __init__(self):
        self.refusals, self.answers, self.failures = [], [], []
        self.n_connected = self.n_closed = 0

    def connected(self, peer):
        self.n_connected += 1

    def refused(self, peer, reason):
        self.refusals.append(reason)

    def closed(self, peer):
        self.n_closed += 1

    def answered(self, peer, head, figures):
        self.answers.append((head, figures))

    def failed(self, reference, error):
        self.failures.append((reference, error))


class Server:
    """A listener with its service in a loop of its own."""

    def __init__(
        self,
        folder,
        handler=None,
        *,
        service=None,
        protocol="http/1.1",
        identity=None,
        settings=None,
        **changes,
    ):
        settings = settings or TlsSettings()
        self.identity = identity or born_identity(
            ["localhost", "127.0.0.1"],
            settings=settings,
            now_s=int(time.time()),
            random=os.urandom(16),
        )
        self.ca = folder / "cert.pem"
        self.ca.write_bytes(self.identity.certificate_pem)
        self.notes = Notes()
        self._context = None
        names = HttpLimits.__dataclass_fields__
        self._http = HttpLimits(**{k: v for k, v in changes.items() if k in names})
        self._tls = ConnectionLimits(**{k: v for k, v in changes.items() if k not in names})
        self._handler, self._service, self._protocol = handler, service, protocol
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        self.port = self.listener.addresses[0][1]
        self.url = f"https://localhost:{self.port}"

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self.complaints = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.budget = Budget()
        self._stop = asyncio.Event()
        service = self._service or HttpService(
            lambda exchange: self._handler(self, exchange),
            limits=self._http,
            linger_s=self._tls.linger_s,
            observer=self.notes,
        )
        self.listener = Listener(
            service,
            identity=self.identity,
            limits=self._tls,
            protocol=self._protocol,
            observer=self.notes,
        )
        await self.listener.open("127.0.0.1", 0)
        self._ready.set()
        await self._stop.wait()
        await self.listener.abort()

    def run(self, coroutine):
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)

    def stop(self):
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert not self.complaints, self.complaints

    # Clients.

    def context(self):
        return ssl.create_default_context(cafile=self.ca)

    def client(self):
        return http.client.HTTPSConnection(
            "localhost", self.port, context=self.context(), timeout=PATIENCE_S
        )

    def raw(self):
        """Return a TLS socket."""
        if self._context is None:
            self._context = self.context()
        return self._context.wrap_socket(self.plain(), server_hostname="localhost")

    def plain(self):
        """Return a TCP socket."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def said_to(self, data):
        """Send bytes, return all that comes until the server closes."""
        with self.raw() as sock:
            sock.sendall(data)
            return everything(sock)

    def curl(self, path="/", *options, check=True):
        done = subprocess.run(
            ["curl", "-sS", "--cacert", str(self.ca), *options, self.url + path],
            capture_output=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )
        assert not check or done.returncode == 0, done.stderr
        return done


def everything(sock):
    """Return what comes until the other side closes, cleanly or not."""
    found = b""
    try:
        while data := sock.recv(65536):
            found += data
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
        pass
    return found


def until(condition):
    """Wait for what another thread or process brings about."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


async def echo(server, exchange):
    """Answer with what was asked."""
    body = await exchange.read_body(server.budget)
    return Reply(
        status=200,
        headers=(("Content-Type", "application/octet-stream"),),
        pieces=(body,),
        is_compressible=exchange.head.path == b"/small",
    )
