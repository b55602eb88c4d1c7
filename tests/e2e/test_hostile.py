"""Hostile clients, and a hostile host, against a server in a process of its own.

Whatever comes, the answer is an exact refusal, the server lives on, and others notice
nothing. What one part alone refuses is in that part's unit tests; docs/threat-model.md
has the whole table.
"""

import gzip
import hashlib
import json
import os
import secrets
import socket
import ssl
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import grpc
import numpy as np
import pytest

import inferonnx
from inferonnx.control import HEADER_NAME, Action, OwnerRequest, sign_owner_request
from inferonnx.control.limits import DEFAULT_HANDSHAKE_TIMEOUT_S
from inferonnx.crypto import Secret, ed25519_public_key, ed25519_sign
from inferonnx.oip import InferRequest, InferResponse, NamedTensor, encode_infer_response
from inferonnx.oip import encode_infer_request as encode_rest_request
from inferonnx.oip.classification import MAX_CLASSES, classify
from inferonnx.oip.grpc import encode_infer_request
from inferonnx.sealed import HEADER_BYTES, encode_header, parse_header, verify_header
from inferonnx.sealed.header import sign_header
from inferonnx.server.routes import ROUTES
from inferonnx.tensors import DType, Tensor, as_tensor
from served import PATIENCE_S
from serving import models
from serving.asking import connection, raw

INFER = "/v2/models/cnn/infer"
TALK = "/v2/models/talkative/infer"
SWELL = "/v2/models/swelling/infer"
PIXELS = 3 * 16 * 16


@pytest.fixture(scope="module")
def server(start):
    server = start(
        *("cnn", "texts"),
        options=("--allow-anonymous-infer", "--log-format", "json", "--grpc", "127.0.0.1:0"),
    )
    before = server.status("VmHWM")
    yield server
    assert server.status("VmHWM") < before + (80 << 20)  # of 400 MiB: no attack is a leak
    bugs = [line for line in server.log.read_text().splitlines() if '"bug"' in line]
    assert not bugs
    assert server.end() == 0


@pytest.fixture(scope="module")
def greedy(start):
    """A server with models that take and give what they are told to."""
    server = start(
        *("swelling", "talkative"),
        options=("--allow-anonymous-infer", "--log-format", "json", "--grpc", "127.0.0.1:0"),
    )
    yield server
    assert server.status("VmHWM") < server.facts["memory_bytes"]
    assert '"bug"' not in server.log.read_text()
    assert server.end() == 0


@pytest.fixture
def alive(server):
    """What everybody else notices of an attack."""
    yield
    body = json.dumps({"inputs": [image_of([1, 3, 16, 16])]}).encode()
    status, said = asked(server, "POST", INFER, body)
    assert status == 200, said


def image_of(shape, n=PIXELS, **changes):
    return {"name": "image", "shape": shape, "datatype": "FP32", "data": [0] * n} | changes


def said_to(server, data):
    """Send bytes over TLS; return all that comes until the server closes."""
    with raw(server) as sock:
        found = b""
        with suppress(OSError):  # it may be refused before all of it is there
            sock.sendall(data)
        try:
            while more := sock.recv(65536):
                found += more
        except OSError:
            pass
        return found


