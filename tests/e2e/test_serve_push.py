"""Uploads that meet a full disk or a server that is killed; what is left, and how they go on."""

import hashlib
import socket
from base64 import b64encode

import numpy as np
import pytest

import inferonnx
from conftest import small_cnn
from inferonnx.cli import main
from inferonnx.cli.progress import Progress
from inferonnx.control import Action
from inferonnx.sealed import parse_header, verify_header
from machine import small_disk
from served import Served
from serving import models
from serving.asking import signed
from serving.certificates import Authority, openssl

DISK_BYTES = 2 << 20
PIECE_BYTES = 100_000


@pytest.fixture(scope="module")
def large(key, tmp_path_factory):
    """A sealed model of 1.3 MB."""
    folder = tmp_path_factory.mktemp("large")
    return models.seal(small_cnn(folder / "large.onnx", channels=108), folder, key)


@pytest.fixture
def push(large, key_path, monkeypatch, tmp_path, capsys):
    """Push the large model; the fixture's `told` is called with what the command shows."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("inferonnx.client.push.PIECE_BYTES", PIECE_BYTES)

    def start(served, told=lambda _: None):
        monkeypatch.setattr(Progress, "__call__", lambda _, text: told(text))
        code = main(["push", served.url, str(large), "--key", str(key_path), *served.trust])
        return code, *capsys.readouterr()

    return start


@pytest.fixture
def serve(tmp_path, key):
    """Start a server that comes back to its port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    folder = tmp_path / "served"
    folder.mkdir()
    started = []

    def start(*options, **more):
        at = ("--listen", f"127.0.0.1:{port}", "--log-format", "json")
        started.append(Served(folder, key.public_key, *at, *options, **more))
        return started[-1]

    yield start
    for served in started:
        served.kill()


def left_over(served):
    """Return what is in the folder of models beside the server's own folders."""
    return [
        path.relative_to(served.repository)
        for path in served.repository.rglob("*")
        if path.parent != served.repository or not path.name.startswith(".")
    ]


def works(served, key, large):
    with inferonnx.Client(
        served.url, ca=served.ca, token=served.token(), insecure_no_attestation=True
    ) as client:
        assert client.unlock("large", large, key=key, version=1).state == "ready"
        answer = client.infer("large", {"image": np.zeros((1, 3, 16, 16), np.float32)})
        assert answer["scores"].shape == (1, 10)


def killing(served, *, at, start):
    """Return a listener that kills the server when a push has got so far."""
    seen = []

    def told(text):
        seen.append(text)
        if text.startswith(f"sent {at}") and not seen.count("killed"):
            seen.append("killed")
            served.kill()
            if start:
                served.start()

    told.seen = seen
    return told


def received(served):
    """Return the bytes of all pieces of uploads that came."""
    return sum(line["received"] for line in served.requests("uploads/{upload}"))


def test_a_push_goes_on_after_its_server_was_killed(serve, push, key, large):
    served = serve()
    told = killing(served, at=5, start=True)
    code, _, err = push(served, told)
    # The server's key died with it: nobody knows yet who this is.
    assert code == 3, err
    assert "not trusted" in err
    assert "killed" in told.seen
    first = received(served)
    assert large.stat().st_size * 0.4 < first < large.stat().st_size

    again = []
    code, out, err = push(served, again.append)
    assert (code, out) == (0, "large 1\n"), err
    beginning = next(text for text in again if text.startswith("sent"))
    assert beginning.startswith("sent 5")
    assert received(served) - first < large.stat().st_size * 0.6
    works(served, key, large)
    assert {path.suffix for path in left_over(served) if path.parts[0] == ".uploads"} == {".json"}
    assert served.end() == 0


