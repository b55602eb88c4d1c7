"""Settings of docs/serve-config.md, each by what it does to a live server."""

import os
import signal
import socket
import time

import pytest

import inferonnx
from served import PATIENCE_S, Served, command
from serving.asking import PATIENT, Asker, raw, request, turns, turns_in
from serving.certificates import openssl
from serving.running import everything, until

SETTINGS = """
allow_anonymous_infer = true
handshake_timeout_s = 1
header_timeout_s = 1
body_timeout_s = 1
idle_timeout_s = 1
request_timeout_s = 1
max_connections = 6
max_connections_per_address = 5
max_header = "1KiB"
max_headers = 8
max_body = "100kB"
max_chunks = 4
max_batch = 1
concurrency = 1
quota = "300kB"
max_uploads = 1
certificate_days = 7
tls_san = ["127.0.0.1"]
"""


@pytest.fixture(scope="module")
def served(start):
    server = start("patient", settings=SETTINGS)
    yield server
    assert server.end() == 0, server.log.read_text()


def status(said):
    assert said.startswith(b"HTTP/1.1 "), said
    return int(said.split()[1])


def told(served, data):
    with raw(served) as sock:
        sock.sendall(data)
        return everything(sock)


def test_deadlines(served):
    """All of them at once, so that it is one second for all."""
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S) as silent,
        raw(served) as idle,
        raw(served) as slow_head,
        raw(served) as slow_body,
    ):
        idle.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n")
        slow_head.sendall(b"GET / HTTP/1.1\r\nHost:")
        slow_body.sendall(request(PATIENT, turns(1))[:-1])
        assert everything(silent) == b""
        assert status(everything(idle)) == 200
        assert status(everything(slow_head)) == 408
        assert status(everything(slow_body)) == 408
    assert 0.9 < time.monotonic() - began < 8


def test_sizes(served):
    assert status(told(served, request(PATIENT, b"", "X: " + "x" * 1000))) == 431
    assert status(told(served, request(PATIENT, b"", *["X: x"] * 8))) == 431
    assert status(told(served, request(PATIENT, bytes(100_001), "Connection: close"))) == 413
    body = turns(1)
    head = f"POST {PATIENT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body)
    assert status(told(served, head + chunks + b"0\r\n\r\n")) == 400


def test_connections_of_one_address(served):
    held = []
    try:
        while len(held) < 5:
            held.append(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S))
        with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_S) as sixth:
            assert everything(sixth) == b""
    finally:
        for sock in held:
            sock.close()


def test_a_request_that_waits_too_long(served):
    until(lambda: Asker(served, PATIENT, turns(1)).answered() == 200)  # the test before has left
    first = Asker(served, PATIENT, turns(turns_in(served, 2.5)))
    time.sleep(0.2)
    assert Asker(served, PATIENT, turns(1)).answered() == 504
    assert first.answered() == 200


def test_the_certificate_is_valid_for_its_days(served):
    seven, eight = 7 * 86_400 - 600, 7 * 86_400 + 600
    assert b"will not expire" in openssl("x509", "-in", served.ca, "-checkend", seven)
    with pytest.raises(Exception, match="exit status 1"):
        openssl("x509", "-in", served.ca, "-checkend", eight)
    text = openssl("x509", "-in", served.ca, "-noout", "-ext", "subjectAltName").decode()
    assert "IP Address:127.0.0.1" in text
    assert "localhost" not in text


def test_the_quota(served, sealed, key):
    """The slow model has 264 kB of it."""
    with inferonnx.Client(served.url, ca=served.ca, insecure_no_attestation=True) as client:
        with pytest.raises(inferonnx.InferonnxError, match="quota"):
            client.push(sealed["cnn"], key=key)
        assert client.push(sealed["texts"], key=key) == ("texts", 1)


def test_a_setting_that_nobody_knows_is_refused(tmp_path):
    for line, said in (
        ("allow_anonymous_inferr = true", "allow_anonymous_inferr"),
        ('memory = "much"', "memory"),
        ("max_queue = 0", "max_queue"),
        ('tls_min = "1.1"', "tls_min"),
    ):
        (tmp_path / "serve.toml").write_text(line + "\n")
        done = command("serve", "--models", tmp_path, "--config", tmp_path / "serve.toml")
        assert done.returncode == 2
        assert said in done.stderr


def test_a_flag_wins(tmp_path, key):
    (tmp_path / "repo").mkdir()
    server = Served(tmp_path, key.public_key, "--memory", "90MiB", settings='memory = "500MiB"')
    assert server.facts["memory_bytes"] == 90 << 20
    assert server.end() == 0


def opened(path):
    path.write_text("allow_anonymous_infer = true\n")


def as_a_folder(path):
    path.unlink()
    path.mkdir()


def as_a_pipe(path):
    path.rmdir()
    os.mkfifo(path)


def test_the_configuration_is_read_at_the_start_alone(start):
    """Whatever becomes of the file: rights stay, and SIGHUP ends the server as SIGTERM does."""
    server = start()
    path = server.folder / "serve.toml"
    for change in (opened, as_a_folder, as_a_pipe, os.unlink):
        change(path)
        assert server.asked("/inferonnx/v1/status", role="metrics")[0] == 200
        assert server.asked("/v2/models/stats", role="infer")[0] == 200
        assert server.asked("/v2/models/stats")[0] == 401
    opened(path)
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait(PATIENCE_S) == 0
    server.kill()
    server.start()
    assert server.asked("/v2/models/stats", role="infer")[0] == 401
    assert server.asked("/v2/models/stats")[0] == 200
    assert server.end() == 0


@pytest.mark.parametrize("file", ["/dev/zero", "/dev/urandom"])
def test_a_configuration_without_an_end_is_refused(file):
    done = command("serve", "--config", file, "--models", "nowhere")
    assert done.returncode == 2
    assert "has more than 4194304 bytes" in done.stderr
