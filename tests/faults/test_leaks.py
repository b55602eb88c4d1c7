"""What must not happen beside the work: telemetry, sockets, plaintext on a disk.

The child watches itself: what Python opens is audited, and a thread looks at all
descriptors of the process again and again, whoever opened them. With strace every
system call is looked at too.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from machine import tool

WATCHED = """
import os, sys, threading

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
written, sockets, done = set(), set(), threading.Event()
tasks = {}

def audit(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[2] & WRITING:
        written.add(str(arguments[0]))
    elif event.startswith("socket."):
        sockets.add(event)

def look():
    for number in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{number}/comm") as file:
                tasks.setdefault(int(number), set()).add(file.read().strip())
        except OSError:
            continue
    for name in os.listdir("/proc/self/fd"):
        try:
            link = os.readlink(f"/proc/self/fd/{name}")
            with open(f"/proc/self/fdinfo/{name}") as file:
                flags = next(int(line.split()[1], 8) for line in file if line[:6] == "flags:")
        except (OSError, StopIteration):
            continue
        if link.startswith("socket:"):
            sockets.add(link)
        if flags & WRITING:
            written.add(link)

def watch():
    while not done.wait(0.001):
        look()

look()
standard = set(written)
sys.addaudithook(audit)
watcher = threading.Thread(target=watch)
watcher.start()
own = {threading.get_native_id(), watcher.native_id}
main_names = set(tasks[threading.get_native_id()])
from inferonnx.cli import main
code = main(sys.argv[1:])
done.set()
watcher.join()
look()
assert code == 0, code
assert not sockets, sockets
threads = threading.enumerate()
assert threads == [threading.main_thread()], threads
for path in sorted(written - standard):
    print("WRITTEN", path, file=sys.stderr)
for number in tasks.keys() - own:
    print("THREAD", " ".join(sorted(tasks[number] - main_names)), file=sys.stderr)
"""

SETTINGS = {"/proc/self/coredump_filter", "/proc/self/clear_refs", "/dev/tty", "/dev/null"}
"""Not files: nothing that is written there can be read again."""

POLLING = "anon_inode:[eventpoll]"
"""Holds no data; Python's selectors open one for a moment to see whether the kernel has them."""


def written_by(home, *arguments):
    """Run a command in a child that watches itself; return what was opened for writing."""
    return watched(home, *arguments)[0]


def watched(home, *arguments):
    """As `written_by`; and for each thread beside the first, the names that are its own."""
    # onnxruntime tells nothing from a machine that says it is CI's either.
    quiet = ("ORT_DISABLE_TELEMETRY", "CI")
    environment = {k: v for k, v in os.environ.items() if k not in quiet}
    environment |= {"HOME": str(home), "TMPDIR": str(home / "tmp")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED, *map(str, arguments)],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        cwd=home,
    )
    assert done.returncode == 0, done.stderr
    found = {line[8:] for line in done.stderr.splitlines() if line.startswith("WRITTEN ")}
    threads = [line[7:] for line in done.stderr.splitlines() if line.startswith("THREAD ")]
    return {path for path in found if not path.startswith("pipe:")} - {*SETTINGS, POLLING}, threads


def files_below(folder):
    return sorted(
        os.path.relpath(os.path.join(at, name), folder)
        for at, _, names in os.walk(folder)
        for name in names
    )


@pytest.fixture
def home(image, tmp_path):
    """A home with nothing in it but a temporary folder and a sample."""
    (tmp_path / "tmp").mkdir()
    np.savez(tmp_path / "in.npz", image=image)
    return tmp_path


def test_sealing_writes_encrypted_files_and_memory_only(home, cnn, key_path):
    written = written_by(home, "seal", cnn, "-o", "m.sealed", "--key", key_path)
    assert files_below(home) == ["in.npz", "m.sealed"]
    assert any(path.endswith(".inferonnx.part") for path in written)
    for path in written:
        if not path.startswith(("/memfd:", "/dev/shm")):
            name = os.path.basename(path.removesuffix(" (deleted)"))
            assert name.endswith((".sealed", ".inferonnx.part")), path