def asked(server, method, path, body=b"", *lines):
    """Return status and body of a request that is written by hand."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines]
    if not any(line.startswith("Transfer-Encoding") for line in lines):
        head.append(f"Content-Length: {len(body)}")
    said = said_to(server, "\r\n".join([*head, "", ""]).encode("latin-1") + body)
    first, _, rest = said.partition(b"\r\n")
    return int(first.split()[1]), rest.partition(b"\r\n\r\n")[2]


POST = f"POST {INFER} HTTP/1.1\r\nHost: a\r\n".encode()

MALFORMED = {
    "bare line feeds": (b"GET /v2 HTTP/1.1\nHost: a\n\n", 400),
    "no Host": (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "a folded line": (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    "a blank before the colon": (b"GET /v2 HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "NUL": (b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    "length and chunks": (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -2\r\n\r\n", 400),
    "a length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "a length of 26 digits": (POST + b"Content-Length: " + b"9" * 26 + b"\r\n\r\n", 400),
    "a coding of the transfer": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "a negative chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    "a chunk of 1 TiB": (POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000\r\n", 413),
    "an endless chunk extension": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 200_000 + b"\r\n",
        400,
    ),
    "endless trailers": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 100_000,
        400,
    ),
    "an endless target": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 431),
    "an endless header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5_000_000, 431),
    "50,000 headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 50_000 + b"\r\n", 431),
    "empty lines": (b"\r\n" * 100_000, 400),
    "a tunnel": (b"CONNECT evil:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
}


@pytest.mark.parametrize("attack", MALFORMED)
def test_malformed_http(server, alive, attack):
    data, status = MALFORMED[attack]
    said = said_to(server, data)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert list(json.loads(said.partition(b"\r\n\r\n")[2])) == ["error"]


def test_noise(server, alive):
    for n in (1, 100, 70_000):
        noise = secrets.token_bytes(n) + b"\r\n\r\n"
        assert said_to(server, noise).startswith(b"HTTP/1.1 4")
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
            sock.sendall(b"\x16\x03\x01" + noise)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1000):
                pass


NUMBER = b'{"name":"image","shape":[1,1],"datatype":"FP32","data":[%s]}'

BOMBS = {
    "arrays": b"[" * 1_000_000,
    "objects": b'{"a":' * 200_000,
    "parameters": b'{"parameters":{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}}",
    "a number": b'{"inputs":[' + NUMBER % (b"9" * 1_000_000) + b"]}",
    "a size": b'{"inputs":[{"name":"image","shape":[' + b"9" * 100_000 + b"]}]}",
    "members": b"{" + b",".join(b'"%d":1' % i for i in range(100_000)) + b"}",
    "inputs": b'{"inputs":[' + b",".join([NUMBER % b"1"] * 20_000) + b"]}",
    "a name": b'{"inputs":[{"name":"' + b"x" * 1_000_000 + b'"}]}',
    "the same member twice": b'{"inputs":[],"inputs":[]}',
    "UTF-16": '{"inputs":[]}'.encode("utf-16"),
    "half a character": b'{"id":"\\ud800","inputs":[]}',
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_of_json(server, alive, bomb):
    assert asked(server, "POST", INFER, BOMBS[bomb])[0] == 400


DISAGREEING = {
    "a negative size": image_of([-1, 3, 16, 16]),
    "two negative sizes": image_of([-1, -3, 16, 16]),
    "a product beyond 64 bits": image_of([2**62, 2**62, 1, 1], 1),
    "a size beyond 64 bits": image_of([2**64, 3, 16, 16]),
    "bytes beyond 64 bits": image_of([2**61, 2, 1, 1], 1),
    "a fraction": image_of([1.5, 3, 16, 16]),
    "a truth": image_of([True, 3, 16, 16]),
    "10,000 axes": image_of([1] * 10_000, 1),
    "too few numbers": image_of([1, 3, 16, 16], PIXELS - 1),
    "too many numbers": image_of([1, 3, 16, 16], PIXELS + 1),
    "another type": image_of([1, 3, 16, 16], datatype="INT64"),
    "no type": image_of([1, 3, 16, 16], datatype="FP33"),
    "another name": image_of([1, 3, 16, 16], name="../image"),
    "other sizes": image_of([1, 3, 16, 17], 3 * 16 * 17),
    "texts": image_of([1, 3, 16, 16], data=["a"] * PIXELS),
}


@pytest.mark.parametrize("case", DISAGREEING)
def test_shapes_and_numbers_that_disagree(server, alive, case):
    body = json.dumps({"inputs": [DISAGREEING[case]]}).encode()
    status, said = asked(server, "POST", INFER, body)
    assert status == 400, said


@pytest.mark.parametrize("size", [0, PIXELS * 4 - 1, PIXELS * 4 + 1, -1, 2**64, True, "1", None])
def test_sizes_and_bytes_that_disagree(server, alive, size):
    tensor = image_of([1, 3, 16, 16], parameters={"binary_data_size": size})
    del tensor["data"]
    head = json.dumps({"inputs": [tensor]}).encode()
    line = f"Inference-Header-Content-Length: {len(head)}"
    status, said = asked(server, "POST", INFER, head + bytes(PIXELS * 4), line)
    assert status == 400, said


@pytest.mark.parametrize("length", ["-1", "+9", "9" * 30, "x", "", "7", "1, 1", "0x10"])
def test_lengths_of_the_json_that_disagree(server, alive, length):
    body = json.dumps({"inputs": [image_of([1, 3, 16, 16])]}).encode()
    line = f"Inference-Header-Content-Length: {length}"
    assert asked(server, "POST", INFER, body, line)[0] == 400


def test_a_text_that_says_it_is_4_gib(server, alive):
    parameters = {"binary_data_size": 8}
    tensor = {"name": "in", "shape": [1], "datatype": "BYTES", "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    line = f"Inference-Header-Content-Length: {len(head)}"
    body = head + b"\xff\xff\xff\xffaaaa"
    assert asked(server, "POST", "/v2/models/texts/infer", body, line)[0] == 400


@pytest.mark.parametrize("path", [INFER, "/v2/repository/index"])
def test_bombs_of_gzip(server, alive, path):
    bomb = gzip.compress(bytes(300 << 20), 1)
    status, said = asked(server, "POST", path, bomb, "Content-Encoding: gzip")
    assert status == 413, said


@pytest.mark.parametrize(
    "name",
    [
        *("..", ".", "..%2f..%2fetc", "%2e%2e", "a%00b", "%ff%fe", "%", "%zz", ".uploads"),
        *(".trash", "cnn%2F..%2Fcnn", "cnn;x=y", "cnn%0d%0aX:y", "a" * 5000, "%3Cscript%3E"),
    ],
)
def test_names_are_looked_up_and_never_paths(server, alive, name):
    for method, path in (
        ("POST", f"/v2/models/{name}/infer"),
        ("GET", f"/v2/models/{name}"),
        ("POST", f"/inferonnx/v1/models/{name}/versions/1/unlock"),
        ("POST", f"/inferonnx/v1/models/{name}/versions/next/uploads"),
        ("DELETE", f"/inferonnx/v1/models/{name}/versions/1"),
        ("HEAD", f"/inferonnx/v1/uploads/{name}"),
    ):
        assert asked(server, method, path, b"{}", "Tus-Resumable: 1.0.0")[0] in (400, 401, 404)
    assert sorted(os.listdir(server.repository)) == sorted(
        [".lock", ".trash", ".uploads", "cnn", "texts"]
    )


@pytest.mark.parametrize("version", ["-1", "0", "9" * 30, "9" * 5000, "1.0", "%D9%A1", "1%2f.."])
def test_versions_are_numbers(server, alive, version):
    assert asked(server, "POST", f"/v2/models/cnn/versions/{version}/infer", b"{}")[0] in (400, 404)


def test_many_connections_that_say_nothing(server, alive):
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    begun = time.monotonic()
    try:
        assert asked(server, "GET", "/v2/health/live")[0] == 200
        # Without giving places up, each turn of 64 would last for a handshake's deadline.
        assert time.monotonic() - begun < DEFAULT_HANDSHAKE_TIMEOUT_S
    finally:
        for sock in silent:
            sock.close()


# HTTP/2, frame by frame.

DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags=0, stream=0, content=b""):
    return (
        len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content
    )


def field(name, value):
    """Return a header field as HPACK has it when it is in no table."""
    return b"".join([b"\0", bytes([len(name)]), name, bytes([len(value)]), value])


def call_of(method):
    """Return the header fields of a call."""
    return b"".join(
        field(*pair)
        for pair in (
            *((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost")),
            *((b":path", b"/inference.GRPCInferenceService/" + method), (b"te", b"trailers")),
            (b"content-type", b"application/grpc"),
        )
    )


CALL = call_of(b"ServerLive")
IN_TABLE = b"\x40\1a\x7f\xb9\x16" + b"b" * 3000  # then one byte stands for 3,000

FLOODS = {
    "calls that are reset": b"".join(
        frame(HEADERS, END_HEADERS, n, CALL) + frame(RST_STREAM, 0, n, b"\0\0\0\x08")
        for n in range(1, 40_001, 2)
    ),
    "calls at once": b"".join(frame(HEADERS, END_HEADERS, n, CALL) for n in range(1, 4001, 2)),
    "a head without end": frame(HEADERS, 0, 1, CALL)
    + frame(CONTINUATION, 0, 1, field(b"x", b"y" * 100) * 100) * 1000,
    "a head of nothing without end": frame(HEADERS, 0, 1, CALL)
    + frame(CONTINUATION, 0, 1) * 50_000,
    "a bomb of HPACK": frame(HEADERS, END_HEADERS, 1, CALL + IN_TABLE + b"\xbe" * 10_000),
    "pings": frame(PING, content=b"12345678") * 50_000,
    "settings": frame(SETTINGS) * 50_000,
    "a call of the server's own": frame(HEADERS, END_HEADERS, 2, CALL),
    "noise": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_floods_of_http_2(server, alive, flood):
    port = int(server.facts["grpc_addresses"][0].rpartition(":")[2])
    with raw(server, port=port, protocols=["h2"]) as sock:
        with suppress(OSError):  # the server closes in the middle of it
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS) + FLOODS[flood])
        try:
            while sock.recv(65536):  # until it closes: who floods is not served
                pass
        except TimeoutError:
            pytest.fail("the server goes on with who floods it")
        except OSError:
            pass


def test_what_clients_choose_is_no_line_of_the_log(server, alive):
    mark = secrets.token_hex(8)
    evil = f'{mark}","event":"forged'
    asked(server, "GET", f"/v2/models/{mark}%0a{{}}/ready", b"", f"X-Request-Id: {evil}")
    asked(server, "GET", f"/{mark}?{mark}", b"", f"User-Agent: {mark}", f"X-Request-Id: {evil}")
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[:1] == "{"]
    named = [line for line in lines if mark in json.dumps(line)]
    assert named
    for line in named:
        assert line.pop("request") == evil[:64]
        assert line["event"] == "request"
        assert mark not in json.dumps(line)


# Who may what, of every route that there is.


@pytest.fixture(scope="module")
def closed(start):
    server = start("cnn")
    yield server
    assert server.end() == 0


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_asks_for_its_role(closed, route):
    path = route.path.format(
        name="cnn", version=7, repository="r", region="x", upload="0" * 32
    ).replace("{", "").replace("}", "")  # fmt: skip
    given = [None, "infer", "manage", "metrics"]
    for role in given:
        token = () if role is None else (f"Authorization: Bearer {closed.token(role)}",)
        body = b"" if route.method in ("GET", "HEAD", "OPTIONS") else b"no such request"
        status = asked(closed, route.method, path, body, *token)[0]
        wanted = {role.value for role in route.roles} if route.roles is not None else set()
        if route.roles is None or role in wanted:
            assert status != 403 or "versions" in path, (role, status)
        else:
            assert status == (401 if role is None else 403), (role, status)
    assert asked(closed, "GET", "/v2/models/cnn", b"", _bearer(closed, "infer"))[0] == 200


def _bearer(server, role):
    return f"Authorization: Bearer {server.token(role)}"


def test_wrong_tokens(closed):
    good = closed.token("infer")
    guessed = good[:30] + ("A" if good[30] != "A" else "B") + good[31:]  # the same id
    others = ("", "a" * 10_000, "Bearer " + good, "\xff")
    for text in (guessed, good[:-1], good + "a", good.upper(), *others):
        status, said = asked(closed, "GET", "/v2", b"", f"Authorization: Bearer {text}")
        assert status == 401, text
        assert good.encode() not in said


# Uploads.


def signed(server, key, action, name, version, model_id):
    nonce = json.loads(asked(server, "POST", "/inferonnx/v1/nonce")[1])["nonce"]
    request = OwnerRequest(
        action=action,
        server_key_hash=bytes.fromhex(server.facts["public_key"]),
        nonce=bytes.fromhex(nonce),
        model_id=model_id,
        name=name,
        version=version,
    )
    text = sign_owner_request(
        request,
        owner=key.owner.public_key,
        sign=lambda message: ed25519_sign(key.owner.signing_seed, message),
    )
    return f"{HEADER_NAME}: {text}"


def announce(server, key, data, *, name="cnn"):
    """Announce a file; return the path of its upload."""
    model_id = verify_header(parse_header(data)).model_id
    digest = b64encode(hashlib.sha256(data).hexdigest().encode()).decode()
    head = said_to(
        server,
        "\r\n".join(
            [
                f"POST /inferonnx/v1/models/{name}/versions/next/uploads HTTP/1.1",
                "Host: localhost",
                "Connection: close",
                "Tus-Resumable: 1.0.0",
                f"Upload-Length: {len(data)}",
                f"Upload-Metadata: sha256 {digest}",
                "Content-Length: 0",
                signed(server, key, Action.PUSH, name, 0, model_id),
                "",
                "",
            ]
        ).encode(),
    )
    assert b" 201 " in head, head
    return next(
        line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line[:9] == b"Location:"
    )


def append(server, path, offset, data):
    return asked(
        *(server, "PATCH", path, data, "Tus-Resumable: 1.0.0", f"Upload-Offset: {offset}"),
        "Content-Type: application/offset+octet-stream",
    )[0]


def test_pieces_that_race_leave_the_whole_file_or_nothing(start, key, sealed):
    server = start()
    data = sealed["cnn"].read_bytes()
    path = announce(server, key, data)
    half = len(data) // 2
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: append(server, path, 0, data[:half]), range(8)))
    assert found.count(204) == 1
    assert set(found) <= {204, 409, 423}
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: append(server, path, half, data[half:]), range(8)))
    assert 204 in found
    assert set(found) <= {204, 409, 423}
    (stored,) = server.repository.glob("cnn/*/model.sealed")
    assert stored.read_bytes() == data
    assert server.end() == 0


def test_an_upload_that_the_host_makes_longer_holds_up_nobody(start, key, sealed):
    """All that was announced is read and no more: 1 TiB of zeros would be read for an hour."""
    server = start()
    data = sealed["cnn"].read_bytes()
    path = announce(server, key, data)
    assert append(server, path, 0, data[:-1]) == 204
    os.truncate(server.repository / ".uploads" / path.rpartition("/")[2] / "model.sealed", 1 << 40)
    assert append(server, path, len(data) - 1, data[-1:]) == 422
    path = announce(server, key, data)
    assert append(server, path, 0, data) == 204
    (stored,) = server.repository.rglob("model.sealed")
    assert stored.read_bytes() == data
    assert server.end() == 0


def test_ids_of_uploads_are_not_to_be_guessed(start, key, sealed):
    server = start()
    data = sealed["cnn"].read_bytes()
    paths = [announce(server, key, data) for _ in range(2)]
    ids = [path.rpartition("/")[2] for path in paths]
    assert all(len(bytes.fromhex(one)) == 16 for one in ids)
    for guess in (ids[1][:-1], ids[1][:-1] + "%", ids[1].upper() + "0", f"{ids[1]}%2f", "*", "%2e"):
        assert asked(server, "HEAD", f"/inferonnx/v1/uploads/{guess}", b"", "Tus-Resumable: 1.0.0")[
            0
        ] in (400, 404)
    for one in ids:
        assert one not in server.log.read_text()
    assert server.end() == 0


# A hostile host.


def test_a_folder_of_links_and_devices(start, sealed, key_path, tmp_path):
    """What the host puts into the folder by hand is served when it is a model, else told of."""
    server = start("cnn")
    assert server.end() == 0
    home, secret = server.repository, tmp_path / "secret"
    secret.write_text("not a model")
    (home / "linked").symlink_to(home / "cnn")
    for name in ("outside", "pipe", "loop", "folder"):
        (home / name / "1").mkdir(parents=True)
    (home / "outside" / "1" / "model.sealed").symlink_to(secret)
    os.mkfifo(home / "pipe" / "1" / "model.sealed")
    (home / "loop" / "1" / "model.sealed").symlink_to("model.sealed")
    (home / "folder" / "1" / "model.sealed").mkdir()
    (home / "<script>").mkdir()
    server.start()
    listed = json.loads(server.asked("/inferonnx/v1/models", role="manage")[2])["models"]
    states = {model["name"]: model["state"] for model in listed}
    assert states["cnn"] == "ready"
    assert all(state != "ready" for name, state in states.items() if name != "cnn")
    assert b"script" not in server.asked("/inferonnx/v1/status", role="metrics")[2]
    assert b"not a model" not in server.asked("/inferonnx/v1/models", role="manage")[2]
    assert secret.read_text() == "not a model"
    assert server.end() == 0


def test_a_model_that_the_disk_keeps_is_there_until_it_is_deleted(start, key, sealed):
    """The host takes the place away where deleted models go: their owner can try again."""
    server = start("cnn")
    with inferonnx.Client(
        server.url, ca=server.ca, token=server.token(), insecure_no_attestation=True
    ) as client:
        (server.repository / ".trash").rmdir()
        for _ in range(2):
            with pytest.raises(inferonnx.InferonnxError, match="deleting the model failed"):
                client.delete("cnn", 1, key=key)
            assert [model.state for model in client.models()] == ["locked"]
        assert client.unlock("cnn", sealed["cnn"], key=key).state == "ready"
    assert server.end() == 0


def sealed_once_more(data, model, key, folder):
    return models.seal(model, folder, key).read_bytes()


def signed_by_the_host(data, *_):
    """Return the same body, and a header that opens with the same data key."""
    host = Secret(bytes([9] * 32))
    header = replace(parse_header(data), owner=ed25519_public_key(host), release=1)
    return encode_header(sign_header(header, host).header) + data[HEADER_BYTES:]


@pytest.mark.parametrize(
    ("forge", "state"), [(sealed_once_more, "locked"), (signed_by_the_host, "unavailable")]
)
def test_a_file_that_changed_before_its_owner_unlocked_it(
    start, key, cnn, sealed, tmp_path, forge, state
):
    """The owner names the model that the server listed; another one is not unlocked for it."""
    server = start()
    data = sealed["cnn"].read_bytes()

    def put(content):
        (place,) = server.repository.glob("cnn/*/model.sealed")
        new = place.with_name("new")
        new.write_bytes(content)
        os.replace(new, place)

    with inferonnx.Client(
        server.url, ca=server.ca, token=server.token(), insecure_no_attestation=True
    ) as client:
        client.push(sealed["cnn"], key=key)
        put(forge(data, cnn, key, tmp_path))
        with pytest.raises(inferonnx.InferonnxError):
            client.unlock("cnn", sealed["cnn"], key=key)
        assert [model.state for model in client.models()] == [state]
        put(data)
        assert client.unlock("cnn", sealed["cnn"], key=key).state == "ready"
    assert server.end() == 0


def sizes_of(hidden, shown, **more):
    return more | {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "INT64", "data": [n]}
            for name, n in (("hidden", hidden), ("shown", shown))
        ]
    }


@pytest.mark.parametrize(
    ("sizes", "status", "sentence"),
    [
        ((1 << 28, 4), 503, "no memory for so large a pass"),
        ((1 << 40, 4), 503, "no memory for so large a pass"),
        ((4, 1 << 23), 413, "the outputs take 32.0 MiB"),
        ((4, 1 << 33), 503, "no memory for so large a pass"),
        ((1 << 62, 4), 500, "could not run a partition"),
        ((-1, 4), 500, "could not run a partition"),
    ],
)
def test_numbers_that_ask_for_memory(greedy, sizes, status, sentence):
    found, _, body = greedy.asked(SWELL, "-d", json.dumps(sizes_of(*sizes)))
    assert (found, sentence in body.decode()) == (status, True), body
    found, _, body = greedy.asked(SWELL, "-d", json.dumps(sizes_of(4, 4)))
    assert found == 200, body


def test_a_number_that_asks_for_strings(greedy):
    """As many as the memory for models holds would take twice as much as strings of Python."""
    body = {"inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [5_000_000]}]}
    found, _, said = greedy.asked(TALK, "-d", json.dumps(body))
    assert (found, b"the outputs take" in said) == (413, True), said[:200]


def test_replies_that_nobody_reads(greedy):
    """More of them than the server's memory would hold."""
    context = ssl.create_default_context(cafile=greedy.ca)
    body = json.dumps(sizes_of(4, 1 << 20, parameters={"binary_data_output": True})).encode()
    head = f"POST {SWELL} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(greedy.facts["memory_bytes"] >> 22):
            plain = stack.enter_context(socket.socket())
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.connect(("127.0.0.1", greedy.port))
            sock = context.wrap_socket(plain, server_hostname="localhost")
            stack.enter_context(sock)
            sock.sendall(head.encode() + body)
        found, _, body = greedy.asked(SWELL, "-d", json.dumps(sizes_of(4, 4)))
        assert found == 200, body
        time.sleep(1)  # until all of them are computed
    found, _, body = greedy.asked(SWELL, "-d", json.dumps(sizes_of(4, 1 << 20)))
    assert found == 200, body


