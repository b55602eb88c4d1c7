"""The proxy between real clients (http.client, curl, raw sockets) and a scripted TLS server."""

import asyncio
import http.client
import json
import socket
import subprocess
import threading
from contextlib import ExitStack, suppress

import pytest

from inferonnx.client.client import make_target
from inferonnx.client.local import listening, parse_local
from inferonnx.client.proxy import Proxy, ProxySettings
from inferonnx.errors import AttestationError
from machine import tool
from scripted import PATIENCE_S, Certificate, answering


class Counting:
    """A policy that counts, and refuses when it is told to."""

    def __init__(self):
        self.facts, self.refuses = [], False

    def verify(self, facts):
        self.facts.append(facts)
        if self.refuses:
            raise AttestationError("it is not what it was")


class Running:
    """A proxy in the loop of another thread."""

    def __init__(self, loop, target, place, told, **settings):
        self.loop, self.told = loop, told
        self._stack = ExitStack()
        self.sockets = self._stack.enter_context(listening(parse_local(place)))
        self.stop = asyncio.Event()
        self.proxy = Proxy(target, ProxySettings(**settings), told=told.append)
        self._done = asyncio.run_coroutine_threadsafe(
            self.proxy.run(self.sockets, self.stop), loop.loop
        )

    @property
    def port(self):
        return self.sockets[0].getsockname()[1]

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method="GET", path="/x", body=None, headers=(), **more):
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers), **more)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def raw(self, data):
        """Send bytes and return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S) as sock:
            sock.sendall(data)
            pieces = []
            while piece := sock.recv(65536):
                pieces.append(piece)
            return b"".join(pieces)

    def end(self):
        self.loop.loop.call_soon_threadsafe(self.stop.set)
        self._done.result(PATIENCE_S)
        self._stack.close()


@pytest.fixture
def policy():
    return Counting()


@pytest.fixture
def start(loop, policy):
    """Start a proxy in front of a server."""
    running = []

    def begin(server, place="127.0.0.1:0", *, token=None, url=None, **settings):
        target = make_target(
            url or server.url(), ca=server.certificate.ca, policy=policy, token=token
        )
        running.append(Running(loop, target, place, [], **settings))
        return running[-1]

    yield begin
    for proxy in running:
        proxy.end()


def test_requests_and_answers_pass_through(serve, start):
    server = serve(answering((201, b"answer", {"X_Some": "Thing", "Keep_Alive": "timeout=5"})))
    status, body, headers = start(server).ask(
        "POST",
        "/v2/models/m/infer?x=1",
        b"question",
        {"X-Mine": "1", "Connection": "X-Drop, close", "X-Drop": "1"},
    )
    assert (status, body, headers["x-some"]) == (201, b"answer", "Thing")
    assert "keep-alive" not in headers
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/v2/models/m/infer?x=1", b"question")
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert asked.headers["x-mine"] == "1"
    assert not {"x-drop", "connection", "authorization"} & set(asked.headers)


def test_header_names_keep_their_case(serve, start):
    seen = []

    def script(link):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += link.sock.recv(65536)
        seen.append(data)
        link.raw(
            b"HTTP/1.1 200 OK\r\nX-StrAnge: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )

    proxy = start(serve(script))
    answer = proxy.raw(
        b"GET /x HTTP/1.1\r\nHost: localhost:%d\r\nX-cAsE: a\r\nConnection: close\r\n\r\n"
        % proxy.port
    )
    assert b"\r\nX-cAsE: a\r\n" in seen[0]
    assert b"\r\nX-StrAnge: 1\r\n" in answer


def test_old_clients_without_a_host_are_refused(serve, start):
    server = serve(answering((200, b"secret")))
    assert start(server).raw(b"GET /x HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 421 ")
    assert server.n_connections == 0


@pytest.mark.parametrize("named", ["Content-Length", "Transfer-Encoding", "Host"])
def test_what_frames_a_message_is_of_no_one_connection(serve, start, named):
    """What a client names in `Connection` is dropped: the body would be the next request."""
    server = serve(answering((200, b"yes")))
    proxy = start(server)
    head = f"POST /x HTTP/1.1\r\nHost: localhost:{proxy.port}\r\nConnection: close, {named}\r\n"
    if named == "Transfer-Encoding":
        said = proxy.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".encode())
    else:
        said = proxy.raw(f"{head}Content-Length: 3\r\n\r\nabc".encode())
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"yes")
    (asked,) = server.asked
    assert (asked.body, asked.headers["host"]) == (b"abc", f"127.0.0.1:{server.port}")


def test_large_bodies_pass_both_ways_in_chunks_or_with_a_length(serve, start):
    body = bytes(range(256)) * 20_000

    def echo(link):
        while (asked := link.request()) is not None:
            link.reply(200, asked.body)

    proxy = start(serve(echo))
    assert proxy.ask("POST", body=body)[1] == body
    assert proxy.ask("POST", body=iter([body, body]), encode_chunked=True)[1] == body * 2


def test_chunked_answers_pass(serve, start):
    def script(link):
        link.request()
        link.raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        link.request()

    proxy = start(serve(script))
    assert proxy.ask()[1] == b"abcde"


def test_heads_without_a_body_pass(serve, start):
    def script(link):
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
        link.request()

    status, body, headers = start(serve(script)).ask("HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", "1234")


def test_one_local_and_one_upstream_connection_serve_many_requests(serve, start, policy):
    server = serve(answering((200, b"1"), (404, b"2"), (204, b""), (200, b"4")))
    connection = start(server).connect()
    answers = []
    for _ in range(4):
        connection.request("GET", "/x")
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
    connection.close()
    assert answers == [(200, b"1"), (404, b"2"), (204, b""), (200, b"4")]
    assert server.n_connections == len(policy.facts) == 1


def test_pipelined_requests_are_answered_in_order(serve, start):
    proxy = start(serve(answering((200, b"one"), (200, b"two"))))
    head = b"GET /x HTTP/1.1\r\nHost: localhost:%d\r\n" % proxy.port
    answer = proxy.raw(head + b"\r\n" + head + b"Connection: close\r\n\r\n")
    assert answer.index(b"one") < answer.index(b"two")


def test_curl_waits_for_its_continue(serve, start, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * 3_000_000)

    def script(link):
        link.event()
        link.raw(b"HTTP/1.1 100 Continue\r\n\r\n")
        n = 0
        while hasattr(event := link.event(), "data"):
            n += len(event.data)
        link.reply(200, str(n).encode())
        link.request()

    proxy = start(serve(script))
    done = subprocess.run(
        [
            *(tool("curl"), "-sS", "--max-time", "20", "-H", "Expect: 100-continue"),
            *("--data-binary", f"@{tmp_path / 'body'}", f"http://127.0.0.1:{proxy.port}/x"),
        ],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"3000000"


def test_an_early_refusal_reaches_the_client(serve, start):
    def refuse(link):
        link.event()
        link.raw(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        while link.sock.recv(1 << 20):
            pass

    status, body, _ = start(serve(refuse)).ask("POST", body=bytes(8 << 20))
    assert (status, body) == (413, b"big")


def test_a_unix_socket_serves_curl(serve, start, tmp_path):
    path = tmp_path / "proxy.sock"
    start(serve(answering((200, b"by path"))), f"unix:{path}")
    done = subprocess.run(
        [tool("curl"), "-sS", "--max-time", "20", "--unix-socket", path, "http://whatever/x"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"by path"


def test_a_prefix_and_a_token_are_added(serve, start):
    server = serve(answering((200, b"")))
    proxy = start(server, token="ifx_secret", url=server.url() + "/pre")
    proxy.ask()
    proxy.ask(headers={"Authorization": "Bearer mine"})
    assert [a.path for a in server.asked] == ["/pre/x"] * 2
    assert [a.headers["authorization"] for a in server.asked] == [
        "Bearer ifx_secret",
        "Bearer mine",
    ]


# What is not for this proxy.


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_a_request_that_calls_it_by_another_name_is_refused(serve, start, host):
    server = serve(answering((200, b"secret")))
    proxy = start(server)
    status, body, _ = proxy.ask(headers={"Host": host.format(port=proxy.port)})
    assert status == 421
    assert "is not one of this proxy's names" in json.loads(body)["error"]
    assert server.n_connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "LocalHost:{port}", "[::1]:{port}"])
def test_its_own_names_are_taken(serve, start, host):
    proxy = start(serve(answering((200, b"yes"))))
    assert proxy.ask(headers={"Host": host.format(port=proxy.port)})[1] == b"yes"


def test_two_hosts_or_none_are_refused(serve, start):
    server = serve(answering((200, b"secret")))
    proxy = start(server)
    own = b"Host: localhost:%d\r\n" % proxy.port
    for head in (b"GET /x HTTP/1.1\r\n\r\n", b"GET /x HTTP/1.1\r\n" + own * 2 + b"\r\n"):
        assert proxy.raw(head).startswith(b"HTTP/1.1 400 ")
    assert server.n_connections == 0


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://evil.example:{port}"])
def test_pages_of_other_origins_are_refused(serve, start, origin):
    server = serve(answering((200, b"secret")))
    proxy = start(server)
    headers = {"Origin": origin.format(port=proxy.port), "Content-Type": "text/plain"}
    assert proxy.ask("POST", body=b"{}", headers=headers)[0] == 403
    assert server.n_connections == 0
    own = {"Origin": f"http://localhost:{proxy.port}"}
    assert proxy.ask("POST", body=b"{}", headers=own)[0] == 200


@pytest.mark.parametrize(
    "line", [b"CONNECT evil.example:443", b"CONNECT /x", b"GET http://evil.example/x", b"OPTIONS *"]
)
def test_other_targets_are_refused(serve, start, line):
    server = serve(answering((200, b"secret")))
    proxy = start(server)
    answer = proxy.raw(line + b" HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % proxy.port)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert server.n_connections == 0


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /x HTTP/1.1\r\nX: " + b"y" * 70_000,
        b"garbage\r\n\r\n",
    ],
    ids=["tls", "h2", "lengths", "head", "other"],
)
def test_what_is_no_request_is_refused(serve, start, data):
    server = serve(answering((200, b"secret")))
    answer = start(server).raw(data)
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 505")
    assert server.n_connections == 0


def test_a_head_that_does_not_come_to_its_end(serve, start, monkeypatch):
    monkeypatch.setattr("inferonnx.client.relay.HEAD_S", 0.1)
    server = serve(answering((200, b"secret")))
    assert start(server).raw(b"GET /x HTTP/1.1\r\nHost:").startswith(b"HTTP/1.1 408 ")
    assert server.n_connections == 0


def test_a_client_that_says_nothing_is_let_go(serve, start, monkeypatch):
    monkeypatch.setattr("inferonnx.client.relay.IDLE_S", 0.1)
    assert start(serve(answering((200, b"")))).raw(b"") == b""


# The server.


def test_nothing_goes_to_a_server_that_the_policy_refuses(serve, start, policy):
    server = serve(answering((200, b"secret")))
    proxy = start(server)
    policy.refuses = True
    for _ in range(2):
        status, body, _ = proxy.ask("POST", body=b"confidential")
        assert (status, json.loads(body)) == (502, {"error": "it is not what it was"})
    policy.refuses = False
    assert proxy.ask()[0] == 200
    assert [a.method for a in server.asked] == ["GET"]
    assert proxy.told == [
        "the server can't be used: it is not what it was",
        "the server can be used again",
    ]


def test_nothing_goes_to_a_server_with_another_certificate(serve, start, tmp_path, certificate):
    server = serve(
        answering((200, b"secret")), certificate=Certificate(tmp_path / "x", "127.0.0.1")
    )

    class Other:
        url = server.url
        certificate = None

    Other.certificate = certificate
    status, body, _ = start(Other).ask("POST", body=b"confidential")
    assert status == 502
    assert "is not trusted" in json.loads(body)["error"]
    assert not server.asked


def test_a_connection_is_verified_again_at_its_greatest_age(serve, start, policy):
    server = serve(answering((200, b"")))
    proxy = start(server)
    proxy.ask()
    proxy.ask()
    assert len(policy.facts) == 1
    proxy.proxy._settings = ProxySettings(max_age_s=0)
    proxy.ask()
    assert len(policy.facts) == server.n_connections == 2
    policy.refuses = True
    assert proxy.ask()[0] == 502
    assert len(server.asked) == 3


def test_a_server_that_is_away_and_comes_back(start, certificate, serve):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    class Away:
        certificate = None

        @staticmethod
        def url():
            return f"https://127.0.0.1:{port}"

    Away.certificate = certificate
    status, body, headers = start(Away).ask()
    assert (status, headers["content-type"]) == (502, "application/json")
    assert "Connection refused" in json.loads(body)["error"]


def test_a_stale_upstream_connection_is_no_error_where_asking_twice_does_no_harm(serve, start):
    def stale(link):
        link.request()
        link.reply(200, b"first")
        link.request()
        link.cut()

    server = serve(stale, answering((200, b"second")), stale, answering((200, b"")))
    proxy = start(server)
    assert [proxy.ask()[1] for _ in range(2)] == [b"first", b"second"]
    assert len(server.asked) == 3


def test_a_server_that_leaves_instead_of_answering_is_a_502(serve, start):
    def leave(link):
        link.request()
        link.cut()

    status, body, _ = start(serve(leave)).ask("POST", body=b"x")
    assert status == 502
    assert "without an answer" in json.loads(body)["error"]


def test_an_answer_that_breaks_off_breaks_off(serve, start):
    def break_off(link):
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        link.cut()

    with pytest.raises(http.client.IncompleteRead):
        start(serve(break_off)).ask()


def test_an_answer_without_a_length_that_is_cut_is_not_passed_off_as_whole(serve, start):
    def cut(link):
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\n\r\nonly this")
        link.cut()

    proxy = start(serve(cut))
    answer = proxy.raw(b"GET /x HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % proxy.port)
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")  # the last chunk never comes


# Clients that leave, and the end.


def test_a_client_that_leaves_ends_its_upstream_connection(serve, start):
    arrived, left = threading.Event(), threading.Event()

    def script(link):
        link.request()
        arrived.set()
        with suppress(OSError):
            link.sock.recv(1)
        left.set()

    proxy = start(serve(script))
    connection = proxy.connect()
    connection.request("GET", "/x")
    assert arrived.wait(PATIENCE_S)
    connection.close()
    assert left.wait(PATIENCE_S)


def test_more_clients_than_there_is_room_for(serve, start):
    proxy = start(serve(answering((200, b""))), max_connections=1)
    first = proxy.connect()
    first.request("GET", "/x")
    assert first.getresponse().read() == b""
    assert proxy.ask()[0] == 503
    first.close()


def test_what_is_under_way_finishes_when_it_ends(serve, start):
    arrived, go_on = threading.Event(), threading.Event()

    def script(link):
        link.request()
        arrived.set()
        go_on.wait(PATIENCE_S)
        link.reply(200, b"finished")
        link.request()

    proxy = start(serve(script))
    idle = proxy.connect()
    idle.connect()
    busy = proxy.connect()
    busy.request("GET", "/x")
    assert arrived.wait(PATIENCE_S)
    proxy.loop.loop.call_soon_threadsafe(proxy.stop.set)
    assert idle.sock.recv(1) == b""
    go_on.set()
    assert busy.getresponse().read() == b"finished"
    idle.close()
    busy.close()


def test_it_verifies_before_it_begins(serve, start, policy, loop):
    proxy = start(serve(answering((200, b""))))
    facts = loop.run(proxy.proxy.verify())
    assert facts.public_key_hash == policy.facts[0].public_key_hash
    policy.refuses = True
    assert proxy.ask()[0] == 200  # on the connection that was verified
    assert len(policy.facts) == 1
