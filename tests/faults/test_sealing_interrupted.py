"""Full disks and signals while sealing: one sentence, the old file intact, nothing left behind."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

ENVIRONMENT = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}


def command(cnn, key_path, output):
    return [
        *(sys.executable, "-m", "inferonnx", "seal", str(cnn), "-o", str(output)),
        *("--key", str(key_path), "--memory", "85MiB"),
    ]


@pytest.fixture
def output(tmp_path):
    path = tmp_path / "model.sealed"
    path.write_bytes(b"the old file")
    return path


def assert_untouched(output):
    assert output.read_bytes() == b"the old file"
    assert os.listdir(output.parent) == [output.name]


@pytest.mark.parametrize("limit", [0, 1000, 60_000])
def test_a_disk_that_fills_up(cnn, key_path, output, limit):
    # The kernel refuses to let files grow beyond the limit, as a full disk would.
    done = subprocess.run(
        command(cnn, key_path, output),
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 5, done.stderr
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert_untouched(output)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("delay_s", [0.3, 0.9, 1.5])
def test_interrupts_at_any_moment(cnn, key_path, output, name, delay_s):
    process = subprocess.Popen(
        command(cnn, key_path, output),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    time.sleep(delay_s)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:  # it was faster
        assert output.read_bytes() != b"the old file"
        assert os.listdir(output.parent) == [output.name]
        return
    assert process.returncode in (130, -signal.SIGINT, -signal.SIGTERM), errors
    assert "Traceback" not in errors
    assert_untouched(output)


def test_a_kill_leaves_the_old_file(cnn, key_path, output):
    process = subprocess.Popen(
        command(cnn, key_path, output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 60
    while not any(name != output.name for name in os.listdir(output.parent)):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail("sealing ended before it wrote anything")
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert output.read_bytes() == b"the old file"
