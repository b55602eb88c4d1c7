"""TLS as curl and openssl see it, and servers that want a certificate of their clients."""

import hashlib
import json
import socket
import ssl
import subprocess

import gevent.ssl
import numpy as np
import pytest
import tritonclient.http as triton

import inferonnx
from machine import tool
from served import PATIENCE_S, command
from serving.certificates import Authority, openssl

OLD = "ALL:@SECLEVEL=0"
"""What s_client offers where it has to, so that it is the server that refuses."""

NO_HANDSHAKE = 35
"""curl's exit code for it."""


@pytest.fixture(scope="module", autouse=True)
def _tools():
    tool("curl")
    tool("openssl")


@pytest.fixture(scope="module")
def old_style(start):
    """A server that takes TLS 1.2 too, and has names of its own."""
    server = start(
        *("cnn",),
        options=(
            *("--allow-anonymous-infer", "--tls-min", "1.2"),
            *("--tls-san", "models.example", "127.0.0.1"),
        ),
    )
    yield server
    assert server.end() == 0, server.log.read_text()


def s_client(server, *options, said=b""):
    """Return how `openssl s_client` ends, and what it shows."""
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"),
            *("-CAfile", server.ca, "-verify_return_error", *options),
        ],
        input=said,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout.decode(errors="replace") + done.stderr.decode()


def test_curl_by_tls_1_3(served):
    for wish in ("--tlsv1.3", "--http1.1", "--http2"):
        done = served.curl("/v2", wish, "-w", "%{http_version} %{ssl_verify_result}", role="infer")
        assert done.returncode == 0
        assert done.stdout.endswith(b"1.1 0")
    assert "TLSv1.3" in s_client(served)[1]


def test_tls_1_2_only_where_it_is_wanted(served, old_style):
    by_1_2 = ("--tlsv1.2", "--tls-max", "1.2")
    done = served.curl("/v2", *by_1_2)
    assert done.returncode == NO_HANDSHAKE
    assert old_style.asked("/v2/health/ready", *by_1_2)[0] == 200
    assert old_style.asked("/v2/health/ready", "--tlsv1.3")[0] == 200


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_are_never_taken(served, old_style, version):
    for server in (served, old_style):
        code, shown = s_client(server, version, "-cipher", OLD)
        assert code == 1
        assert "alert protocol version" in shown


