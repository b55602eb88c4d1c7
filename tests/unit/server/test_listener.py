"""Places, endings, and what comes to the port that is no TLS."""

import asyncio
import gc
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.server import listener
from inferonnx.server.connection import Connection
from inferonnx.server.listener import Listener
from machine import module_needs
from serving.running import PATIENCE_S, Server, echo, everything, until

module_needs("curl")  # whether others are served is asked with a client that is not ours

ASK = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def is_closed(sock):
    try:
        return sock.recv(1000) == b""
    except (ConnectionError, ssl.SSLError):
        return True


async def gated(server, exchange):
    """Answer when the gate is open."""
    if exchange.head.path == b"/gated":
        server.begun += 1
        await server.gate.wait()
    return await echo(server, exchange)


@pytest.fixture
def gate(start):
    """A server with a gate."""

    def begin(**changes):
        server = start(gated, **changes)
        server.begun, server.gate = 0, asyncio.Event()
        server.open_gate = lambda: server.loop.call_soon_threadsafe(server.gate.set)
        return server

    return begin


# What is no TLS.


@pytest.mark.parametrize(
    "data",
    [
        ASK,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0" * 100,
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01" + b"\xff" * 999,
    ],
)
def test_plain_bytes_end_the_connection_with_one_line_of_log(server, data):
    with server.plain() as sock:
        sock.sendall(data)
        assert len(everything(sock)) <= 7  # a TLS alert, or nothing
    until(lambda: server.notes.n_closed == 1)
    assert len(server.notes.refusals) == 1
    assert not server.notes.answers
    assert server.curl("/").returncode == 0


