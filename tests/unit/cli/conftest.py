import os
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
