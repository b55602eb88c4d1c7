import os
import subprocess
import sys

import pytest

from inferonnx.runtime import process
from machine import tool


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


@pytest.mark.parametrize("forgets", [True, False])
@pytest.mark.parametrize("n_bytes", [5000, process.FORGOTTEN_BYTES])
def test_a_wiped_buffer_is_zeros_whether_or_not_the_system_forgets(n_bytes, forgets, monkeypatch):
    monkeypatch.setattr(process, "_dropping_works", lambda: forgets)
    buffer = process.PrivateBuffer(n_bytes)
    buffer.view[:] = b"\xff" * n_bytes
    before = process.resident_bytes()
    buffer.wipe()
    is_forgotten = process.resident_bytes() < before - n_bytes // 2
    assert is_forgotten is (forgets and n_bytes >= process.FORGOTTEN_BYTES)
    assert not any(buffer.view)
    buffer.view[-1] = 1  # it is memory as before
    buffer.close()


def test_peak_is_at_least_what_is_resident():
    assert process.peak_resident_bytes() >= process.resident_bytes() > 1 << 20


GRAMINE = b"VmPeak:\t 1048576 kB\n"


@pytest.mark.parametrize(
    "status", [None, b"", GRAMINE, b"VmRSS:\nVmHWM:\tmany kB\n", b"VmRSS: 0 kB\nVmHWM: 0 kB\n"]
)
def test_what_the_system_does_not_tell_is_unknown(status, tmp_path, monkeypatch):
    if status is not None:
        (tmp_path / "status").write_bytes(status)
    monkeypatch.setattr(process, "PROC", str(tmp_path))
    assert process.resident_bytes() is None
    assert process.peak_resident_bytes() is None
    process.forget_peak()
    process.drop_clean_file_pages()


DROP = """
import sys
from inferonnx.runtime import process
from inferonnx.runtime.ort import Environment
Environment.acquire(n_threads=2, spin=False, arena_strategy=0, arena_bytes=0)
before = process.resident_bytes()
kept, process.PROC = process.PROC, sys.argv[1]
process.drop_clean_file_pages()
process.PROC = kept
print(before - process.resident_bytes(), process._dropping_works())
"""


def dropped(proc, **environment):
    """By how many bytes a drop lowers what is resident, and whether the test page forgets."""
    done = subprocess.run(
        [sys.executable, "-c", DROP, str(proc)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    n_bytes, works = done.stdout.split()
    return int(n_bytes), works == "True"


def test_pages_are_dropped_only_where_the_system_says_which(tmp_path):
    n_bytes, works = dropped("/proc/self")
    assert works
    assert n_bytes > 4 << 20
    n_bytes, works = dropped(tmp_path)  # no smaps there
    assert works
    assert n_bytes < 1 << 20


OCCLUM = """
#include <stddef.h>
#include <unistd.h>
/* Says yes and does nothing; a call on more than the test page is told. */
int madvise(void *address, size_t n_bytes, int advice) {
    (void)address;
    if (advice == 4 && n_bytes > 4096)
        write(2, "dropped", 7);
    return 0;
}
"""


def test_pages_are_dropped_only_where_a_test_page_shows_that_it_works(tmp_path, capfd):
    (tmp_path / "madvise.c").write_text(OCCLUM)
    library = str(tmp_path / "madvise.so")
    subprocess.run(
        [tool("gcc"), "-shared", "-fPIC", "-o", library, str(tmp_path / "madvise.c")], check=True
    )
    n_bytes, works = dropped("/proc/self", LD_PRELOAD=library)
    assert not works
    assert n_bytes < 1 << 20
    assert "dropped" not in capfd.readouterr().err


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
