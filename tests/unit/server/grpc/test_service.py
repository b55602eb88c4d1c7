"""A call's way: who may, in how much time, what an error becomes, and what is logged."""

import gzip
import os
import time
import zlib
from urllib.parse import unquote

import pytest

from inferonnx.control import Role, TokenEntry, new_token
from inferonnx.oip import grpc as codec
from inferonnx.server.grpc.framing import encode_prefix
from inferonnx.server.grpc.methods import ENDPOINTS
from inferonnx.server.routes import ROUTES
from inferonnx.sizes import MIB
from serving.h2_client import H2Client
from serving.questions import answered, question
from serving.running import until


def token(*roles):
    return new_token(os.urandom(38), roles=roles, expires_s=1 << 40)


def document(reply, name):
    assert reply.status == 0, reply.fields
    (message,) = reply.messages
    return codec.parse_message(name, message)


def told(reply):
    return unquote(reply.fields["grpc-message"])


# Who may.

OPEN = ("ServerLive", "ServerReady", "/grpc.health.v1.Health/Check")


def path_of(method):
    return method if method.startswith("/") else f"/{codec.SERVICE}/{method}"


@pytest.mark.parametrize("path", codec.METHODS)
def test_roles_are_those_of_rest(start, path):
    """Nobody's call, and one of each role: it is refused, or it comes to the method."""
    tokens = {role: token(role) for role in Role}
    entries = tuple(entry for _, entry in tokens.values())
    server = start(config={"allow_anonymous_infer": False, "tokens": entries})
    roles = {route.endpoint: route.roles for route in ROUTES}[ENDPOINTS[path.rpartition("/")[2]]]
    with H2Client(server) as client:
        nobody = client.call(path)
        assert nobody.status == (0 if roles is None else 16), nobody.fields
        for role, (text, _) in tokens.items():
            reply = client.call(path, authorization=f"Bearer {text}")
            allowed = roles is None or role in roles
            assert (reply.status == 7) == (not allowed), (role, reply.fields)


def test_a_stream_ends_with_the_token_that_opened_it(start):
    text, entry = token(Role.INFER)
    server = start(config={"allow_anonymous_infer": False, "tokens": (entry,)})
    with H2Client(server) as client:
        number = client.begin(codec.STREAM, authorization=f"Bearer {text}")
        message, _ = question()
        message = encode_prefix(len(message)) + message
        client.send(number, message)
        client.receive_until(lambda: client.replies[number].messages)
        server.parts.context.clock_s = lambda: entry.expires_s
        client.send(number, message)
        reply = client.reply(number)
    assert (reply.status, "expired" in told(reply)) == (16, True)
    assert len(reply.messages) == 1


def test_what_is_open_is_open(start):
    server = start(config={"allow_anonymous_infer": False})
    with H2Client(server) as client:
        assert [client.call(method).status for method in OPEN] == [0, 0, 0]


@pytest.mark.parametrize(
    "value", ["Bearer nonsense", "Basic YTpi", "", "Bearer ifx_000000000000_" + "a" * 43]
)
def test_credentials_that_do_not_hold_are_an_error_even_where_none_are_needed(client, value):
    reply = client.call("ServerLive", authorization=value)
    assert reply.status == 16
    assert value not in told(reply) or not value


def test_a_token_that_is_over_is_refused(start):
    text, entry = token(Role.INFER)
    old = TokenEntry(id=entry.id, roles=entry.roles, sha256=entry.sha256, expires_s=1)
    with H2Client(start(config={"tokens": (old,)})) as client:
        assert client.call("ServerLive", authorization=f"Bearer {text}").status == 16


def test_a_refused_call_is_not_read(start):
    """Its message is thrown away, and the connection lives."""
    server = start(config={"allow_anonymous_infer": False}, ledger_bytes=2 * MIB)
    with H2Client(server) as client:
        number = client.begin("ModelInfer")
        client.send(number, encode_prefix(MIB) + bytes(65_000))
        assert client.reply(number).status == 16
        assert server.parts.ledger.used_bytes == 0
        assert client.call("ServerLive").status == 0


# What is no call, or none of ours.


