import os
import shutil
import subprocess
import sys

import numpy as np
import pytest


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