def test_there_is_no_plaintext_http(server):
    done = subprocess.run(
        ["curl", "-sS", f"http://localhost:{server.port}/"],
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == b""
    assert server.notes.refusals == ["no TLS handshake: HTTP_REQUEST"]


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_handshake_that_stops_is_ended(start, data):
    server = start(handshake_s=0.2)
    with server.plain() as sock:
        sock.sendall(data)
        assert everything(sock) == b""
    until(lambda: server.notes.n_closed == 1)
    assert server.notes.refusals == ["no TLS handshake in time"]


@pytest.mark.parametrize("reset", [False, True])
def test_clients_that_vanish_before_or_in_the_handshake(server, reset):
    for data in (b"", b"\x16\x03\x01\x02\x00\x01\x00"):
        sock = server.plain()
        sock.sendall(data)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    until(lambda: server.notes.n_closed == 2)
    assert server.listener.n_connections == 0


# Places.


def test_who_comes_when_all_places_are_busy_waits_for_one(gate):
    server = gate(n_connections=2)
    busy = [server.client() for _ in range(2)]
    for client in busy:
        client.request("GET", "/gated")
    until(lambda: server.begun == 2)
    third = threading.Thread(target=server.curl, args=("/",))
    third.start()
    third.join(0.3)
    assert third.is_alive()
    assert server.listener.n_connections == 2
    server.open_gate()
    third.join(PATIENCE_S)
    assert not third.is_alive()
    for client in busy:
        client.close()


def test_the_longest_idle_connection_gives_its_place_up(gate):
    server = gate(n_connections=3)
    busy = server.client()
    busy.request("GET", "/gated")
    until(lambda: server.begun == 1)
    idle = [server.raw() for _ in range(2)]
    for sock in idle:  # the first is idle longer than the second
        sock.sendall(ASK)
        assert sock.recv(1000)
    assert server.curl("/").returncode == 0
    assert is_closed(idle[0])
    idle[1].sendall(ASK)
    assert idle[1].recv(1000)
    server.open_gate()
    assert busy.getresponse().status == 200
    for sock in (busy, *idle):
        sock.close()


def test_who_has_just_come_goes_after_those_that_are_idle(gate):
    """A handshake begins before another connection falls idle, and takes its time."""
    server = gate(n_connections=2)
    slow = server.plain()
    until(lambda: server.listener.n_connections == 1)
    idle = server.raw()
    idle.sendall(ASK)
    assert idle.recv(1000)
    assert server.curl("/").returncode == 0
    assert is_closed(idle)
    with server.context().wrap_socket(slow, server_hostname="localhost") as sock:
        sock.sendall(ASK)
        assert sock.recv(1000)
    idle.close()


@pytest.mark.parametrize("shakes_hands", [False, True])
def test_who_has_come_and_says_nothing_goes_before_those_that_are_idle(
    gate, monkeypatch, shakes_hands
):
    monkeypatch.setattr(listener, "NEWCOMER_S", 0.2)
    server = gate(n_connections=2)
    idle = server.raw()
    idle.sendall(ASK)
    assert idle.recv(1000)
    silent = server.raw() if shakes_hands else server.plain()
    until(lambda: server.listener.n_connections == 2)
    time.sleep(0.3)
    assert server.curl("/").returncode == 0
    assert is_closed(silent)
    idle.sendall(ASK)
    assert idle.recv(1000)
    for sock in (idle, silent):
        sock.close()


def test_an_unfinished_handshake_keeps_nobody_out(start):
    server = start(n_connections=2, handshake_s=PATIENCE_S)
    silent = [server.plain() for _ in range(10)]
    assert server.curl("/").returncode == 0
    for sock in silent:
        sock.close()


def test_a_service_says_itself_when_its_connections_are_idle(start):
    class Busy:
        def __init__(self):
            self.connections = []

        async def serve(self, connection):
            self.connections.append(connection)
            await connection.read()
            await connection.close()

    service = Busy()
    server = start(service=service)
    with server.raw():
        until(lambda: service.connections)
        assert not service.connections[0].is_idle
        service.connections[0].idle_since = 1.0
        assert service.connections[0].is_idle


def test_one_address_gets_so_many_places(start):
    server = start(n_per_address=2)
    held = [server.raw() for _ in range(2)]
    with server.plain() as third:
        assert everything(third) == b""
    assert server.notes.refusals == ["too many connections from one address"]
    held[0].close()
    until(lambda: server.listener.n_connections == 1)
    assert server.curl("/").returncode == 0
    held[1].close()


def test_hundreds_of_connections_leave_nothing(server):
    for _ in range(75):
        for sock in [server.raw() for _ in range(4)]:
            sock.sendall(ASK)
            assert sock.recv(1000)
            sock.close()
    until(lambda: server.listener.n_connections == 0)
    assert server.notes.n_closed == 300
    assert not server.listener._per_address


def test_a_connection_that_has_ended_is_freed_without_the_collector(server):
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            with server.raw() as sock:
                sock.sendall(ASK)
                assert sock.recv(1000)
        until(lambda: server.listener.n_connections == 0)
        server.run(asyncio.sleep(0.01))
        assert sum(type(found) is Connection for found in gc.get_objects()) <= 1
    finally:
        gc.enable()


def test_when_descriptors_run_out_the_server_waits_and_goes_on():
    code = f"""
import pathlib, resource, sys, tempfile
sys.path[:0] = {sys.path!r}
from serving.running import Server, echo
server = Server(pathlib.Path(tempfile.mkdtemp()), echo)
before = [server.plain() for _ in range(3)]
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
import os
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 3, hard))
held = []
try:
    while True:
        held.append(server.plain())
except OSError as error:
    assert error.errno == 24, error
for sock in held + before:
    sock.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
client = server.client()
client.request("GET", "/")
assert client.getresponse().status == 200
client.close()
server.stop()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Addresses.


def test_all_addresses_of_a_name_get_one_port(server):
    async def ports():
        listener = Listener(
            None, identity=server.identity, limits=server._tls, observer=server.notes
        )
        await listener.open("localhost", 0)
        found = listener.addresses
        await listener.abort()
        return found

    found = server.run(ports())
    assert len({port for _, port in found}) == 1
    assert ("127.0.0.1", found[0][1]) in found


def test_a_port_that_is_taken_is_said_so(server):
    with pytest.raises(UnavailableError, match=f"port {server.port}"):
        server.run(server.listener.open("127.0.0.1", server.port))
    with pytest.raises(UnavailableError):
        server.run(server.listener.open("192.0.2.1", 0))
    with pytest.raises(UsageError):
        server.run(server.listener.open("no.such.name.invalid", 0))


# Endings.


def test_draining_lets_what_is_under_way_finish(gate):
    server = gate()
    idle = server.raw()
    idle.sendall(ASK)
    assert idle.recv(1000)
    busy = server.client()
    busy.request("POST", "/gated", b"hello")
    until(lambda: server.begun == 1)
    half = server.raw()
    half.sendall(ASK[:9])
    until(
        lambda: any(
            c.idle_since is None and c.received_bytes == 9 for c in server.listener._connections
        )
    )
    drained = asyncio.run_coroutine_threadsafe(server.listener.drain(), server.loop)
    assert is_closed(idle)
    with pytest.raises(ConnectionRefusedError):
        server.plain()
    half.sendall(ASK[9:])
    assert b"connection: close" in everything(half).lower()
    assert not drained.done()
    server.open_gate()
    reply = busy.getresponse()
    assert (reply.read(), reply.headers["Connection"]) == (b"hello", "close")
    for sock in (idle, half, busy):
        sock.close()
    drained.result(PATIENCE_S)
    assert server.listener.n_connections == 0


def test_draining_with_nothing_under_way_returns_at_once(server):
    server.run(server.listener.drain())


def test_aborting_ends_everything(gate):
    server = gate()
    socks = [server.raw() for _ in range(3)]
    for sock in socks:
        sock.sendall(ASK.replace(b"/ ", b"/gated "))
    until(lambda: server.begun == 3)
    server.run(server.listener.abort())
    assert all(is_closed(sock) for sock in socks)
    assert server.listener.n_connections == 0
    for sock in socks:
        sock.close()


def test_a_service_that_breaks_is_reported(tmp_path):
    class Broken:
        async def serve(self, connection):
            raise ZeroDivisionError

    server = Server(tmp_path, service=Broken())
    with server.raw() as sock:
        assert is_closed(sock)
    until(lambda: server.notes.failures)
    assert isinstance(server.notes.failures[0][1], ZeroDivisionError)
    server.stop()
