"""A host that sets the clock, to any time and in the middle of things: the server serves on."""

import json
import ssl
import time
from urllib.request import Request, urlopen

import pytest
import tritonclient.grpc as triton

import inferonnx
from served import PATIENCE_S, Served

PROGRAM = """
import sys, time
from pathlib import Path

real = time.time
offset = Path({path!r})
time.time = lambda: real() + float(offset.read_text())
time.time_ns = lambda: int(time.time() * 1e9)

from inferonnx.cli import main

sys.exit(main(sys.argv[1:]))
"""
"""What a kernel would not have (before 1970), a library OS has from its host."""

CLOCKS_S = {
    "2106 is over": (1 << 32) + 5,
    "another 136 years": 1 << 33,
    "before 1970": -5,
    "1955": -15 * 365 * 86_400,
    "now": None,
}


class Turned(Served):
    """A server whose clock the tests set."""

    @property
    def offset(self):
        return self.folder / "offset"

    def turn(self, to_s):
        """Set its clock to a time; None for that of everybody else."""
        ahead = 0 if to_s is None else to_s - time.time()
        whole = self.offset.with_name("new")
        whole.write_text(str(ahead))
        whole.replace(self.offset)  # it is read at any moment

    def start(self):
        if "-m" in self._command:
            at = self._command.index("-m")
            self._command[at : at + 2] = "-c", PROGRAM.format(path=str(self.offset))
        super().start()


@pytest.fixture
def begin(tmp_path, key):
    started = []

    def make(to_s=None):
        (tmp_path / "offset").write_text("0" if to_s is None else str(to_s - time.time()))
        options = ("--allow-anonymous-infer", "--log-format", "json", "--grpc", "127.0.0.1:0")
        started.append(Turned(tmp_path, key.public_key, *options))
        return started[-1]

    yield make
    for server in started:
        server.kill()


def assert_sound(server):
    assert server.end() == 0
    assert '"bug"' not in server.log.read_text()


def statistics(server, version):
    """Return when the last request came, in milliseconds, by gRPC: an unsigned number."""
    port = server.facts["grpc_addresses"][0].rpartition(":")[2]
    with triton.InferenceServerClient(
        f"localhost:{port}", ssl=True, root_certificates=str(server.ca)
    ) as client:
        return client.get_inference_statistics("cnn", str(version)).model_stats[0].last_inference


def test_a_clock_that_is_set_while_models_come_and_go(begin, key, sealed, image):
    """First ahead and then back: what was once seen of the clock must not stay for ever."""
    server = begin()
    trust = {"ca": server.ca, "insecure_no_attestation": True}
    with inferonnx.Client(server.url, **trust) as client:
        for to_s in CLOCKS_S.values():
            server.turn(to_s)
            _, version = client.push(sealed["cnn"], key=key)
            client.unlock("cnn", sealed["cnn"], key=key, version=version)
            assert client.infer("cnn", {"image": image})
            clock_s = time.time() if to_s is None else to_s
            last_s = statistics(server, version) / 1000
            assert last_s == pytest.approx(max(0, clock_s), abs=PATIENCE_S)
            is_late = to_s is not None and to_s > time.time()
            said = server.asked("/inferonnx/v1/status", role="all")
            if is_late:
                assert said[0] == 401
                assert b"has expired" in said[2]
            else:
                assert said[0] == 200
                assert 0 < json.loads(said[2])["uptime_s"] < PATIENCE_S
    assert_sound(server)


@pytest.mark.parametrize("to_s", [s for s in CLOCKS_S.values() if s is not None], ids=str)
def test_a_server_that_begins_at_any_time(begin, to_s):
    server = begin(to_s)
    anyone = ssl._create_unverified_context()  # a client has another time
    ask = Request(f"{server.url}/inferonnx/v1/nonce", method="POST")
    with urlopen(ask, context=anyone, timeout=PATIENCE_S) as reply:
        assert len(bytes.fromhex(json.load(reply)["nonce"])) == 32
    assert_sound(server)
