"""A connection as services use it: what comes, what goes, and who is held back."""

import asyncio
import socket
import ssl
import subprocess
import threading

import pytest

from inferonnx.server.connection import Connection, ReceiveBuffer
from inferonnx.server.limits import AHEAD_BYTES, FEED_BYTES, RECEIVE_BYTES, SEND_BYTES
from inferonnx.server.peer import ClientGoneError, Peer
from machine import tool
from serving.running import PATIENCE_S, until


class Handed:
    """A service that hands its connections to the test, and holds them until it is told."""

    def __init__(self):
        self.connections = []

    async def serve(self, connection):
        self.connections.append(connection)
        self.done = asyncio.Event()
        await self.done.wait()
        await connection.close()


@pytest.fixture
def pair(start):
    """A server, the client's socket, and the server's connection."""
    service = Handed()
    server = start(service=service)
    sock = server.raw()
    until(lambda: service.connections)
    yield server, sock, service.connections[0]
    server.loop.call_soon_threadsafe(service.done.set)
    sock.close()


def test_what_comes_is_read_and_put_back(pair):
    server, sock, connection = pair
    sock.sendall(b"hello")
    assert server.run(connection.read()) == b"hello"
    sock.sendall(b"world")
    until(lambda: connection.received_bytes == 10)
    connection.unread(b"llo ")
    connection.unread(b"")
    assert server.run(connection.read()) == b"llo world"
    assert (connection.received_bytes, connection.alpn) == (10, None)
    assert connection.peer.address == "127.0.0.1"
    assert connection.peer.port == sock.getsockname()[1]


