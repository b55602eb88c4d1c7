"""What a test needs and not every machine has: libaegis, a browser, a proxy, a tracer.

The README's command passes without them: tests of a suite that isn't there are not
collected, tests that need a tool are skipped and say what to install. In continuous
integration, where the variable `CI` is set, nothing is left out and what is missing fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from inferonnx.crypto import SUITES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from inferonnx.crypto import Suite

PACKAGES = {
    "bash": "bash",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "dd": "coreutils",
    "haproxy": "haproxy",
    "openssl": "openssl",
    "perf": "linux-perf",
    "gcc": "gcc",
    "qemu-x86_64-static": "qemu-user-static",
    "strace": "strace",
    "valgrind": "valgrind",
}
"""Which package of Debian brings a program."""


def in_ci() -> bool:
    """Return whether nothing may be left out."""
    return bool(os.environ.get("CI"))


def suites_here() -> dict[str, Suite]:
    """Return the suites to test here, by name."""
    return {name: suite for name, suite in SUITES.items() if in_ci() or suite.is_available()}


EACH_SUITE = pytest.mark.parametrize("suite", suites_here().values(), ids=suites_here())
"""Once for each suite that is tested here."""


def module_needs(*names: str) -> None:
    """Skip the module that calls this, as one, where a suite or a program isn't there."""
    for name in names:
        if name not in suites_here() and not in_ci() and shutil.which(name) is None:
            pytest.skip(lack_of(name), allow_module_level=True)


def tool(name: str) -> str:
    """Return the path of a program; without it skip the test, or fail it in CI."""
    path = shutil.which(name)
    if path is None and in_ci():
        pytest.fail(f"{lack_of(name)} (CI is set, so nothing is skipped)", pytrace=False)
    if path is None:
        pytest.skip(lack_of(name))
    return path


def package(name: str) -> ModuleType:
    """Import a package that an extra brings; without it skip the test, or fail it in CI."""
    try:
        return import_module(name)
    except ImportError:
        reason = f"no package {name} here; pip install '.[test,paper]'"
        if in_ci():
            pytest.fail(f"{reason} (CI is set, so nothing is skipped)", pytrace=False)
        pytest.skip(reason)


def lack_of(name: str) -> str:
    if name in SUITES:
        return f"no library of {name} here; with a C compiler: pip install '.[test,aegis]'"
    return f"no {name} here; on Debian: apt install {PACKAGES[name]}"


@contextmanager
def small_disk(folder: Path, *, n_bytes: int, n_inodes: int) -> Iterator[Path]:
    """Give a file system of that size; skip the test where none may be mounted.

    In CI too, for once: a container that may not mount is no machine that lacks a tool.
    What needs no such disk is tested by a limit on the size of files.
    """
    folder.mkdir()
    options = f"size={n_bytes},nr_inodes={n_inodes}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small disk here; as root it is there")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
