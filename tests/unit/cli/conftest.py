import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from served import Served


@pytest.fixture
def command():
    """`inferonnx` in a process of its own."""

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-P", "-m", "inferonnx", *map(str, arguments)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more},
            check=False,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )

    return run


@pytest.fixture(autouse=True)
def state_folder(monkeypatch, tmp_path):
    """Where uploads are remembered: not this user's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("INFERONNX_TOKEN", raising=False)
    return tmp_path / "state"


@pytest.fixture(scope="session")
def served(sealed_cnn, key_path, tmp_path_factory):
    """A real server that has the small model, ready, as version 3."""
    import inferonnx

    key = inferonnx.Key.load(key_path)
    server = Served(tmp_path_factory.mktemp("served"), key.public_key)
    with inferonnx.Client(server.url, ca=server.ca, insecure_no_attestation=True) as client:
        client.push(sealed_cnn, key=key)
        client.unlock("cnn", sealed_cnn, key=key)
    yield server
    assert server.end() == 0, server.log.read_text()


@pytest.fixture
def sample(image, tmp_path):
    """A sample of the small model as an .npz file."""
    path = tmp_path / "in.npz"
    np.savez(path, image=image)
    return path


@pytest.fixture(scope="session")
def in_no_proc():
    """What to put before a command that runs where /proc is empty."""
    hide = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*hide, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no right to mount")
    return hide
