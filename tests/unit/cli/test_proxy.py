"""The proxy as a command: in a process of its own, in front of a real server."""

import json
import signal
import subprocess
import sys

import pytest

from inferonnx.cli import main
from machine import tool
from served import PATIENCE_S


class Proxying:
    def __init__(self, served, *options, listen="127.0.0.1:0"):
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "inferonnx", "proxy", "--upstream", served.url),
                *("--listen", listen, *served.trust, *map(str, options)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.place = self.process.stdout.readline().strip()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@pytest.fixture
def start(served):
    running = []

    def begin(*options, before=served, **more):
        running.append(Proxying(before, *options, **more))
        return running[-1]

    yield begin
    for proxy in running:
        if proxy.process.poll() is None:
            proxy.end()


def curl(*arguments):
    done = subprocess.run(
        [tool("curl"), "-sS", "--max-time", "30", *map(str, arguments)],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_curl_speaks_to_a_server_through_it(start, served):
    proxy = start("--token-file", served.tokens["infer"])
    assert curl(f"{proxy.place}/v2")["name"] == "inferonnx"
    assert curl(f"{proxy.place}/v2/models/cnn")["versions"]
    code, out, err = proxy.end()
    assert code == 0
    assert not out
    assert served.facts["public_key"] in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_unix_socket_goes_when_it_ends(start, tmp_path, number):
    path = tmp_path / "proxy.sock"
    proxy = start(listen=f"unix:{path}")
    assert proxy.place == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    assert curl("--unix-socket", path, "http://x/v2/health/live") == {"live": True}
    assert proxy.end(number)[0] == 0
    assert not path.exists()


def test_tritonclient_speaks_to_a_server_through_it(start, served, image):
    tritonclient = pytest.importorskip("tritonclient.http")
    proxy = start("--token-file", served.tokens["infer"])
    client = tritonclient.InferenceServerClient(proxy.place.removeprefix("http://"))
    try:
        assert client.is_server_ready()
        wanted = tritonclient.InferInput("image", list(image.shape), "FP32")
        wanted.set_data_from_numpy(image)
        assert client.infer("cnn", [wanted]).as_numpy("scores").shape == (1, 10)
    finally:
        client.close()


def test_the_token_of_the_environment_is_not_everybodys(start, served, monkeypatch):
    monkeypatch.setenv("INFERONNX_TOKEN", served.token())
    proxy = start()
    assert "token" in curl(f"{proxy.place}/v2")["error"]


def test_a_server_that_is_refused_is_refused_at_once(served, capsys):
    words = ["proxy", "--upstream", served.url, "--listen", "127.0.0.1:0"]
    assert main([*words, "--ca", str(served.ca)]) == 4
    assert main([*words, "--insecure-no-attestation"]) == 3
    assert not capsys.readouterr().out


def test_a_place_that_others_reach_takes_a_word_of_its_own(served, capsys):
    words = ["proxy", "--upstream", served.url, "--listen", "0.0.0.0:0", *served.trust]
    assert main(words) == 2
    assert "--allow-remote" in capsys.readouterr().err


def test_a_server_that_is_away_may_come_later(start, served):
    class Away:
        url = "https://127.0.0.1:9"
        trust = served.trust

    proxy = start(before=Away)
    assert "Connection refused" in curl(f"{proxy.place}/x")["error"]
    code, _, err = proxy.end()
    assert code == 0
    assert "can't be used yet" in err
