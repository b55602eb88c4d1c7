"""HTTP over TLS with real clients, and with clients that misbehave on purpose."""

import asyncio
import gzip
import json
import socket
import ssl
import threading
import time
import zlib
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferonnx.runtime.addresses import address_of
from inferonnx.server.bodies import PAGE_BYTES
from inferonnx.server.incoming import CONTINUE
from inferonnx.server.messages import HttpError, Reply
from serving.running import PATIENCE_S, echo, everything, until

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def post(body, *fields):
    head = (b"POST /x HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body), *fields)
    return b"\r\n".join((*head, b"", body))


def chunked(*chunks, end=b"0\r\n\r\n"):
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + end


def answers(data):
    """Return (status, headers, body) of each reply in `data`, which must be whole."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (f.partition(b":") for f in fields)}
        assert first.startswith(b"HTTP/1.1 ")
        status = int(first.split()[1])
        n = int(headers.get(b"content-length", 0))
        assert len(data) >= n
        found.append((status, headers, data[:n]))
        data = data[n:]
    return found


def error(reply):
    status, headers, body = reply
    assert headers[b"content-type"] == b"application/json"
    said = json.loads(body)
    assert list(said) == ["error"]
    return status, said["error"]


# Clients that people use.


@pytest.mark.parametrize("n", [0, 1, 16_384, 600_000, 5_000_000])
def test_curl_gets_back_what_it_sent(server, tmp_path, n):
    sent = bytes(range(251)) * (n // 251) + bytes(n % 251)
    (tmp_path / "sent").write_bytes(sent)
    for options in ([], ["-H", "Transfer-Encoding: chunked"]):
        done = server.curl("/x?y", *options, "--data-binary", f"@{tmp_path / 'sent'}")
        assert done.stdout == sent
    until(lambda: len(server.notes.answers) == 2)
    head, figures = server.notes.answers[0]
    assert (head.method, head.path, head.query) == ("POST", b"/x", b"y")
    assert (figures.status, figures.n_received, figures.n_sent) == (200, n, n)
    times = (figures.begun_s, figures.headed_s, figures.received_s, figures.replied_s)
    assert list(times) == sorted(times)
    assert 0 < times[-1] <= figures.sent_s
    assert server.budget.used_bytes == 0


def test_curl_asks_before_it_sends_much_and_is_told_to_go_on(server, tmp_path):
    (tmp_path / "sent").write_bytes(bytes(2_000_000))
    done = server.curl(
        "/x", "-v", "-H", "Expect: 100-continue", "-H", "Content-Type:", "-o", "/dev/null",
        "--data-binary", f"@{tmp_path / 'sent'}",
    )  # fmt: skip
    assert b"HTTP/1.1 100" in done.stderr
    assert b"HTTP/1.1 200" in done.stderr


@pytest.mark.parametrize(
    ("version", "body", "is_told"),
    [(b"1.1", b"x" * 9, True), (b"1.1", b"", False), (b"1.0", b"x" * 9, False)],
)
def test_who_expects_to_be_asked_is_where_there_is_something_to_ask_for(
    server, version, body, is_told
):
    data = post(body, b"Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/" + version)
    said = server.said_to(data + post(b"next", b"Connection: close"))
    assert said.count(CONTINUE) == is_told
    replies = answers(said.replace(CONTINUE, b""))
    assert [content for *_, content in replies] == [body, b"next"][: 2 if version == b"1.1" else 1]


@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_who_expects_to_be_asked_is_asked_before_it_sends_anything(server, frame):
    lines = (b"Expect: 100-continue", b"Connection: close")
    head, body = post(b"hello", *lines)[:-5], b"hello"
    if frame == "chunks":
        head = head.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
        body = b"5\r\nhello\r\n0\r\n\r\n"
    with server.raw() as sock:
        sock.sendall(head)
        assert sock.recv(1000) == CONTINUE
        sock.sendall(body)
        assert answers(everything(sock))[0][2] == b"hello"


def test_a_body_that_is_refused_before_it_is_asked_for_is_never_asked_for(start):
    async def refuse(_, __):
        raise HttpError(401, "no")

    server = start(refuse)
    with server.raw() as sock:
        sock.sendall(post(bytes(1000), b"Expect: 100-continue")[:-1000])
        ((status, headers, _),) = answers(everything(sock))
    assert (status, headers[b"connection"]) == (401, b"close")


def test_one_connection_serves_many_requests_of_pythons_client(server):
    client = server.client()
    for i in range(20):
        body = bytes([i]) * (i * 4000)
        client.request("POST", f"/{i}", body)
        assert client.getresponse().read() == body
    client.close()
    until(lambda: server.notes.n_closed == 1)
    assert server.notes.n_connected == 1


def test_many_clients_at_once(server):
    clients = [server.client() for _ in range(8)]
    for round_ in range(3):
        for i, client in enumerate(clients):
            client.request("POST", "/", bytes([i, round_]) * 100_000)
        for i, client in enumerate(clients):
            assert client.getresponse().read() == bytes([i, round_]) * 100_000
    for client in clients:
        client.close()


def test_a_body_by_iterator_and_a_streamed_upload(start):
    async def count(_, exchange):
        n = largest = 0
        async for view in exchange.chunks():
            n += len(view)
            largest = max(largest, len(view))
        return Reply(status=200, pieces=(b"%d %d" % (n, largest),))

    server = start(count, upload_bytes=3_000_000)
    client = server.client()
    for body in (bytes(3_000_000), (bytes(100_000) for _ in range(30)), b""):
        client.request("PATCH", "/u", body)
        n, largest = client.getresponse().read().split()
        assert int(n) in (3_000_000, 0)
        assert int(largest) <= 65_536
    figures = server.notes.answers[0][1]
    assert 0 < figures.headed_s <= figures.received_s <= figures.replied_s
    client.request("PATCH", "/u", b"", {"Content-Encoding": "gzip"})
    assert client.getresponse().status == 501
    client.close()
    for sent in (post(bytes(3_000_001)), chunked(bytes(3_000_001))):
        assert error(answers(server.said_to(sent))[0])[0] == 413
    assert server.budget.most_bytes == 0


def test_large_replies_come_whole(start):
    piece = bytes(range(256)) * 4096

    async def much(_, __):
        return Reply(status=200, pieces=(b"a", piece, b"", piece, memoryview(piece)[3:99], b"z"))

    server = start(much)
    assert server.curl("/").stdout == b"a" + piece + piece + piece[3:99] + b"z"


def test_head_gets_the_head_alone_and_the_connection_lives(server):
    data = post(b"hello").replace(b"POST", b"HEAD") + post(b"more", b"Connection: close")
    head, _, rest = server.said_to(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: 5" in head.lower()
    assert answers(rest)[0][2] == b"more"
    assert [figures.n_sent for _, figures in server.notes.answers] == [0, 4]


def test_a_reply_without_body_does_not_say_how_long_it_is(start):
    async def nothing(_, __):
        return Reply(status=204, headers=(("Upload-Offset", "5"),))

    server = start(nothing)
    replies = answers(server.said_to(GET + GET.replace(b"Host", b"Connection: close\r\nHost")))
    assert [status for status, _, _ in replies] == [204, 204]
    assert replies[0][1] == {b"upload-offset": b"5"}


# Codings.


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("name", ["gzip", "deflate"])
@pytest.mark.parametrize("frame", [post, lambda body, *fields: chunked(body)])
def test_compressed_requests_are_inflated(server, compress, name, frame):
    body = bytes(range(256)) * 2000
    data = frame(compress(body)).replace(
        b"Host: h", b"Host: h\r\nConnection: close\r\nContent-Encoding: " + name.encode()
    )
    assert answers(server.said_to(data))[0][2] == body


def test_curl_asks_for_one_coding_and_gets_it(server, tmp_path):
    (tmp_path / "sent").write_bytes(bytes(200_000))
    sent = ("--data-binary", f"@{tmp_path / 'sent'}")
    for coding, inflate in (("gzip", gzip.decompress), ("deflate", zlib.decompress)):
        done = server.curl("/small", "-i", "-H", f"Accept-Encoding: {coding}", *sent)
        ((_, headers, body),) = answers(done.stdout)
        assert headers[b"content-encoding"] == coding.encode()
        assert inflate(body) == bytes(200_000)
    # What names all it knows has not asked; what is no infer reply is never compressed.
    for path, accept in (("/small", "gzip, deflate, br"), ("/x", "gzip")):
        done = server.curl(path, "-i", "-H", f"Accept-Encoding: {accept}", *sent)
        ((_, headers, body),) = answers(done.stdout)
        assert b"content-encoding" not in headers
        assert body == bytes(200_000)


def test_a_bomb_is_refused_and_holds_no_memory(start):
    server = start(body_bytes=1 << 20)
    bomb = gzip.compress(bytes(100 << 20))
    for name in (b"gzip", b"br"):
        reply = answers(
            server.said_to(post(bomb, b"Connection: close", b"Content-Encoding: " + name))
        )[0]
        status, sentence = error(reply)
        assert (status, "1.0 MiB" in sentence) == ((400, True) if name == b"gzip" else (501, False))
    assert server.budget.most_bytes <= 3 << 20
    assert server.budget.used_bytes == 0


def test_a_body_that_inflates_to_much_holds_up_nobody(start):
    async def counting(server, exchange):
        turns = []

        async def turn():
            while True:
                turns.append(True)
                await asyncio.sleep(0)

        turning = asyncio.ensure_future(turn())
        body = await exchange.read_body(server.budget)
        turning.cancel()
        return Reply(status=200, pieces=(b"%d %d" % (len(body), len(turns)),))

    data = post(gzip.compress(bytes(32 << 20)), b"Content-Encoding: gzip", b"Connection: close")
    (reply,) = answers(start(counting, body_bytes=32 << 20).said_to(data))
    n_bytes, n_turns = map(int, reply[2].split())
    assert n_bytes == 32 << 20
    assert n_turns > 32 << 20 >> 17


def test_a_compressed_body_that_ends_too_early_is_refused(server):
    data = post(gzip.compress(b"x" * 1000)[:-3], b"Content-Encoding: gzip", b"Connection: close")
    (reply,) = answers(server.said_to(data))
    assert error(reply) == (400, "the compressed body ends too early")


@pytest.mark.parametrize("coding", [(), (b"Content-Encoding: gzip",)], ids=["plain", "gzip"])
@pytest.mark.parametrize("frame", [post, lambda body, *fields: chunked(body)])
def test_an_endpoint_may_take_less_than_others(start, frame, coding):
    async def little(server, exchange):
        body = await exchange.read_body(server.budget, limit_bytes=100)
        return Reply(status=200, pieces=(body,))

    server = start(little)
    for n, status in ((100, 200), (101, 400 if coding else 413)):
        body = bytes(n)
        data = frame(gzip.compress(body) if coding else body)
        lines = b"\r\n".join((b"Host: h", b"Connection: close", *coding))
        assert answers(server.said_to(data.replace(b"Host: h", lines)))[0][0] == status


# Order and endings.


def test_pipelined_requests_are_answered_in_order(server):
    sent = b"".join(post(b"%d" % i) + chunked(b"c%d" % i, b"!") for i in range(50))
    sent += post(b"last", b"Connection: close")
    replies = answers(server.said_to(sent))
    expected = [one for i in range(50) for one in (b"%d" % i, b"c%d!" % i)] + [b"last"]
    assert [body for _, _, body in replies] == expected
    assert replies[-1][1][b"connection"] == b"close"
    assert all(b"connection" not in headers for _, headers, _ in replies[:-1])


def test_a_client_that_sends_ahead_without_reading_is_held_back(start):
    begun = []

    async def slow(server, exchange):
        begun.append(exchange)
        await server.gate.wait()
        return await echo(server, exchange)

    server = start(slow)
    server.gate = asyncio.Event()
    with server.raw() as sock:
        sock.setblocking(False)
        # What the kernels of both sides take, and 16 KiB: then nothing more goes.
        sent, stuck = 0, 0
        while stuck < 20:
            try:
                sent += sock.send(post(b"x" * 10_000))
                stuck = 0
            except ssl.SSLWantWriteError:
                stuck += 1
                time.sleep(0.01)
        (connection,) = server.listener._connections
        assert len(connection._ahead) <= 3 * 16_384
        assert len(begun) == 1
        server.loop.call_soon_threadsafe(server.gate.set)


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.0\r\n", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n",
     b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n"],
)  # fmt: skip
def test_the_connection_ends_when_the_client_wants_it(server, head):
    ((status, headers, _),) = answers(server.said_to(head + b"\r\n"))
    assert (status, headers[b"connection"]) == (200, b"close")


def test_a_client_that_closes_its_side_at_once_still_gets_its_answer(server):
    # OpenSSL's command sends close_notify and FIN at the end of its input.
    with server.raw() as sock:
        sock.sendall(post(b"hello"))
        sock.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            sock.unwrap()
        raw = socket.socket(fileno=sock.detach())
        raw.shutdown(socket.SHUT_WR)
        raw.settimeout(30)
        with raw:
            everything(raw)
    until(lambda: server.notes.answers)
    assert server.notes.answers[0][1].sent_s > 0


def test_trailers_and_extensions_of_chunks_are_ignored(server):
    data = chunked(end=b'5;ext="a"\r\nhello\r\n0;x\r\nA: b\r\nC: d\r\n\r\n') + post(
        b"next", b"Connection: close"
    )
    assert [body for _, _, body in answers(server.said_to(data))] == [b"hello", b"next"]


def test_an_upgrade_is_not_taken(server):
    upgrade = b"Host: h\r\nConnection: Upgrade\r\nUpgrade: h2c"
    data = chunked(b"a").replace(b"Host: h", upgrade) + post(b"b").replace(b"Host: h", upgrade)
    replies = answers(server.said_to(data + post(b"c", b"Connection: close")))
    assert [(status, body) for status, _, body in replies] == [
        (200, b"a"),
        (200, b"b"),
        (200, b"c"),
    ]


WORDS = post(b"one") + chunked(b"two", b"2" * 20) + post(b"", b"Expect: 100-continue") + chunked()
WORDS += post(b"last", b"Connection: close")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(WORDS)), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_answers(server, cuts):
    with server.raw() as sock:
        start = 0
        for stop in (*sorted(cuts), len(WORDS)):
            sock.send(WORDS[start:stop])
            start = stop
        bodies = [body for _, _, body in answers(everything(sock))]
    assert bodies == [b"one", b"two" + b"2" * 20, b"", b"", b"last"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(WORDS)), st.integers(0, 9), st.binary(max_size=9)), max_size=4
    )
)
def test_no_damage_to_requests_harms_the_server(server, changes):
    data = WORDS
    for at, n, put in changes:
        data = data[:at] + put + data[at + n :]
    n_closed = server.notes.n_closed
    sock = server.raw()
    sock.sendall(data)
    vanish(sock, "fin")
    until(lambda: server.notes.n_closed > n_closed)
    assert server.budget.used_bytes == 0
    assert not server.notes.failures
    assert server.listener.n_connections == 0


def test_an_empty_line_before_a_request_is_forgiven_once(server):
    data = b"\r\n" + post(b"a") + b"\r\n" + post(b"b", b"Connection: close")
    assert [body for _, _, body in answers(server.said_to(data))] == [b"a", b"b"]
    status, _ = error(answers(server.said_to(b"\r\n\r\n" + GET))[0])
    assert status == 400


# What is refused.


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /" + b"a" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 64 + b"\r\n", 431),
        (post(b"", b"Content-Length: 5"), 400),
        (post(b"hello", b"Transfer-Encoding: chunked"), 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (chunked(end=b"x\r\n"), 400),
        (chunked(end=b"-1\r\n"), 400),
        (chunked(end=b"5\r\nhelloX\r\n0\r\n\r\n"), 400),
        (chunked(end=b"5\nhello\n0\n\n" + b"\r\n"), 400),
        (chunked(end=b"0\r\n\nGET"), 400),
        (chunked(end=b"0\r\nA: b\n\n"), 400),
        (chunked(end=b"0\r\n" + b"A: b\r\n" * 10_000), 400),
        (chunked(end=b"1" * 21 + b"\r\n"), 400),
        (chunked(end=b"5;" + b"e" * 40_000), 400),
        (post(b"", b"Expect: the unexpected"), 417),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
    ],
)
def test_bad_requests_get_a_sentence_and_the_end(server, data, status):
    found = answers(server.said_to(data))
    assert len(found) == 1
    assert error(found[0])[0] == status
    assert found[0][1][b"connection"] == b"close"
    assert server.curl("/").returncode == 0
    assert server.budget.used_bytes == 0


def test_a_gigabyte_of_header_is_thrown_away(server):
    with server.raw() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nA: ")
        for _ in range(1024):
            sock.sendall(b"a" * 65_536)
        (connection,) = server.listener._connections
        assert len(connection._ahead) <= 32_768
        assert error(answers(sock.recv(65_536))[0])[0] == 431
        assert server.curl("/").returncode == 0


def test_chunks_of_a_body_that_is_streamed_are_not_counted(start):
    async def streamed(_, exchange):
        async for _ in exchange.chunks():
            pass
        return Reply(status=200)

    server = start(streamed, n_chunks=10)
    data = chunked(*[b"x"] * 100).replace(b"Host: h", b"Host: h\r\nConnection: close")
    (reply,) = answers(server.said_to(data))
    assert reply[0] == 200


@pytest.mark.parametrize("n", [10, 11])
def test_chunks_are_counted(start, n):
    server = start(n_chunks=10)
    data = chunked(*[b"x"] * n).replace(b"Host: h", b"Host: h\r\nConnection: close")
    (reply,) = answers(server.said_to(data))
    assert reply[0] == (200 if n == 10 else 400)


def test_a_body_is_refused_by_its_length_before_it_is_sent(start):
    server = start(body_bytes=1000)
    sent = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n"
    # The final status comes instead of 100; then there is nothing to wait for.
    (reply,) = answers(server.said_to(sent + b"Expect: 100-continue\r\n\r\n"))
    assert error(reply) == (413, "the request's body is larger than 1000 B")
    assert reply[1][b"connection"] == b"close"
    assert server.budget.most_bytes == 0


def test_a_client_that_sends_a_refused_body_all_the_same_gets_the_answer(start):
    server = start(body_bytes=1000)
    client = server.client()
    client.request("POST", "/", bytes(20 << 20))
    reply = client.getresponse()
    assert (reply.status, reply.headers["Connection"]) == (413, "close")
    client.close()


def test_the_rest_of_a_small_refused_body_is_read_and_the_connection_lives(start):
    async def refuse(server, exchange):
        if exchange.head.path == b"/no":
            raise HttpError(401, "no", headers=(("WWW-Authenticate", "Bearer"),))
        return await echo(server, exchange)

    server = start(refuse)
    client = server.client()
    for _ in range(3):
        client.request("POST", "/no", bytes(600_000))
        reply = client.getresponse()
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert json.loads(reply.read()) == {"error": "no"}
        client.request("POST", "/x", b"yes")
        assert client.getresponse().read() == b"yes"
    client.close()
    until(lambda: server.notes.n_closed == 1)
    assert server.notes.n_connected == 1


def test_a_bug_shows_its_reference_and_nothing_else(start):
    async def fail(_, __):
        raise ZeroDivisionError("secret_layer")

    server = start(fail)
    client = server.client()
    for n in (1, 2):  # the connection lives
        client.request("POST", "/", b"x")
        reply = client.getresponse()
        assert reply.status == 500
        sentence = json.loads(reply.read())["error"]
        assert "secret" not in sentence
        reference, bug = server.notes.failures[-1]
        assert reference in sentence
        assert isinstance(bug, ZeroDivisionError)
        assert len(server.notes.failures) == n
    client.close()


def test_a_refused_body_that_does_not_come_ends_the_connection(start):
    async def refuse(_, __):
        raise HttpError(401, "no")

    server = start(refuse, grace_s=0.2)
    with server.raw() as sock:
        sock.sendall(post(bytes(1000))[:-1])
        assert [status for status, _, _ in answers(everything(sock))] == [401]


def test_a_handler_may_end_the_connection_and_know_the_length(start):
    async def last(_, exchange):
        return Reply(status=200, pieces=(repr(exchange.content_length).encode(),), close=True)

    server = start(last)
    for data, length in ((post(b"hello"), b"5"), (chunked(b"x"), b"None"), (GET, b"0")):
        ((_, headers, body),) = answers(server.said_to(data))
        assert (headers[b"connection"], body) == (b"close", length)


# Time.


def test_a_slow_head_is_answered_and_ended(start):
    server = start(head_s=0.2)
    with server.raw() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n")
        assert error(answers(everything(sock))[0])[0] == 408


def test_a_head_that_trickles_is_no_better(start):
    server = start(head_s=0.3, linger_s=0.1)
    with server.raw() as sock:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            while True:
                sock.send(b"G")
                time.sleep(0.02)
    assert server.notes.answers[0][1].status == 408


@pytest.mark.parametrize("chunks", [(), (b"x" * 999,)], ids=["first", "second"])
@pytest.mark.parametrize("size", [b"3e9", b"10000000000"])
@pytest.mark.parametrize("coding", [(), (b"Content-Encoding: gzip",)], ids=["plain", "gzip"])
def test_a_body_is_refused_as_soon_as_a_chunk_announces_too_much(start, chunks, size, coding):
    server = start(body_bytes=1000, grace_s=PATIENCE_S)
    sent = chunked(*(chunks if not coding else ()), end=size + b"\r\n")
    lines = b"\r\n".join((b"Host: h", *coding))
    (reply,) = answers(server.said_to(sent.replace(b"Host: h", lines)))
    assert error(reply) == (413, "the request's body is larger than 1000 B")
    assert reply[1][b"connection"] == b"close"


@pytest.mark.parametrize("begin", [b"", b"hello"])
@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_a_slow_body_is_answered_and_its_memory_given_back(start, begin, frame):
    server = start(grace_s=0.2, bytes_per_s=1000)
    with server.raw() as sock:
        data = post(bytes(1000))[:-1000] if frame == "length" else chunked(end=b"3e8\r\n")
        sock.sendall(data + begin)
        assert error(answers(everything(sock))[0])[0] == 408
    assert server.budget.used_bytes == 0


@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_who_sends_at_the_least_rate_is_waited_for(start, frame):
    server = start(grace_s=1, bytes_per_s=1000)
    begin, more, end = post(bytes(4000))[:-4000], bytes(100), b""
    if frame == "chunks":
        begin, more, end = chunked(end=b""), b"64\r\n" + more + b"\r\n", b"0\r\n\r\n"
    with server.raw() as sock:
        sock.sendall(begin.replace(b"Host: h", b"Host: h\r\nConnection: close"))
        for _ in range(40):
            sock.sendall(more)
            time.sleep(0.05)
        sock.sendall(end)
        assert answers(everything(sock))[0][2] == bytes(4000)
    assert server.notes.answers[0][1].n_received == 40 * len(more) + len(end)


@pytest.mark.parametrize("n_more", [0, 100])
def test_who_announces_much_must_send_much(start, n_more):
    """By the least rate alone, each of these bytes would be good for a second."""
    server = start(grace_s=0.3, bytes_per_s=1, body_s=200, linger_s=0.1)
    with server.raw() as sock:
        sock.sendall(post(bytes(10_000_000))[:-10_000_000] + bytes(100))
        with suppress(ConnectionError, ssl.SSLError):
            for _ in range(n_more):
                sock.send(b"x")
                time.sleep(0.05)
        until(lambda: server.notes.answers)
    assert server.notes.answers[0][1].status == 408
    assert server.notes.answers[0][1].n_received < 100 + max(1, n_more)
    assert server.budget.used_bytes == 0


@pytest.mark.parametrize("lines", [(), (b"Expect: 100-continue",)], ids=["sent", "expects"])
@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_who_announces_a_body_and_sends_nothing_holds_no_memory(start, lines, frame):
    """All memory is announced many times over, and whoever sends something has it at once."""
    server = start(grace_s=PATIENCE_S)
    whole = server.budget.total_bytes = 1_000_000
    head = post(bytes(whole // 2), *lines)[: -(whole // 2)]
    if frame == "chunks":
        head = head.replace(b"Content-Length: %d" % (whole // 2), b"Transfer-Encoding: chunked")
    silent = [server.raw() for _ in range(20)]
    for sock in silent:
        sock.sendall(head)
    until(lambda: sum(not c.is_idle for c in list(server.listener._connections)) == 20)
    (reply,) = answers(server.said_to(post(bytes(100_000), b"Connection: close")))
    assert (reply[0], reply[2]) == (200, bytes(100_000))
    assert server.budget.most_bytes < whole // 2
    for sock in silent:
        sock.close()


@pytest.mark.parametrize("coding", [(), (b"Content-Encoding: gzip",)], ids=["plain", "gzip"])
@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_bodies_of_which_little_has_come_hold_little(start, frame, coding):
    """All memory is announced ten times over and begun; whoever sends something has it."""
    server = start(grace_s=PATIENCE_S)
    whole = server.budget.total_bytes = 1_000_000
    head = post(bytes(whole // 2), *coding)[: -(whole // 2)]
    if frame == "chunks":
        length = b"Content-Length: %d" % (whole // 2)
        head = head.replace(length, b"Transfer-Encoding: chunked") + b"7a120\r\n"
    silent = [server.raw() for _ in range(20)]
    for sock in silent:
        sock.sendall(head + b"\x1f")
    until(lambda: server.budget.used_bytes == 20 * PAGE_BYTES)
    for _ in range(3):
        (reply,) = answers(server.said_to(post(bytes(900_000), b"Connection: close")))
        assert (reply[0], reply[2]) == (200, bytes(900_000))
    for sock in silent:
        sock.close()


def test_a_body_that_stands_still_gives_its_memory_to_who_waits(start):
    """It has sent enough for minutes by the least rate, and never has more than half a second."""
    server = start(grace_s=0.5, bytes_per_s=1000)
    whole = server.budget.total_bytes = 1_000_000
    with server.raw() as sock:
        sock.sendall(post(bytes(whole))[: 400_000 - whole])
        until(lambda: server.budget.used_bytes >= 400_000)
        (reply,) = answers(server.said_to(post(bytes(500_000), b"Connection: close")))
        assert reply[0] == 200
        assert error(answers(everything(sock))[0])[0] == 408


def test_two_bodies_that_could_not_both_end_do_so_one_after_the_other(start):
    server = start()
    whole = server.budget.total_bytes = 1_000_000
    one, other = (post(x * 800_000, b"Connection: close") for x in (b"a", b"b"))
    with server.raw() as first, server.raw() as second:
        first.sendall(one[:400_000])
        until(lambda: server.budget.used_bytes >= 400_000)
        sending = threading.Thread(target=second.sendall, args=(other,))
        sending.start()
        until(lambda: server.budget.n_waiting == 1)
        assert answers(server.said_to(post(b"c", b"Connection: close")))[0][2] == b"c"
        first.sendall(one[400_000:])
        assert b"a" * 800_000 in everything(first)
        assert b"b" * 800_000 in everything(second)
        sending.join()
    assert server.budget.most_bytes <= whole


@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_a_body_that_trickles_for_ever_ends_with_the_total(start, frame):
    server = start(body_s=0.3, grace_s=PATIENCE_S, linger_s=0.1)
    begin, more = post(bytes(10_000))[:-10_000], b"x"
    if frame == "chunks":
        begin, more = chunked(end=b""), b"1\r\nx\r\n"
    with server.raw() as sock:
        sock.sendall(begin)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            for _ in range(500):
                sock.send(more)
                time.sleep(0.02)
    assert server.notes.answers[0][1].status == 408


def test_an_idle_connection_is_closed_politely(start):
    server = start(idle_s=2)
    with server.raw() as sock:
        sock.sendall(post(b"x"))
        assert answers(everything(sock))[0][0] == 200  # ends by close_notify, no error
    assert len(server.notes.answers) == 1


def test_a_client_that_does_not_read_its_reply_is_cut_off(start):
    async def much(_, __):
        return Reply(status=200, pieces=(bytes(64 << 20),))

    server = start(much, reply_s=0.3, bytes_per_s=1 << 40)
    with server.raw() as sock:
        sock.sendall(GET)
        until(lambda: server.notes.n_closed)
        assert server.notes.answers[0][1].sent_s == 0


def test_a_large_reply_that_is_read_at_a_trickle_is_cut_off(start):
    """By the least rate alone, each of these kilobytes would be good for many minutes."""

    async def much(_, __):
        return Reply(status=200, pieces=(bytes(64 << 20),))

    server = start(much, reply_s=0.3, bytes_per_s=1, body_s=1)
    with server.raw() as sock:
        sock.sendall(GET)

        def trickle():
            with suppress(ConnectionError, ssl.SSLError):
                for _ in range(10):
                    sock.recv(1 << 14)
            return server.notes.n_closed

        until(trickle)
    assert server.notes.answers[0][1].sent_s == 0


async def hold(server, exchange):
    """Echo; but hold all memory from /hold to /free."""
    if exchange.head.path == b"/hold":
        server.held = await server.budget.reserve(server.budget.total_bytes)
    elif exchange.head.path == b"/free":
        server.held.release()
    else:
        return await echo(server, exchange)
    return Reply(status=200)


def test_who_waits_for_memory_too_long_is_told_to_come_again(start):
    server = start(hold, admission_s=0.1)
    server.curl("/hold")
    (reply,) = answers(server.said_to(post(b"x", b"Connection: close")))
    assert error(reply)[0] == 503
    assert reply[1][b"retry-after"] == b"1"


def test_a_body_waits_for_memory_while_its_client_is_held_back(start):
    server = start(hold)
    server.curl("/hold")
    client = server.client()
    waiting = threading.Thread(target=client.request, args=("POST", "/", bytes(20_000_000)))
    waiting.start()
    until(lambda: any(c._is_paused for c in list(server.listener._connections)))
    assert waiting.is_alive()
    server.curl("/free")
    waiting.join()
    assert client.getresponse().read() == bytes(20_000_000)
    client.close()


@pytest.mark.parametrize("frame", ["length", "chunks"])
def test_tensors_behind_a_head_are_in_their_places(start, frame):
    async def look(server, exchange):
        if exchange.head.method == "GET":
            return Reply(status=200)
        body = await exchange.read_body(server.budget, head_bytes=7)
        return Reply(status=200, pieces=(b"%d" % (address_of(body[7:])[1] % 64),))

    sent = bytes(100_007)
    last = GET.replace(b"Host", b"Connection: close\r\nHost")
    said = start(look).said_to((post(sent) if frame == "length" else chunked(sent)) + last)
    assert answers(said)[0][2] == b"0"


def test_what_a_handler_holds_beside_the_body_is_reserved_with_it(start):
    async def beside(server, exchange):
        body = await exchange.read_body(server.budget, beside_bytes=5000)
        assert exchange.reservation.n_bytes == server.budget.used_bytes == len(body) + 5000
        exchange.release()
        assert server.budget.used_bytes == 0
        with pytest.raises(RuntimeError, match="once"):
            await exchange.read_body(server.budget)
        return Reply(status=200, pieces=(body,))

    server = start(beside)
    assert answers(server.said_to(post(b"x", b"Connection: close")))[0][2] == b"x"
    assert not server.notes.failures


# Clients that vanish.


@pytest.mark.parametrize(
    "data", [b"", GET[:9], post(b"x" * 100)[:-50], chunked(b"abc", end=b"5\r")]
)
@pytest.mark.parametrize("how", ["fin", "reset", "close_notify"])
def test_clients_that_vanish_before_their_request_is_whole(server, data, how):
    sock = server.raw()
    sock.sendall(data)
    vanish(sock, how)
    until(lambda: server.notes.n_closed == 1)
    assert server.budget.used_bytes == 0
    assert all(figures.status == 0 for _, figures in server.notes.answers)
    assert server.curl("/").returncode == 0


@pytest.mark.parametrize("how", ["fin", "reset", "close_notify"])
def test_a_handler_hears_that_its_client_has_left(start, how):
    heard = []

    async def wait(server, exchange):
        await exchange.read_body(server.budget)
        heard.append("begun")
        await exchange.gone.wait()
        heard.append("gone")
        return Reply(status=200, pieces=(b"for nobody",))

    server = start(wait)
    sock = server.raw()
    sock.sendall(post(bytes(100_000)))
    until(lambda: heard == ["begun"])
    vanish(sock, how)
    until(lambda: heard == ["begun", "gone"])
    until(lambda: server.notes.n_closed == 1)
    assert server.budget.used_bytes == 0


def test_a_client_that_vanishes_during_the_reply(start):
    async def much(_, __):
        return Reply(status=200, pieces=(bytes(64 << 20),))

    server = start(much)
    sock = server.raw()
    sock.sendall(GET)
    sock.recv(1000)
    vanish(sock, "reset")
    until(lambda: server.notes.n_closed == 1)
    assert server.notes.answers[0][1].sent_s == 0


def vanish(sock, how):
    if how == "close_notify":
        sock.setblocking(False)
        with pytest.raises(ssl.SSLError):  # it waits for the server's, or a reply comes first
            sock.unwrap()
    elif how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