@pytest.mark.parametrize("n", [1, AHEAD_BYTES, RECEIVE_BYTES, 1_000_000])
def test_a_view_is_filled_in_place(pair, n):
    server, sock, connection = pair
    data = bytes(range(250)) * (n // 250) + bytes(n % 250)
    memory = bytearray(n + 10)

    async def fill():
        view, at = memoryview(memory)[:n], 0
        while at < n:
            at += await connection.read_into(view[at:])

    sender = threading.Thread(target=sock.sendall, args=(data + b"behind",))
    sender.start()
    server.run(fill())
    sender.join()
    assert memory == data + bytes(10)  # nothing beyond the view
    assert server.run(connection.read()) == b"behind"[: len(b"behind")]


def test_what_is_there_already_is_copied_into_a_view(pair):
    server, sock, connection = pair
    sock.sendall(b"hello")
    until(lambda: connection.received_bytes == 5)
    memory = bytearray(3)
    assert server.run(connection.read_into(memoryview(memory))) == 3
    assert memory == b"hel"
    assert server.run(connection.read()) == b"lo"


def test_waiting_has_an_end(pair):
    server, sock, connection = pair
    with pytest.raises(TimeoutError):
        server.run(connection.read(timeout_s=0.05))
    with pytest.raises(TimeoutError):
        server.run(connection.read_into(memoryview(bytearray(5)), timeout_s=0.05))
    sock.sendall(b"late")
    assert server.run(connection.read(timeout_s=PATIENCE_S)) == b"late"


def test_a_handshake_that_failed_before_it_was_awaited_is_known(start):
    seen = []

    server = start(service=Handed())

    async def accept():
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        with socket.create_connection(listening.getsockname()) as client:
            sock, _ = await server.loop.sock_accept(listening)
            peer = Peer(address="127.0.0.1", port=0)
            connection = Connection(server.identity.context("http/1.1"), peer, ReceiveBuffer())
            await server.loop.connect_accepted_socket(lambda: connection, sock)
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while not connection.is_ended:
                await asyncio.sleep(0.001)
            try:
                await connection.handshake()
            except ssl.SSLError as error:
                seen.append(error.reason)
            connection.abort()
        listening.close()

    server.run(accept())
    assert seen == ["HTTP_REQUEST"]


def test_nobody_reads_and_the_client_is_held_back(pair):
    server, sock, connection = pair
    sender = threading.Thread(target=sock.sendall, args=(bytes(30_000_000),))
    sender.start()
    until(lambda: connection._is_paused)
    assert AHEAD_BYTES <= len(connection._ahead) <= 3 * AHEAD_BYTES
    assert sender.is_alive()

    async def count():
        n = 0
        while n < 30_000_000:
            n += len(await connection.read())
        return n

    assert server.run(count()) == 30_000_000
    sender.join()


def test_the_client_does_not_read_and_the_server_is_held_back(pair):
    server, sock, connection = pair
    sent = []

    async def send():
        while True:
            connection.write((bytes(SEND_BYTES),))
            sent.append(SEND_BYTES)
            await connection.drain(timeout_s=0.2)

    with pytest.raises(TimeoutError):
        server.run(send())
    assert connection._transport.get_write_buffer_size() <= SEND_BYTES + 1024
    got = 0
    while got < sum(sent):
        got += len(sock.recv(65_536))
    server.run(connection.drain(timeout_s=PATIENCE_S))
    assert connection.sent_bytes == sum(sent)


@pytest.mark.parametrize("how", ["close_notify", "fin", "reset"])
def test_the_end_wakes_who_waits(pair, how):
    server, sock, connection = pair

    async def wait():
        return await asyncio.gather(connection.read(), connection.on_end().wait())

    waiting = asyncio.run_coroutine_threadsafe(wait(), server.loop)
    if how == "close_notify":
        sock.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            sock.unwrap()
    else:
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    assert waiting.result(PATIENCE_S) == [b"", True]
    assert connection.is_ended
    assert connection.on_end().is_set()
    assert server.run(connection.read()) == b""
    assert server.run(connection.read_into(memoryview(bytearray(1)))) == 0


def test_what_came_before_the_end_can_still_be_read(pair):
    server, sock, connection = pair
    sock.sendall(b"last words")
    sock.close()
    until(lambda: connection.is_ended)
    assert server.run(connection.read()) == b"last words"
    assert server.run(connection.read()) == b""


@pytest.mark.parametrize("end", ["close_notify", "damage"])
def test_what_comes_after_the_end_is_not_kept(pair, end):
    _, sock, connection = pair
    if end == "close_notify":
        sock.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            sock.unwrap()
    raw = socket.socket(fileno=sock.detach())
    raw.settimeout(PATIENCE_S)
    record = b"\x17\x03\x03\x40\x00" + bytes(0x4000)
    with raw:
        raw.sendall(record * 1000)
        until(lambda: connection.is_ended)
        assert connection._incoming.pending <= FEED_BYTES
        assert not connection._ahead


def test_writing_to_a_lost_connection_says_so(pair):
    server, sock, connection = pair
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    until(lambda: connection._is_lost)

    async def write():
        connection.write((b"x",))

    for ask in (write, connection.drain):
        with pytest.raises(ClientGoneError):
            server.run(ask())
    server.run(connection.close())
    connection.abort()


def test_damaged_records_end_the_connection_with_an_alert(pair):
    server, sock, connection = pair
    raw = socket.socket(fileno=sock.detach())
    raw.settimeout(PATIENCE_S)
    raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert server.run(connection.read()) == b""
    assert connection.is_ended
    assert raw.recv(1000)[:1] in (b"\x15", b"\x17")  # an alert, encrypted in TLS 1.3

    async def write():
        connection.write((b"x",))

    with pytest.raises(ClientGoneError):
        server.run(write())
    raw.close()


def test_closing_says_goodbye(pair):
    server, sock, connection = pair

    async def finish():
        connection.write((b"bye",))
        await connection.close()

    server.run(finish())
    assert sock.recv(100) == b"bye"
    assert sock.recv(100) == b""  # close_notify: else it is an error
    assert connection.is_closing


def test_closing_throws_away_what_still_comes(pair):
    server, sock, connection = pair
    closing = asyncio.run_coroutine_threadsafe(connection.close(linger_s=PATIENCE_S), server.loop)
    sock.sendall(bytes(5_000_000))
    assert sock.recv(100) == b""
    assert not closing.done()
    sock.close()
    closing.result(PATIENCE_S)
    assert connection.received_bytes == 0


def test_keys_may_be_updated_on_the_way(pair):
    server, _, _ = pair
    command = [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as client:

        def tell(line):
            client.stdin.write(line)
            client.stdin.flush()

        until(lambda: len(server._service.connections) == 2)
        connection = server._service.connections[1]

        async def answer(said):
            connection.write((said,))

        for line in (b"hello\n", b"world\n"):
            tell(b"K\n")  # the command updates its own key and asks for ours
            assert any(said == b"KEYUPDATE\n" for said in client.stdout)
            tell(line)
            assert server.run(connection.read(timeout_s=PATIENCE_S)) == line
            server.run(answer(line.upper()))
            assert any(said == line.upper() for said in client.stdout)
