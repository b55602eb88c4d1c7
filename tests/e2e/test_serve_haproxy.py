"""HAProxy in front of two servers, in TCP mode: TLS goes through it, to one or the other."""

import http.client
import socket
import ssl
import subprocess
import time

import gevent.ssl
import pytest
import tritonclient.http as triton

from machine import tool
from served import PATIENCE_S
from serving.running import until

CONFIG = """
global
    maxconn 200
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen models
    bind 127.0.0.1:{port}
    balance roundrobin
    option httpchk GET /v2/health/ready
    http-check expect status 200
    default-server check check-ssl verify none inter 200 fall 1 rise 1
    server first {first}
    server second {second}
"""


@pytest.fixture
def proxied(start, tmp_path):
    """Return both servers, HAProxy's port, and a file of both servers' certificates."""
    haproxy = tool("haproxy")
    servers = [start("cnn", options=("--allow-anonymous-infer",)) for _ in range(2)]
    both = tmp_path / "both.pem"
    both.write_text("".join(server.ca.read_text() for server in servers))
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    first, second = (server.url.removeprefix("https://") for server in servers)
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.format(port=port, first=first, second=second))
    process = subprocess.Popen([haproxy, "-q", "-db", "-f", config])
    try:
        until(lambda: is_open(port))
        yield servers, port, both
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return False
    return True


def shown_certificate(port, trusted):
    """Return the certificate of a new connection through the proxy, after a request on it."""
    context = ssl.create_default_context(cafile=trusted)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=PATIENCE_S)
    connection.request("GET", "/v2/health/ready")
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b'{"ready":true,"live":true}')
    certificate = connection.sock.getpeercert(binary_form=True)
    connection.close()
    return ssl.DER_cert_to_PEM_cert(certificate)


def test_tls_ends_in_the_servers_and_one_may_go(proxied, image):
    servers, port, both = proxied
    own = {server.ca.read_text() for server in servers}
    assert {shown_certificate(port, both) for _ in range(4)} == own

    client = triton.InferenceServerClient(
        f"127.0.0.1:{port}",
        ssl=True,
        concurrency=4,
        ssl_context_factory=lambda: gevent.ssl.create_default_context(cafile=both),
    )
    wanted = triton.InferInput("image", list(image.shape), "FP32").set_data_from_numpy(image)

    def ask(n):
        asked = [client.async_infer("cnn", [wanted]) for _ in range(n)]
        assert all(one.get_result().as_numpy("scores").shape == (1, 10) for one in asked)

    ask(12)
    gone, left = servers
    assert gone.end() == 0
    time.sleep(0.5)  # two checks of the proxy's: it knows by then
    assert {shown_certificate(port, both) for _ in range(4)} == {left.ca.read_text()}
    ask(12)
    client.close()
    assert left.end() == 0