def test_running_writes_nothing_and_leaves_nothing(home, sealed_cnn, key_path):
    arguments = ["run", sealed_cnn, "--key", key_path, "--input", "in.npz"]
    assert written_by(home, *arguments) == set()
    assert files_below(home) == ["in.npz"]


def test_running_writes_the_outputs_that_were_asked_for(home, sealed_cnn, key_path):
    arguments = ["run", sealed_cnn, "--key", key_path, "--input", "in.npz", "-o", "out.npz"]
    written = {os.path.basename(path) for path in written_by(home, *arguments)}
    assert any(name.endswith(".inferonnx.part") for name in written)
    assert all(name == "out.npz" or name.endswith(".inferonnx.part") for name in written), written
    assert files_below(home) == ["in.npz", "out.npz"]


@pytest.mark.parametrize("threads", [1, 3])
def test_no_thread_appears_but_those_that_open_and_compute(home, sealed_cnn, key_path, threads):
    arguments = ["run", sealed_cnn, "--key", key_path, "--input", "in.npz", "--repeat", 200]
    _, seen = watched(home, *arguments, "--threads", threads)
    # A thread each that opens, and a worker each of onnxruntime's pool, beside the caller's.
    # Python 3.14 tells the system how it calls its own.
    assert len(seen) == 2 * (threads - 1)
    assert set(seen) <= {"", "inferonnx-open"}


TELLING = """
import os, types
from inferonnx.runtime import ort_api
# Not refused: what the library does when nobody says no.
ort_api.os = types.SimpleNamespace(environ={}, path=os.path, listdir=os.listdir)
from inferonnx.cli import main
"""


def test_the_watch_sees_onnxruntimes_telemetry(home, sealed_cnn, key_path, monkeypatch):
    # Else the tests above would pass whatever it did.
    script = WATCHED.replace("from inferonnx.cli import main\n", TELLING)
    monkeypatch.setitem(globals(), "WATCHED", script)
    arguments = ["run", sealed_cnn, "--key", key_path, "--input", "in.npz", "--repeat", 200]
    written, threads = watched(home, *arguments, "--threads", 1)
    assert any("onnxruntime" in path for path in written)
    assert threads
    assert any("onnxruntime" in path for path in files_below(home))


def test_the_watch_sees_what_is_written(home, monkeypatch):
    # Else the tests above would pass whatever happens.
    script = WATCHED.replace(
        "from inferonnx.cli import main",
        "def main(words):\n"
        "    import ctypes, time\n"
        "    ctypes.CDLL(None).creat(words[0].encode(), 0o600)\n"
        "    open(words[1], 'wb').close()\n"
        "    time.sleep(0.05)\n"
        "    return 0",
    )
    monkeypatch.setitem(globals(), "WATCHED", script)
    written = written_by(home, home / "c", "python")
    assert {str(home / "c"), "python"} <= written  # the second perhaps by its whole name too
    assert {os.path.basename(path) for path in written} == {"c", "python"}


def test_the_sealed_file_shows_neither_names_nor_weights(sealed_cnn, cnn):
    sealed, plain = sealed_cnn.read_bytes(), cnn.read_bytes()
    for secret in (b"secret", b"Conv", b"image", b"scores", b"the tests", b"tensor(float)"):
        assert secret not in sealed
    for start in range(0, len(plain) - 64, 997):
        assert plain[start : start + 64] not in sealed


def test_no_system_call_of_a_run_opens_anything_for_writing(home, sealed_cnn, key_path):
    trace = home / "trace"
    calls = "trace=openat,creat,memfd_create,socket"
    command = [
        *(tool("strace"), "-f", "-o", str(trace), "-e", calls),
        *(sys.executable, "-B", "-m", "inferonnx", "run", str(sealed_cnn)),
        *("--key", str(key_path), "--input", str(home / "in.npz")),
    ]
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    lines = trace.read_text().splitlines()
    assert any("openat(" in line for line in lines)
    for line in lines:
        assert "socket(" not in line
        assert "memfd_create(" not in line
        writes = "O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line
        assert not writes or any(f'"{name}"' in line for name in SETTINGS), line