def longest_wait(server, ask):
    """Return what `ask` gives, and the longest that another client waited meanwhile.

    The least of several times: whatever else the machine does only adds to it.
    """
    turns = [longest_wait_once(server, ask) for _ in range(5)]
    return turns[-1][0], min(longest_s for _, longest_s in turns)


def longest_wait_once(server, ask):
    longest_s = 0.0
    with ThreadPoolExecutor(1) as pool, closing(connection(server)) as other:
        asking = pool.submit(ask)
        while not asking.done():
            begun = time.monotonic()
            other.request("GET", "/v2/health/live")
            assert other.getresponse().read() is not None
            longest_s = max(longest_s, time.monotonic() - begun)
        return asking.result(), longest_s


def written_s(tensor, *, binary=False):
    """Return how long it takes to write a reply here, with nothing else to do."""
    given = NamedTensor(name="given", tensor=tensor)
    begun = time.monotonic()
    encode_infer_response(
        InferResponse(model_name="m", outputs=(given,)),
        InferRequest(model_name="m", binary_output_default=binary),
    )
    return time.monotonic() - begun


def test_others_are_answered_while_a_long_reply_is_written(greedy):
    n = 3 << 20  # not so many that the model may not give them
    alone_s = written_s(as_tensor(np.zeros(n, np.float32)))
    (found, _, body), longest_s = longest_wait(
        greedy, lambda: greedy.asked(SWELL, "-d", json.dumps(sizes_of(4, n)))
    )
    assert found == 200, body
    assert longest_s < alone_s / 2


