import subprocess
import sys

import pytest

from inferonnx.runtime import process


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_a_buffer_is_private_writable_and_gone_after_close():
    buffer = process.PrivateBuffer(10_000)
    assert len(buffer.view) == 10_000
    assert buffer.address % 4096 == 0
    buffer.view[:3] = b"abc"
    with open("/proc/self/maps") as maps:
        line = next(
            line
            for line in maps
            if int(line.split("-")[0], 16)
            <= buffer.address
            < int(line.split("-")[1].split()[0], 16)
        )
    assert line.split()[1] == "rw-p"
    buffer.close()
    with pytest.raises(ValueError, match="released"):
        buffer.view[0]


def test_peak_is_at_least_what_is_resident():
    assert process.peak_resident_bytes() >= process.resident_bytes() > 1 << 20


def test_dropping_pages_lowers_resident_memory_and_the_libraries_go_on_working():
    out = run(
        "from inferonnx.runtime import process as p\n"
        "from inferonnx.runtime.ort import Environment\n"
        "e = Environment.acquire(n_threads=2, spin=False, arena_strategy=0, arena_bytes=0)\n"
        "before = p.resident_bytes(); p.drop_clean_file_pages(); after = p.resident_bytes()\n"
        "import ssl, hashlib, json; hashlib.sha256(b'x').hexdigest()\n"
        "print(before, after)"
    )
    before, after = map(int, out.split())
    assert after < before - (4 << 20)


def test_no_core_file_holds_memory(tmp_path):
    code = (
        "import os, resource, signal\n"
        "from inferonnx.runtime import process\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "process.forbid_core_dumps()\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE)[0] <= 1\n"
        "os.kill(os.getpid(), signal.SIGSEGV)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -11
    assert list(tmp_path.iterdir()) == []
