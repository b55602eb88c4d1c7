"""Both transports against real sockets: the same scenarios, the same outcomes."""

import asyncio
import socket
import threading
import time
from contextlib import suppress

import pytest

from inferonnx.client.async_client import AsyncClient
from inferonnx.client.channel import ConnectionLostError
from inferonnx.client.client import Client
from inferonnx.client.connections import ServerChangedError
from inferonnx.client.messages import Pause, Request
from inferonnx.errors import (
    AttestationError,
    CertificateError,
    DeadlineError,
    ServerIdentityError,
    UnavailableError,
)
from inferonnx.oip import BadReplyError
from scripted import PATIENCE_S, Certificate, answering


def ask(**fields):
    """Return the operation that is one request."""
    response = yield Request(**({"method": "GET", "path": "/x"} | fields))
    return response


def post(body=b"question", **fields):
    return ask(**({"method": "POST", "pieces": (body,)} | fields))


def test_a_request_and_its_answer(serve, connect):
    server = serve(answering((200, b"answer", {"X_Some": "thing"})))
    response = connect(server).perform(post(headers=(("X-Mine", "1"),)))
    assert (response.status, response.body) == (200, b"answer")
    assert response.headers["x-some"] == "thing"
    assert response.key_hash == server.certificate.hash
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/x", b"question")
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert asked.headers["x-mine"] == "1"
    assert asked.headers["user-agent"] == "inferonnx"
    assert "authorization" not in asked.headers


def test_a_large_body_goes_and_comes(serve, connect):
    body = bytes(range(256)) * 20_000

    def script(link):
        link.reply(200, link.request().body)
        link.request()

    assert connect(serve(script)).perform(post(body)).body == body


def test_one_connection_serves_many_requests(serve, connect):
    server = serve(answering((200, b"1"), (404, b"2"), (204, b""), (200, b"4")))
    client = connect(server)
    bodies = [client.perform(post()).body for _ in range(4)]
    assert bodies == [b"1", b"2", b"", b"4"]
    assert server.n_connections == 1


def test_concurrent_requests_have_a_connection_each(serve, connect):
    together = threading.Barrier(3, timeout=PATIENCE_S)

    def script(link):
        while link.request() is not None:
            together.wait()
            link.reply(200)

    server = serve(script)
    client = connect(server)
    threads = [threading.Thread(target=lambda: client.perform(ask())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert server.n_connections == 3


def test_a_token_goes_where_it_is_wanted(serve, connect):
    server = serve(answering((200, b"")))
    client = connect(server, token="ifx_secret")
    client.perform(ask())
    client.perform(ask(wants_token=False))
    assert [a.headers.get("authorization") for a in server.asked] == ["Bearer ifx_secret", None]


def test_an_answer_that_ends_with_the_connection_is_whole_if_tls_says_so(serve, connect):
    def whole(link):
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        link.sock.unwrap()

    def cut(link):
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\n\r\nsome of it")
        link.cut()

    client = connect(serve(whole, cut))
    assert client.perform(ask()).body == b"all of it"
    with pytest.raises(ConnectionLostError, match="in the middle"):
        client.perform(ask())


def test_interim_answers_are_passed_over_but_not_for_ever(serve, connect):
    def some(link):
        link.request()
        link.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 3)
        link.reply(200, b"real")

    def endless(link):
        link.request()
        link.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 40)
        link.request()

    client = connect(serve(some, endless))
    assert client.perform(ask()).body == b"real"
    with pytest.raises(BadReplyError, match="never comes"):
        client.perform(ask())


# Early answers.


def test_a_refusal_before_the_body_is_read_is_heard(serve, connect):
    def refuse(link):
        link.event()
        link.raw(
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 15\r\nConnection: close\r\n\r\n"
            b'{"error":"big"}'
        )
        while link.sock.recv(1 << 20):  # linger, as good servers do
            pass

    server = serve(refuse, answering((200, b"small")))
    client = connect(server)
    response = client.perform(post(bytes(64 << 20)))
    assert (response.status, response.body) == (413, b'{"error":"big"}')
    assert client.perform(post()).body == b"small"
    assert server.n_connections == 2


# Connections that end.


def until_stale(client):
    """Wait until a client's only idle connection is known to be closed."""
    transport = getattr(client, "_client", client)._transport
    ((_, connection),) = transport._idle._idle
    end = time.monotonic() + PATIENCE_S
    while not connection.is_stale:
        assert time.monotonic() < end
        time.sleep(0.005)


def stale(link):
    """Answer once, then close without a word."""
    link.request()
    link.reply(200, b"first")
    link.request()
    link.cut()


def test_a_stale_connection_is_no_error_where_asking_twice_does_no_harm(serve, connect):
    server = serve(stale, answering((200, b"second")))
    client = connect(server)
    assert client.perform(ask(may_repeat=True)).body == b"first"
    assert client.perform(post(may_repeat=True)).body == b"second"
    assert [a.body for a in server.asked] == [b"", b"question", b"question"]