@pytest.mark.parametrize(
    "path", ["/", "/nothing", f"/{codec.SERVICE}/Nothing", f"/{codec.SERVICE}/ModelInfer/",
             "/inference.Other/ServerLive", "/grpc.health.v1.Health/Watch"]
)  # fmt: skip
def test_an_unknown_method_is_not_implemented(client, path):
    reply = client.call(path)
    assert reply.status == 12
    assert "/" not in told(reply)


def test_another_content_type_is_answered_in_http(client):
    reply = client.call("ServerLive", content_type="application/json")
    assert reply.fields[":status"] == "415"
    assert "grpc-status" not in reply.fields


def test_another_method_is_answered_in_http(client):
    reply = client.call("ServerLive", verb="GET")
    assert (reply.fields[":status"], reply.fields["allow"]) == ("405", "POST")


def test_a_call_without_message_is_invalid(client):
    number = client.begin("ServerLive", end=True)
    assert client.reply(number).status == 3


def test_a_call_with_two_messages_is_invalid(client):
    number = client.begin("ServerLive")
    client.send(number, encode_prefix(0) * 2, end=True)
    reply = client.reply(number)
    assert (reply.status, told(reply)) == (3, "the call has more than one message")


@pytest.mark.parametrize("part", [b"\0", b"\0\0\0\0", b"\0\0\0\0\x05ab"])
def test_a_message_that_is_cut_off_is_invalid(client, part):
    number = client.begin("ModelInfer")
    client.send(number, part, end=True)
    reply = client.reply(number)
    assert (reply.status, told(reply)) == (3, "the call ends within a message")


def test_a_message_that_is_no_protobuf_is_invalid(client):
    assert client.call("ModelReady", b"\xff\xff\xff").status == 3
    assert client.call("ModelInfer", b"\x3f" * 30).status == 3


def test_a_malformed_flag_is_invalid(client):
    number = client.begin("ModelInfer")
    client.send(number, b"\x07\0\0\0\0")
    reply = client.reply(number)
    assert (reply.status, told(reply)) == (3, "a message begins with the flag 7, not with 0 or 1")


# Compressed messages.


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
@pytest.mark.parametrize("n", [4, 100_000])
def test_a_compressed_message_is_read(client, encoding, compress, n):
    message, data = question(n)
    packed = compress(message)
    number = client.begin("ModelInfer", grpc_encoding=encoding)
    client.send(number, b"\1" + encode_prefix(len(packed))[1:] + packed, end=True)
    reply = client.reply(number)
    assert answered(reply) == data
    assert "grpc-encoding" not in reply.fields


def test_a_message_may_be_as_it_is_where_others_are_compressed(client):
    message, data = question()
    assert answered(client.call("ModelInfer", message, grpc_encoding="gzip")) == data


def test_another_encoding_is_answered_with_those_that_are_understood(client):
    reply = client.call("ServerLive", grpc_encoding="br")
    assert reply.status == 12
    assert reply.fields["grpc-accept-encoding"] == "identity, gzip, deflate"


def test_a_compressed_message_that_is_announced_as_none_is_invalid(client):
    number = client.begin("ModelInfer")
    client.send(number, b"\1\0\0\0\x01x", end=True)
    assert client.reply(number).status == 3


PACKED = gzip.compress(b"abc", mtime=0)  # which names tests: they are collected several times


@pytest.mark.parametrize("packed", [b"", b"x" * 40, PACKED[:-3], PACKED + b"more"])
def test_a_damaged_compressed_message_is_invalid(client, packed):
    number = client.begin("ModelInfer", grpc_encoding="gzip")
    client.send(number, b"\1" + encode_prefix(len(packed))[1:] + packed, end=True)
    assert client.reply(number).status == 3


def test_a_bomb_is_refused_at_the_limit(start):
    server = start(ledger_bytes=8 * MIB, body_bytes=4 * MIB)
    packed = gzip.compress(bytes(100 * MIB))
    with H2Client(server) as client:
        number = client.begin("ModelInfer", grpc_encoding="gzip")
        client.send(number, b"\1" + encode_prefix(len(packed))[1:] + packed, end=True)
        assert client.reply(number).status == 8
    until(lambda: server.parts.ledger.used_bytes == 0)


# Time.