@pytest.mark.parametrize(
    ("cipher", "is_taken"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", True),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", True),
        ("ECDHE-ECDSA-AES128-SHA256", False),  # CBC
        ("ECDHE-ECDSA-AES256-SHA", False),
        ("AES128-GCM-SHA256", False),  # no forward secrecy
        ("ECDHE-ECDSA-NULL-SHA", False),
        ("AECDH-AES256-SHA", False),  # nobody's certificate
    ],
)
def test_ciphers_of_tls_1_2(old_style, cipher, is_taken):
    code, shown = s_client(old_style, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
    assert (code == 0) is is_taken, shown
    assert f"Cipher is {cipher}" in shown if is_taken else "handshake failure" in shown


def test_nothing_is_resumed_nor_renegotiated(served, old_style):
    assert "Reused" not in s_client(served, "-reconnect")[1]
    assert "New Session Ticket" not in s_client(served, "-msg", said=b"Q\n")[1]
    shown = s_client(old_style, "-tls1_2", said=b"R\n")[1]
    assert "no renegotiation" in shown


def test_the_key_is_the_one_that_was_told(served):
    named = openssl("x509", "-in", served.ca, "-noout", "-pubkey")
    der = openssl("pkey", "-pubin", "-outform", "der", said=named)
    assert hashlib.sha256(der).hexdigest() == served.facts["public_key"]
    text = openssl("x509", "-in", served.ca, "-noout", "-text").decode()
    assert "NIST CURVE: P-256" in text
    assert "CA:TRUE" not in text


def test_names_are_those_that_were_given(old_style):
    at = ("--resolve", f"models.example:{old_style.port}:127.0.0.1")
    url = f"https://models.example:{old_style.port}/v2/health/live"
    done = subprocess.run(
        ["curl", "-sS", "--cacert", old_style.ca, *at, url], capture_output=True, check=False
    )
    assert json.loads(done.stdout) == {"live": True}
    other = (*at[:1], f"other.example:{old_style.port}:127.0.0.1")
    done = subprocess.run(
        ["curl", "-sS", "--cacert", old_style.ca, *other, url.replace("models.", "other.")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 60


def test_there_is_no_plain_http(served):
    done = subprocess.run(
        ["curl", "-sS", f"http://127.0.0.1:{served.port}/v2/health/live"],
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode != 0
    assert b"live" not in done.stdout
    assert served.asked("/v2/health/live")[0] == 200


def test_compression_only_where_one_coding_is_named(served):
    tensor = {"name": "turns", "shape": [], "datatype": "INT64", "data": [1]}
    asked = ("-d", json.dumps({"inputs": [tensor]}), "-H")
    path = "/v2/models/patient/infer"
    for wish, coding in (
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", None),
        ("identity", None),
    ):
        status, headers, body = served.asked(path, *asked, f"Accept-Encoding: {wish}")
        assert status == 200
        assert headers.get("content-encoding") == coding
        assert (body[:1] == b"{") is (coding is None)
    _, headers, _ = served.asked("/v2/models/patient", "-H", "Accept-Encoding: gzip")
    assert "content-encoding" not in headers


def test_a_large_body_is_expected_first(served):
    """Curl asks before it sends more than a MiB, and waits for a second if nobody answers."""
    image = np.zeros((700, 3, 16, 16), np.float32)
    (served.folder / "body").write_bytes(image.tobytes())
    body = (
        "--data-binary",
        f"@{served.folder / 'body'}",
        "-H",
        "Inference-Header-Content-Length: 0",
    )
    status, _, told = served.asked("/v2/models/cnn/infer", *body, "--expect100-timeout", "30")
    assert status == 413
    assert b"larger than the model was planned for" in told
    assert served.asked("/v2/models/none/infer", *body, "--expect100-timeout", "30")[0] == 404


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def mutual(start, authority):
    """A server for clients with a certificate, who may ask for inferences."""
    server = start(
        "cnn", options=("--client-ca", authority.pem), settings='client_roles = ["infer"]'
    )
    yield server
    assert server.end() == 0, server.log.read_text()


def test_nobody_comes_in_without_a_certificate(mutual, tmp_path):
    # In TLS 1.3 a client learns it with its first read.
    done = mutual.curl("/v2/health/live")
    assert done.returncode != 0
    assert not done.stdout
    stranger, key = Authority(tmp_path / "other", "another CA").client("stranger")
    assert mutual.curl("/v2/health/live", "--cert", stranger, "--key", key).returncode != 0


def test_a_certificate_has_the_roles_that_were_given(mutual, authority, image):
    certificate, key = authority.client("a client")
    mine = ("--cert", certificate, "--key", key)
    assert mutual.asked("/v2/models/cnn", *mine)[0] == 200
    assert mutual.asked("/metrics", *mine)[0] == 403
    assert mutual.asked("/metrics", *mine, role="metrics")[0] == 200  # they add up
    assert mutual.asked("/v2/models/cnn", *mine, role="metrics")[0] == 200

    def context():
        made = gevent.ssl.create_default_context(cafile=mutual.ca)
        made.load_cert_chain(certificate, key)
        return made

    client = triton.InferenceServerClient(
        f"localhost:{mutual.port}", ssl=True, ssl_context_factory=context
    )
    wanted = triton.InferInput("image", list(image.shape), "FP32").set_data_from_numpy(image)
    assert client.infer("cnn", [wanted]).as_numpy("scores").shape == (1, 10)
    client.close()


def test_our_own_clients_have_certificates_too(mutual, authority, image, tmp_path):
    certificate, key = authority.client("another client")
    with inferonnx.Client(
        mutual.url, ca=mutual.ca, insecure_no_attestation=True, certificate=certificate, key=key
    ) as client:
        assert client.infer("cnn", {"image": image})["scores"].shape == (1, 10)
    np.savez(tmp_path / "in.npz", image=image)
    asked = ("infer", mutual.url, "cnn", "--input", tmp_path / "in.npz", *mutual.trust)
    done = command(*asked, "--client-cert", certificate, "--client-key", key)
    assert done.returncode == 0, done.stderr
    done = command(*asked)
    assert done.returncode == 5, done.stderr
    assert "certificate" in done.stderr


def test_a_key_from_outside(start, authority, tmp_path):
    """For hosts without a TEE: the operator's own key and certificate."""
    request, key = tmp_path / "s.csr", tmp_path / "s.key"
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", request),
    )
    certificate = authority.sign(request, tmp_path / "s.pem")
    given = ("--tls-cert", certificate, "--tls-key", key)
    server = start(options=given, ca=authority.pem)
    context = ssl.create_default_context(cafile=authority.pem)
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        with context.wrap_socket(sock, server_hostname="localhost") as tls:
            assert tls.version() == "TLSv1.3"
    done = command("csr", server.url, *server.trust, "--token-file", server.tokens["manage"])
    assert done.returncode == 2
    assert "came from outside" in done.stderr
    assert server.end() == 0