@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_others_are_answered_while_many_strings_are_written(greedy, way):
    n = models.MANY
    alone_s = written_s(Tensor(dtype=DType.STRING, shape=(n,), strings=["0"] * n), binary=True)
    count = NamedTensor(name="n", tensor=as_tensor(np.array([n])))
    binary = {"binary_output_default": True} if way == "rest" else {}
    request = InferRequest(model_name="talkative", inputs=(count,), **binary)

    def rest():
        pieces, length = encode_rest_request(request)
        header = {"Inference-Header-Content-Length": str(length)}
        with closing(connection(greedy)) as client:
            client.request("POST", TALK, b"".join(pieces), header)
            return client.getresponse().read()

    def by_grpc():
        channel = grpc.secure_channel(
            greedy.facts["grpc_addresses"][0],
            grpc.ssl_channel_credentials(greedy.ca.read_bytes()),
            [("grpc.max_receive_message_length", -1)],
        )
        with channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            return call(b"".join(encode_infer_request(request)), timeout=PATIENCE_S)

    said, longest_s = longest_wait(greedy, rest if way == "rest" else by_grpc)
    assert said.endswith(n * b"\1\0\0\x000"), said[:200]
    assert longest_s < alone_s


def classes_of(n_classes, n_values):
    """Return what asks for classes of so many values."""
    wanted = {"name": "given", "parameters": {"classification": n_classes}}
    return json.dumps(sizes_of(4, n_values, outputs=[wanted]))