def test_a_call_that_is_computed_when_its_time_is_over_ends_with_the_computation(server, client):
    """Its memory is in use until then; its client has given up long ago."""
    server.parts.engine.gate.clear()
    message, _ = question()
    number = client.begin("ModelInfer", grpc_timeout="2S")
    client.send(number, encode_prefix(len(message)) + message, end=True)
    until(lambda: server.parts.engine.n_runs)
    time.sleep(2.2)
    assert server.parts.ledger.used_bytes > len(message)
    server.parts.engine.gate.set()
    assert client.reply(number).status == 4


def test_a_call_that_waits_when_its_time_is_over_is_not_computed(server, client):
    server.parts.engine.gate.clear()
    message, _ = question()
    busy = [client.begin("ModelInfer") for _ in range(2)]
    for number in busy:
        client.send(number, encode_prefix(len(message)) + message, end=True)
    until(lambda: server.parts.engine.n_runs == 2)
    late = client.call("ModelInfer", message, grpc_timeout="100m")
    assert late.status == 4
    assert late.fields["grpc-message"].startswith("Deadline Exceeded")  # as a client says itself
    server.parts.engine.gate.set()
    assert [client.reply(number).status for number in busy] == [0, 0]
    assert server.parts.engine.n_runs == 2


def test_a_request_s_own_time_in_the_queue_counts(server, client):
    server.parts.engine.gate.clear()
    message, _ = question()
    busy = [client.begin("ModelInfer") for _ in range(2)]
    for number in busy:
        client.send(number, encode_prefix(len(message)) + message, end=True)
    until(lambda: server.parts.engine.n_runs == 2)
    assert client.call("ModelInfer", question(timeout_us=50_000)[0]).status == 4
    server.parts.engine.gate.set()


# Errors.


def test_an_engine_that_fails_is_an_internal_error(server, client):
    server.parts.engine.error = "it failed"
    reply = client.call("ModelInfer", question()[0])
    assert reply.status == 13
    assert told(reply).startswith("it failed")


def test_a_bug_of_ours_is_told_by_a_reference(server, client, monkeypatch):
    def broken(*_arguments):
        raise ValueError("a secret")

    monkeypatch.setattr(type(server.parts.models), "find", broken)
    reply = client.call("ModelInfer", question()[0])
    ((reference, error),) = server.notes.failures
    assert reply.status == 13
    assert told(reply) == f"the server failed; its log has the reference {reference}"
    assert isinstance(error, ValueError)


def test_a_full_queue_says_when_to_come_again(start):
    server = start(queue=1)
    server.parts.engine.gate.clear()
    message, _ = question()
    with H2Client(server) as client:
        numbers = []
        for n in (1, 2, 2):  # two run, one waits
            numbers.append(client.begin("ModelInfer"))
            client.send(numbers[-1], encode_prefix(len(message)) + message, end=True)
            until(lambda n=n: server.parts.engine.n_runs >= n)
        until(lambda: server.n_pending == 3)
        reply = client.call("ModelInfer", message)
        assert (reply.status, reply.fields["grpc-retry-pushback-ms"]) == (14, "1000")
        server.parts.engine.gate.set()
        assert [client.reply(number).status for number in numbers] == [0, 0, 0]


# What is logged.


def test_a_call_is_told_with_what_an_operator_needs(server, client):
    message, _ = question()
    client.call("ModelInfer", message, x_request_id="mine")
    until(lambda: server.notes.answers)
    ((head, figures),) = server.notes.answers
    assert head.headers == {"x-request-id": "mine"}
    assert figures.details == {
        "path": f"/{codec.SERVICE}/ModelInfer",
        "caller": "anonymous",
        "model": "float",
        "version": 1,
        "grpc": 0,
    }
    assert figures.status == 200
    assert figures.n_received == len(message) + 5
    assert 0 < figures.begun_s <= figures.received_s <= figures.replied_s <= figures.sent_s
    assert figures.engine_s > 0


def test_a_refused_call_is_told_with_its_code_and_no_word_of_the_client_s(server, client):
    client.call("/some/secret")
    until(lambda: server.notes.answers)
    ((_, figures),) = server.notes.answers
    assert figures.details == {"code": "oip.unsupported", "grpc": 12}
    assert figures.status == 501
