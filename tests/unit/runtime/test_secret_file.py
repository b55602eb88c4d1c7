import os
import stat
import subprocess
import sys

import pytest

from inferonnx.errors import UnavailableError
from inferonnx.runtime import secret_file as module
from inferonnx.runtime.secret_file import secret_file
from machine import tool

USE = """
import os, sys
from inferonnx.runtime.secret_file import secret_file
with secret_file(b"the secret", folder=sys.argv[1]) as path:
    with open(path, "rb") as file:
        assert file.read() == b"the secret"
    print(path, oct(os.stat(path).st_mode & 0o777))
"""


def without_memfd(folder):
    """Use a secret file where the kernel says that it has no memfd."""
    command = [tool("strace"), "-qq", "-f", "-o", "/dev/null", "-e", "trace=memfd_create"]
    command += ["-e", "inject=memfd_create:error=ENOSYS", sys.executable, "-c", USE, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def files(folder):
    return [name for name in os.listdir(folder) if name.startswith(".inferonnx-")]


def test_the_file_is_in_memory_and_can_be_opened_twice():
    with secret_file(b"the secret") as path:
        for _ in range(2):
            with open(path, "rb") as file:
                assert file.read() == b"the secret"
        assert os.readlink(path).startswith("/memfd:")
    assert not os.path.exists(path)


def test_what_stood_in_it_is_overwritten():
    with secret_file(b"the secret") as path:
        kept = os.open(path, os.O_RDONLY)
    assert os.read(kept, 100) == bytes(10)
    os.close(kept)


def test_it_is_overwritten_after_an_error_too():
    with pytest.raises(ZeroDivisionError), secret_file(b"the secret") as path:
        kept = os.open(path, os.O_RDONLY)
        raise ZeroDivisionError
    assert os.read(kept, 100) == bytes(10)
    os.close(kept)


def test_without_memfd_it_is_a_private_file_on_a_tmpfs():
    done = without_memfd("")
    assert done.returncode == 0, done.stderr
    path, mode = done.stdout.split()
    assert path.startswith("/dev/shm/.inferonnx-")
    assert mode == "0o600"
    assert not files("/dev/shm")


def test_without_memfd_nothing_is_written_to_a_disk(tmp_path):
    if module._file_system(str(tmp_path)) in module._MEMORY_FILE_SYSTEMS:
        pytest.skip("temporary files are in memory here")
    for folder in (tmp_path, tmp_path / "missing"):
        done = without_memfd(folder)
        assert "UnavailableError" in done.stderr
        assert "would reach a disk" in done.stderr
    assert not files(tmp_path)


@pytest.mark.parametrize(("kind", "is_taken"), [(0, True), (0xEF53, False), (0x858458F6, True)])
def test_a_library_os_may_not_tell_what_its_mounts_are(monkeypatch, tmp_path, kind, is_taken):
    from inferonnx.runtime.tee import Tee

    monkeypatch.setattr(module, "_memory_file", lambda: None)
    monkeypatch.setattr(module, "_file_system", lambda _: kind)
    monkeypatch.setattr(module, "find_tee", lambda: Tee.GRAMINE)
    if is_taken:
        with secret_file(b"x", folder=str(tmp_path)) as path:
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    else:
        with pytest.raises(UnavailableError), secret_file(b"x", folder=str(tmp_path)):
            pass
    assert not files(tmp_path)


def test_a_plain_system_must_tell(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_memory_file", lambda: None)
    monkeypatch.setattr(module, "_file_system", lambda _: 0)
    monkeypatch.setattr(module, "find_tee", lambda: None)
    with pytest.raises(UnavailableError), secret_file(b"x", folder=str(tmp_path)):
        pass
