"""What the README and docs/serving.md show of serving, run as written, on a port that is free."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import inferonnx
from conftest import small_cnn
from served import PATIENCE_S, command

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SERVING = (ROOT / "docs" / "serving.md").read_text()
PORT = ":8443"


def commands(text):
    """Return the commands of the block that begins on a host: who says it, and its words."""
    (block,) = re.findall(r"```console\n(host\$.*?)```", text, re.DOTALL)
    steps = [line.partition("$")[::2] for line in block.strip().splitlines()]
    found = [(who, shlex.split(line)) for who, line in steps]
    assert all(words[0] == "inferonnx" for _, words in found)
    return [(who, words[1:]) for who, words in found]


@pytest.fixture(scope="module")
def sealed_resnet(key, tmp_path_factory):
    """A small model under the documents' names, sealed."""
    folder = tmp_path_factory.mktemp("resnet")
    model = onnx.load(small_cnn(folder / "model.onnx", channels=8))
    (given,), (taken,) = model.graph.input, model.graph.output
    given.name = model.graph.node[0].input[0] = "data"
    taken.name = model.graph.node[-1].output[0] = "resnetv27_dense0_fwd"
    for axis in given.type.tensor_type.shape.dim[2:]:
        axis.dim_value = 224
    onnx.save(model, folder / "model.onnx")
    inferonnx.seal(folder / "model.onnx", folder / "resnet152.sealed", key=key, memory="85MiB")
    return folder / "resnet152.sealed"


@pytest.fixture
def folder(tmp_path, key, sealed_resnet, monkeypatch):
    """A folder as its owner has it: a key, a sealed model, a sample."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key.save(tmp_path / "owner.key")
    shutil.copy(sealed_resnet, tmp_path)
    (tmp_path / "sample").mkdir()
    np.savez(tmp_path / "sample" / "input_0.npz", data=np.zeros((1, 3, 224, 224), np.float32))
    return tmp_path


@pytest.fixture
def serve(folder, key):
    """Run the host's command of a document; return where it serves."""
    started = []

    def start(words):
        words = [key.public_key if word == "PUBKEY" else word for word in words]
        more = ("--listen", "127.0.0.1:0", "--json")
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "inferonnx", *words, *more],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )
        started.append(server)
        facts = json.loads(server.stdout.readline())
        return ":" + facts["addresses"][0].rpartition(":")[2]

    yield start
    for server in started:
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
        server.stdout.close()


def said(words, port, folder):
    """Run a command of a document against a port; return what it shows."""
    done = command(*(word.replace(PORT, port) for word in words), cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_session_of_docs_serving(folder, serve):
    steps = commands(SERVING)
    assert [who for who, _ in steps] == ["host", "owner", "owner", "client"]
    port = serve(steps[0][1])
    for _, words in steps[1:]:
        # Each line says that nothing was attested; without it nobody is spoken to.
        careful = [w.replace(PORT, port) for w in words if not w.startswith("--insecure")]
        done = command(*careful, cwd=folder)
        assert done.returncode == 4
        assert "attestation" in done.stderr
        shown = said(words, port, folder)
    assert shown.startswith("resnetv27_dense0_fwd: float [1, 10], largest ")


def test_the_readmes_ten_lines(folder, serve):
    steps = commands(README)
    assert [who for who, _ in steps] == ["host", "owner", "owner"]
    (code,) = re.findall(r"```python\n(import[^`]*tritonclient.*?)```", README, re.DOTALL)
    assert len(code.split("\n\n")[1].splitlines()) < 10
    port = serve(steps[0][1])
    for _, words in steps[1:]:
        said(words, port, folder)
    client = folder / "client"
    client.mkdir()
    shutil.copy(folder / "server.pem", client)
    (client / "code.py").write_text(code.replace(PORT, port))
    done = subprocess.run(
        [sys.executable, "code.py"], cwd=client, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 0 <= int(done.stdout) < 10