@pytest.mark.parametrize("n_classes", [1000, 100_000])
def test_others_are_answered_while_classes_are_sorted(greedy, n_classes):
    zeros = as_tensor(np.zeros(MAX_CLASSES, np.float32))
    begun = time.monotonic()
    classify(zeros, n_classes, is_batched=False)
    alone_s = time.monotonic() - begun
    (found, _, body), longest_s = longest_wait(
        greedy, lambda: greedy.asked(SWELL, "-d", classes_of(n_classes, MAX_CLASSES))
    )
    assert found == 200, body[:200]
    (given,) = json.loads(body)["outputs"]
    assert given["data"] == [f"0.000000:{i}" for i in range(n_classes)]
    assert longest_s < alone_s / 2


def test_classes_that_ask_for_more_memory_than_requests_have(greedy):
    found, _, body = greedy.asked(SWELL, "-d", classes_of(1 << 40, MAX_CLASSES))
    assert (found, b"than all requests together may hold" in body) == (413, True), body[:200]
    found, _, body = greedy.asked(SWELL, "-d", classes_of(1, MAX_CLASSES + 1))
    assert (found, b"too large" in body) == (400, True), body[:200]


def test_answers_of_grpc_that_nobody_reads(greedy):
    """A client that opens no window for any of its calls."""
    sizes = (np.array([n], np.int64) for n in (4, 1 << 20))
    inputs = tuple(
        NamedTensor(name=name, tensor=as_tensor(size))
        for name, size in zip(models.SIZES, sizes, strict=True)
    )
    message = b"".join(encode_infer_request(InferRequest(model_name="swelling", inputs=inputs)))
    shut = frame(SETTINGS, content=b"\0\4\0\0\0\0")  # SETTINGS_INITIAL_WINDOW_SIZE
    body = b"\0" + len(message).to_bytes(4, "big") + message
    context = ssl.create_default_context(cafile=greedy.ca)
    context.set_alpn_protocols(["h2"])
    port = int(greedy.facts["grpc_addresses"][0].rpartition(":")[2])
    with ExitStack() as stack:
        for _ in range(2):
            plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            sock = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + shut)
            for number in range(1, 121, 2):
                sock.sendall(frame(HEADERS, END_HEADERS, number, call_of(b"ModelInfer")))
                sock.sendall(frame(DATA, END_STREAM, number, body))
        time.sleep(2)  # until all of them are computed
        found, _, body = greedy.asked(SWELL, "-d", json.dumps(sizes_of(4, 4)))
        assert found == 200, body
    refused = [x for x in greedy.requests("ModelInfer") if x.get("code") == "oip.busy"]
    assert len(refused) > 50


def test_names_cant_speak_on_the_page(server, alive):
    status, headers, page = server.asked("/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert b"innerHTML" not in page
    assert b"document.write" not in page


def test_memory_is_not_taken_by_announcing(server, alive):
    """Bodies that were announced and never come hold none: who sends one is answered at once."""
    opened = []
    for _ in range(20):
        sock = raw(server)
        line = f"Inference-Header-Content-Length: 10\r\nContent-Length: {30 << 20}\r\n\r\n"
        sock.sendall(POST + line.encode())
        opened.append(sock)
    for _ in range(3):
        assert asked(server, "POST", INFER, bytes(1 << 20))[0] == 400
    for sock in opened:
        sock.close()