def test_one_push_outlives_its_server_where_the_key_is_the_same(
    serve, push, key, large, tmp_path, monkeypatch
):
    monkeypatch.setattr("inferonnx.client.push.PAUSES_S", (0.05,) * 10)
    authority = Authority(tmp_path / "ca")
    request, tls_key = tmp_path / "s.csr", tmp_path / "s.key"
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tls_key, "-out", request),
    )
    certificate = authority.sign(request, tmp_path / "s.pem")
    served = serve("--tls-cert", certificate, "--tls-key", tls_key, ca=authority.pem)
    told = killing(served, at=3, start=True)
    code, out, err = push(served, told)
    assert (code, out) == (0, "large 1\n"), err
    assert "killed" in told.seen
    assert received(served) < large.stat().st_size * 1.5
    works(served, key, large)
    assert served.end() == 0


def test_a_push_to_a_server_that_stays_away(serve, push, key, large, monkeypatch):
    monkeypatch.setattr("inferonnx.client.push.PAUSES_S", (0.05,) * 3)
    served = serve()
    code, _, err = push(served, killing(served, at=6, start=False))
    assert code == 5
    assert "not sent twice" in err
    served.start()
    again = []
    assert push(served, again.append)[0] == 0
    assert next(text for text in again if text.startswith("sent")).startswith("sent 6")
    assert served.end() == 0


@pytest.fixture
def on_small_disk(tmp_path, key):
    """A server whose models lie on a disk of 2 MiB."""
    folder = tmp_path / "served"
    folder.mkdir()
    with small_disk(folder / "repo", n_bytes=DISK_BYTES, n_inodes=100):
        served = Served(folder, key.public_key)
        yield served
        served.kill()


def ballast(served, n_bytes):
    (served.repository / ".ballast").write_bytes(bytes(n_bytes))


def test_a_disk_without_room(on_small_disk, push, key, large):
    served = on_small_disk
    ballast(served, DISK_BYTES - (1 << 20))
    code, _, err = push(served)
    assert code == 5
    assert "room" in err
    assert not left_over(served)
    assert served.asked("/v2/health/ready")[0] == 200
    ballast(served, 0)
    assert push(served)[0] == 0
    works(served, key, large)
    assert served.end() == 0


def test_a_disk_that_fills_up_in_the_middle(on_small_disk, push, key, large):
    """Announced while there was room: the rest gets 507, and nothing of it stays."""
    served = on_small_disk
    data = large.read_bytes()
    header = verify_header(parse_header(data))
    digest = b64encode(hashlib.sha256(data).hexdigest().encode()).decode()
    tus = ("-H", "Tus-Resumable: 1.0.0")
    status, headers, body = served.asked(
        "/inferonnx/v1/models/large/versions/next/uploads",
        *("-X", "POST", *tus, "-H", f"Upload-Length: {len(data)}"),
        *("-H", f"Upload-Metadata: sha256 {digest}"),
        *("-H", signed(served, key, Action.PUSH, "large", 0, header.model_id)),
    )
    assert status == 201, body
    half = len(data) // 2

    def patch(offset, content):
        (served.folder / "piece").write_bytes(content)
        return served.asked(
            headers["location"],
            *("-X", "PATCH", *tus, "-H", f"Upload-Offset: {offset}"),
            *("-H", "Content-Type: application/offset+octet-stream"),
            *("--data-binary", f"@{served.folder / 'piece'}"),
        )

    assert patch(0, data[:half])[0] == 204
    ballast(served, DISK_BYTES - half - (100 << 10))
    status, _, body = patch(half, data[half:])
    assert status == 507, body
    assert b"disk is full" in body
    assert served.asked(headers["location"], "-I", *tus)[0] in (404, 410)
    assert not left_over(served)
    ballast(served, 0)
    assert push(served)[0] == 0
    works(served, key, large)
    assert served.end() == 0


def test_what_other_processes_take_is_theirs(serve, key, tmp_path):
    """Two servers in one folder would take each other's uploads for dead."""
    served = serve()
    second = tmp_path / "second"
    second.mkdir()
    (second / "repo").symlink_to(served.repository)
    with pytest.raises(AssertionError, match="another server"):
        Served(second, key.public_key)
    assert served.end() == 0
