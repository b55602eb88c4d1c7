"""Clients that can't share our environment: each has one of its own, made once."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "inferonnx-tests"


def environment(name: str, *packages: str) -> Path:
    """Return the folder of an environment with these packages, in the cache of the user."""
    folder = CACHE / name
    if not (folder / "complete").exists():
        venv.create(folder, clear=True, with_pip=True)
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    return folder
