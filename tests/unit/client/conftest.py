"""Scripted servers, and both kinds of client for them."""

import asyncio
import functools
import threading

import pytest

from inferonnx.client.async_client import AsyncClient
from inferonnx.client.client import Client
from scripted import PATIENCE_S, Certificate, Server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1", "::1")


@pytest.fixture
def serve(certificate):
    """Start a server whose connections follow these scripts."""
    running = []

    def start(*scripts, certificate=certificate, **options):
        running.append(Server(certificate, scripts, **options))
        return running[-1]

    yield start
    for server in running:
        server.close()


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)

    def close(self):
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Waiting:
    """An AsyncClient that answers as a Client does: each call waits for its coroutine."""

    def __init__(self, loop, *arguments, **options):
        self._loop = loop
        self._client = AsyncClient(*arguments, **options)

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._loop.run(method(*arguments, **options))


@pytest.fixture
def loop():
    running = Loop()
    yield running
    running.close()


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request):
    """Return a client of either kind for a server."""
    is_async = request.param == "asyncio"
    loop = request.getfixturevalue("loop") if is_async else None
    kind = functools.partial(Waiting, loop) if is_async else Client
    clients = []

    def start(server, host="127.0.0.1", **options):
        usual = {"ca": server.certificate.ca, "timeout": PATIENCE_S}
        if "policy" not in options:
            usual["insecure_no_attestation"] = True
        clients.append(kind(server.url(host), **(usual | options)))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