def test_a_stale_connection_is_an_error_where_it_might(serve, connect):
    server = serve(stale, answering((200, b"second")))
    client = connect(server)
    client.perform(ask())
    with pytest.raises(ConnectionLostError, match="without an answer") as caught:
        client.perform(post())
    assert not caught.value.is_answered
    assert len(server.asked) == 2


def test_a_connection_that_was_seen_to_close_is_not_used(serve, connect):
    closed = threading.Event()

    def script(link):
        link.request()
        link.reply(200, b"first")
        link.cut()
        closed.set()

    server = serve(script, answering((200, b"second")))
    client = connect(server)
    client.perform(ask())
    assert closed.wait(PATIENCE_S)
    until_stale(client)
    assert client.perform(post()).body == b"second"
    assert len(server.asked) == 2


def test_a_new_connection_that_ends_is_not_tried_again(serve, connect):
    def leave(link):
        link.request()
        link.cut()

    server = serve(leave)
    with pytest.raises(ConnectionLostError):
        connect(server).perform(ask(may_repeat=True))
    assert len(server.asked) == 1


def test_an_answer_that_breaks_off_is_not_asked_for_again(serve, connect):
    def break_off(link):
        link.request()
        link.reply(200, b"first")
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        link.cut()

    server = serve(break_off)
    client = connect(server)
    client.perform(ask())
    with pytest.raises(ConnectionLostError, match="in the middle") as caught:
        client.perform(ask(may_repeat=True))
    assert caught.value.is_answered
    assert len(server.asked) == 2


def test_what_comes_unasked_ends_a_connection(serve, connect):
    def chatty(link):
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n")
        link.request()

    server = serve(chatty, answering((200, b"b")))
    client = connect(server)
    assert [client.perform(ask()).body for _ in range(2)] == [b"a", b"b"]


# Answers that are none.


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
    ],
    ids=["other", "length", "lengths", "head", "coding", "long", "chunks"],
)
def test_what_is_no_answer_is_refused(serve, connect, answer):
    def script(link):
        link.request()
        link.raw(answer)
        link.request()

    with pytest.raises(BadReplyError):
        connect(serve(script)).perform(ask(max_reply_bytes=1000))


def test_what_is_no_tls_is_refused(connect, certificate):
    class Plain:
        def __init__(self, listening):
            self.certificate = certificate
            self.port = listening.getsockname()[1]

        def url(self, host):
            return f"https://{host}:{self.port}"

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with listening.accept()[0] as sock:
                sock.recv(100)
                sock.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnavailableError, match="no TLS with"):
            connect(Plain(listening)).perform(ask())
        thread.join()


# Time.


def test_a_timeout_is_total(serve, connect):
    def drip(link):
        link.request()
        link.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            link.raw(b"x")
            time.sleep(0.02)

    server = serve(drip)
    client = connect(server, timeout=0.5)
    # Each byte comes in time, and all of them would: only the whole is too late.
    with pytest.raises(DeadlineError, match=r"within 0.5 seconds"):
        client.perform(ask())


def test_a_timeout_holds_while_sending(serve, connect):
    done = threading.Event()

    def deaf(link):
        done.wait(PATIENCE_S)

    client = connect(serve(deaf), timeout=0.5)
    with pytest.raises(DeadlineError):
        client.perform(post(bytes(64 << 20)))
    done.set()


def test_a_timeout_holds_for_the_handshake(connect, certificate):
    class Silent:
        def __init__(self, listening):
            self.certificate = certificate
            self.port = listening.getsockname()[1]

        def url(self, host):
            return f"https://{host}:{self.port}"

    with socket.create_server(("127.0.0.1", 0)) as listening:
        with pytest.raises(DeadlineError):
            connect(Silent(listening), timeout=0.3).perform(ask())


def test_a_timeout_holds_for_one_request_and_for_all(serve, connect):
    def slow(link):
        while link.request() is not None:
            time.sleep(0.3)
            link.reply(200)

    def several():
        for _ in range(100):
            yield Request(method="GET", path="/x")

    server = serve(slow)
    with pytest.raises(DeadlineError, match=r"within 0.1 seconds"):
        connect(server).perform(ask(timeout_s=0.1))
    with pytest.raises(DeadlineError, match=r"within 0.7 seconds"):
        connect(server).perform(several(), 0.7)
    with pytest.raises(DeadlineError, match=r"within 0.2 seconds"):
        connect(server).perform(iter_pause(), 0.2)


def iter_pause():
    yield Pause(60)


def test_an_operation_goes_on_after_a_pause(serve, connect):
    def wait():
        yield Pause(0.01)
        return (yield Request(method="GET", path="/x")).body

    assert connect(serve(answering((200, b"later")))).perform(wait()) == b"later"


def test_an_operation_may_know_a_way_on(serve, connect):
    def steps():
        try:
            yield Request(method="GET", path="/x")
        except ConnectionLostError:
            return (yield Request(method="GET", path="/y")).body

    def leave(link):
        link.request()
        link.cut()

    assert connect(serve(leave, answering((200, b"way on")))).perform(steps()) == b"way on"


