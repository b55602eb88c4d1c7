"""What must not happen beside the work: telemetry, plaintext on a disk."""

import os
import subprocess
import sys

import numpy as np

CODE = """
import os, sys, threading
from inferonnx.cli import main
code = main(sys.argv[1:])
links = []
for name in os.listdir("/proc/self/fd"):
    try:
        links.append(os.readlink("/proc/self/fd/" + name))
    except OSError:
        pass
assert code == 0, code
assert not any(link.startswith("socket:") for link in links), links
"""


def run(home, *arguments):
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "TMPDIR": str(home / "tmp")}
    subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        check=True,
        capture_output=True,
        env=environment,
        cwd=home,
    )


def files_below(folder):
    return sorted(
        os.path.relpath(os.path.join(at, name), folder)
        for at, _, names in os.walk(folder)
        for name in names
    )


def test_sealing_and_running_leave_no_telemetry_and_no_file(cnn, key_path, image, tmp_path):
    (tmp_path / "tmp").mkdir()
    np.savez(tmp_path / "in.npz", image=image)
    run(tmp_path, "seal", cnn, "-o", "m.sealed", "--key", key_path)
    assert files_below(tmp_path) == ["in.npz", "m.sealed"]
    run(tmp_path, "run", "m.sealed", "--key", key_path, "--input", "in.npz")
    assert files_below(tmp_path) == ["in.npz", "m.sealed"]


def test_the_sealed_file_shows_neither_names_nor_weights(sealed_cnn, cnn):
    sealed, plain = sealed_cnn.read_bytes(), cnn.read_bytes()
    for secret in (b"secret", b"Conv", b"image", b"scores", b"the tests", b"tensor(float)"):
        assert secret not in sealed
    for start in range(0, len(plain) - 64, 997):
        assert plain[start : start + 64] not in sealed


def test_opening_a_model_writes_to_nothing(sealed_cnn, key_path, image, tmp_path):
    np.savez(tmp_path / "in.npz", image=image)
    trace = tmp_path / "trace"
    subprocess.run(
        [
            *("strace", "-f", "-o", str(trace), "-e", "trace=openat,creat,memfd_create,socket"),
            *(sys.executable, "-B", "-m", "inferonnx", "run", str(sealed_cnn)),
            *("--key", str(key_path), "--input", str(tmp_path / "in.npz")),
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )
    for line in trace.read_text().splitlines():
        assert "socket(" not in line
        assert "memfd_create(" not in line
        writes = "O_WRONLY" in line or "O_RDWR" in line or "O_CREAT" in line
        assert not writes or any(
            f'"{name}"' in line for name in ("/proc/self/coredump_filter", "/dev/tty")
        ), line
