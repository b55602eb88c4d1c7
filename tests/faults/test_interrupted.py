"""Signals, interrupts and full disks: one sentence, old files intact, nothing left behind."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import inferonnx
from conftest import small_cnn
from inferonnx.app.host.keys import Key
from inferonnx.errors import UnavailableError
from inferonnx.tensors import as_tensor, encode_npy

ENVIRONMENT = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
INFERONNX = (sys.executable, "-P", "-m", "inferonnx")


def sealing(cnn, key_path, output):
    return [
        *(*INFERONNX, "seal", str(cnn), "-o", str(output)),
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


@pytest.mark.parametrize("limit", [0, 60_000])
def test_a_disk_that_is_full(cnn, key_path, output, limit):
    # The kernel refuses to let files grow beyond the limit, as a full disk would.
    done = subprocess.run(
        sealing(cnn, key_path, output),
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 5, done.stderr
    first, second = done.stderr.splitlines()
    assert first.startswith("inferonnx: error: ")
    assert "full" in first or "no space left" in first
    assert second.startswith("hint: Free some")
    assert_untouched(output)


@pytest.mark.parametrize("message", ["sealing for a trial", "sealing 100 %"])
def test_a_disk_that_fills_up_while_sealing(cnn, key_path, output, message):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(text):
        if text == message:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))

    try:
        with pytest.raises(UnavailableError, match="no space left") as caught:
            inferonnx.seal(cnn, output, key=Key.load(key_path), memory="85MiB", progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.hint
    assert_untouched(output)


class InterruptAt:
    """Progress that is interrupted at the message of a number, and counts them."""

    def __init__(self, number):
        self.number, self.messages = number, []

    def __call__(self, text):
        self.messages.append(text)
        if len(self.messages) == self.number:
            raise KeyboardInterrupt


def test_sealing_interrupted_at_every_step(cnn, key_path, output):
    key, told = Key.load(key_path), InterruptAt(0)
    while not told.messages or not told.messages[-1].endswith("%"):  # then the file is written
        told = InterruptAt(len(told.messages) + 1)
        with pytest.raises(KeyboardInterrupt):
            inferonnx.seal(cnn, output, key=key, memory="85MiB", progress=told)
        assert_untouched(output)
    assert {"planning, round 1", "sealing for a trial", "measuring a pass"} <= set(told.messages)


def test_the_last_interrupt_still_leaves_the_old_file(cnn, key_path, output):
    def at_the_end(text):
        if text == "sealing 100 %":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inferonnx.seal(cnn, output, key=Key.load(key_path), memory="85MiB", progress=at_the_end)
    assert_untouched(output)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_sealing_in_one_line(cnn, key_path, output, name):
    process = subprocess.Popen(
        sealing(cnn, key_path, output),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    wait_until(lambda: len(os.listdir(output.parent)) > 1, process)  # the trial has begun
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors == "inferonnx: interrupted; nothing unfinished was left behind\n"
    assert_untouched(output)


def test_a_kill_leaves_the_old_file(cnn, key_path, output):
    process = subprocess.Popen(
        sealing(cnn, key_path, output),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    wait_until(lambda: len(os.listdir(output.parent)) > 1, process)
    process.kill()
    process.wait()
    assert output.read_bytes() == b"the old file"


def test_a_trial_that_is_killed_is_told_in_one_sentence(cnn, key_path, output):
    process = subprocess.Popen(
        sealing(cnn, key_path, output),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    found = []
    wait_until(lambda: found.extend(trials_of(process.pid)) or found, process)
    os.kill(found[0], signal.SIGKILL)  # as the kernel does when there is no memory left
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 5, errors
    first, second = errors.splitlines()
    assert first.startswith("inferonnx: error: the trial run of the model was killed")
    assert "out of memory" in first
    assert second.startswith("hint: Close something")
    assert_untouched(output)


def test_a_trial_ends_with_a_sealing_that_is_killed(key_path, tmp_path):
    model = small_cnn(tmp_path / "wide.onnx", channels=512)
    process = subprocess.Popen(
        sealing(model, key_path, tmp_path / "model.sealed"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    found = []

    def is_one_stopped():  # it would go on for long
        for pid in filter(reads_sealed_file, trials_of(process.pid)):
            os.kill(pid, signal.SIGSTOP)
            found.append(pid)
        return found

    wait_until(is_one_stopped, process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    try:
        while reads_sealed_file(found[0]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        with suppress(ProcessLookupError):
            os.kill(found[0], signal.SIGKILL)


def reads_sealed_file(pid):
    """Tell whether a process has one open; none has that has ended."""
    with suppress(OSError):
        folder = f"/proc/{pid}/fd"
        return any(os.readlink(f"{folder}/{fd}").endswith(".sealed") for fd in os.listdir(folder))
    return False


def trials_of(parent):
    """Yield the children of a process that measure a model (proc(5))."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            stat = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
            words = Path("/proc", pid, "cmdline").read_bytes()
            if int(stat[1]) == parent and b"import child" in words:
                yield int(pid)


def wait_until(holds, process):
    deadline = time.monotonic() + 60
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail("it ended before that")
        time.sleep(0.002)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("passes", [0, 1], ids=["reading inputs", "within passes"])
def test_a_signal_ends_a_run_in_one_line(sealed_cnn, key_path, image, tmp_path, name, passes):
    # Inputs come through a pipe: when it has a reader, the model is open. With inputs
    # the run has passes for hours, so it is within them whenever the signal comes.
    pipe = tmp_path / "in.npy"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [
            *(*INFERONNX, "run", str(sealed_cnn), "--key", str(key_path), "--input", str(pipe)),
            *("-o", str(tmp_path / "out.npz"), "--repeat", "1000000000"),
            *("--trace", str(tmp_path / "trace.json")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    with process, open(pipe, "wb") as file:
        if passes:
            file.write(encode_npy(as_tensor(image)))
            file.close()
            used = cpu_ticks(process.pid)
            wait_until(lambda: cpu_ticks(process.pid) > used + 10, process)
        process.send_signal(getattr(signal, name))
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert printed == ""
    assert errors == "inferonnx: interrupted; nothing unfinished was left behind\n"
    assert os.listdir(tmp_path) == [pipe.name]


def cpu_ticks(pid):
    """Ticks of CPU time that a process has used (proc(5))."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