def test_a_cancelled_task_ends_its_connection(serve, loop, certificate):
    arrived, left = threading.Event(), threading.Event()

    def script(link):
        link.request()
        arrived.set()
        with suppress(OSError):
            assert link.sock.recv(1) == b""
        left.set()

    server = serve(script, answering((200, b"next")))

    async def scenario():
        client = AsyncClient(server.url(), ca=certificate.ca, insecure_no_attestation=True)
        async with client:
            task = asyncio.create_task(client.perform(ask()))
            await asyncio.to_thread(arrived.wait, PATIENCE_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(left.wait, PATIENCE_S)
            return (await client.perform(ask())).body

    assert loop.run(scenario()) == b"next"


# Whom is spoken to.


def no_byte(link):
    """Take the handshake; fail if a request follows."""
    try:
        data = link.sock.recv(1)
    except OSError:
        return
    link.server.asked.append(data) if data else None


def test_the_default_is_to_refuse_what_is_not_attested(serve, connect):
    server = serve(no_byte)
    with pytest.raises(AttestationError, match="nothing proves") as caught:
        connect(server, policy=None).perform(ask())
    assert "--insecure-no-attestation" in caught.value.hint
    server.close()
    assert server.n_connections == 1
    assert not server.asked


def test_a_policy_decides_about_each_new_connection_before_a_byte_is_sent(serve, connect):
    seen = []

    class Policy:
        def verify(self, facts):
            seen.append(facts)
            if len(seen) == 2:
                raise AttestationError("not this one")

    server = serve(stale, no_byte)
    client = connect(server, policy=Policy())
    client.perform(ask(may_repeat=True))
    with pytest.raises(AttestationError, match="not this one"):
        client.perform(ask(may_repeat=True))
    server.close()
    assert len(server.asked) == 2  # the one that was answered, and the one on the stale connection
    assert [f.public_key_hash for f in seen] == [server.certificate.hash] * 2
    assert (seen[0].host, seen[0].port, seen[0].tls_version) == (
        "127.0.0.1",
        server.port,
        "TLSv1.3",
    )
    assert seen[0].certificate_der


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_is_trusted_by_its_own_certificate_and_its_names(serve, connect, host):
    assert connect(serve(answering((200, b"yes"))), host).perform(ask()).body == b"yes"


def test_ipv6_addresses_are_checked_and_written_in_brackets(serve, connect):
    server = serve(answering((200, b"yes")), host="::1")
    assert connect(server, "[::1]").perform(ask()).body == b"yes"
    assert server.asked[0].headers["host"] == f"[::1]:{server.port}"


@pytest.mark.parametrize("case", ["other", "name", "expired", "system"])
def test_a_certificate_that_does_not_hold_is_refused_before_a_byte_is_sent(
    serve, connect, tmp_path, certificate, case
):
    names = ["models.example.org"] if case == "name" else ["127.0.0.1"]
    life_s = -60 if case == "expired" else 3600
    shown = Certificate(tmp_path / "shown", *names, life_s=life_s)
    server = serve(no_byte, certificate=shown)
    ca = {"other": certificate.ca, "system": None}.get(case, shown.ca)
    with pytest.raises(ServerIdentityError, match="is not trusted") as caught:
        connect(server, ca=ca).perform(ask())
    assert "--ca" in caught.value.hint
    server.close()
    assert not server.asked


def test_a_key_in_an_unusual_form_is_refused(serve, connect, monkeypatch):
    def unusual(_der):
        raise CertificateError("its public key is written in an unusual form")

    monkeypatch.setattr("inferonnx.crypto.x509.certificate_key_hash", unusual)
    server = serve(no_byte)
    with pytest.raises(CertificateError, match="unusual"):
        connect(server).perform(ask())


def test_what_is_for_one_key_goes_to_no_other(serve, connect, certificate):
    server = serve(answering((200, b"")))
    client = connect(server)
    client.perform(ask())
    assert client.perform(ask(key_hash=certificate.hash)).status == 200
    with pytest.raises(ServerChangedError):
        client.perform(ask(key_hash=bytes(32)))
    assert len(server.asked) == 2


def test_nobody_listening(connect, certificate):
    class Nobody:
        certificate = None

        def url(self, host):
            with socket.create_server(("127.0.0.1", 0)) as free:
                return f"https://127.0.0.1:{free.getsockname()[1]}"

    Nobody.certificate = certificate
    with pytest.raises(UnavailableError, match="Connection refused"):
        connect(Nobody()).perform(ask())


def test_a_name_that_is_none(connect, certificate):
    class Nowhere:
        def url(self, host):
            return "https://nowhere.invalid:1"

    Nowhere.certificate = certificate
    with pytest.raises(UnavailableError, match=r"nowhere\.invalid"):
        connect(Nowhere()).perform(ask())


def test_a_closed_client_keeps_nothing_open(serve, certificate):
    left = threading.Event()

    def script(link):
        link.request()
        link.reply(200)
        assert link.request() is None
        left.set()

    server = serve(script)
    with Client(server.url(), ca=certificate.ca, insecure_no_attestation=True) as client:
        client.perform(ask())
    assert left.wait(PATIENCE_S)
    assert not server.failures  # it ended with a word of TLS
