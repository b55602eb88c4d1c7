"""`inferonnx epc`: what it says, with a limit and where none can be."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inferonnx import epc
from inferonnx.cli import main

WHY_NOT = epc.obstacle(allow_system_changes=True)

needs_rights = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


INFERONNX = [sys.executable, "-P", "-m", "inferonnx", "epc"]


def inferonnx(*words, prefix=()):
    return subprocess.run(
        [*prefix, *INFERONNX, *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def without_rights():
    """The words before a command that take from root the right to mount."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0:
        return []
    if setpriv is None or subprocess.run([setpriv, "true"], check=False).returncode:
        pytest.skip("no setpriv here that works: install util-linux")
    return [setpriv, "--bounding-set", "-sys_admin"]


def test_without_rights_it_runs_without_a_limit_and_says_so(without_rights):
    code = "print('result'); raise SystemExit(7)"
    command = ("run", "--allow-system-changes", "--", sys.executable, "-c", code)
    done = inferonnx(*command, prefix=without_rights)
    assert done.returncode == 7
    assert done.stdout == "result\n"
    assert "measuring without a limit" in done.stderr
    assert re.search("sudo|container|mount", done.stderr)
    assert "no limit enforced: " in done.stderr
    assert "EPC" not in done.stderr.replace("enforced EPC", "")


def test_without_rights_no_fault_is_priced(without_rights):
    done = inferonnx("cost", "--allow-system-changes", prefix=without_rights)
    assert done.returncode == 5
    assert done.stdout == ""
    assert re.search("sudo|container|mount", done.stderr)


@needs_rights
def test_without_leave_to_change_anything_a_machine_without_swap_is_left_alone(capfd):
    if epc.obstacle(allow_system_changes=False) is None:
        pytest.skip("this machine has swap already")
    assert main(["epc", "run", "--", "true"]) == 0
    assert "--allow-system-changes" in capfd.readouterr().err


@needs_rights
def test_a_command_runs_inside_and_its_faults_are_told(scratch, tmp_path):
    warm = tmp_path / "file"
    warm.write_bytes(bytes(1 << 20))
    code = "m = [__import__('os').urandom(1 << 20) for _ in range(64)]; print('result')"
    options = ("--limit", "40MiB", "--allow-system-changes", "--swap", "256MiB")
    place = ("--scratch", str(scratch), "--warm", str(warm))
    done = inferonnx("run", *options, *place, "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "result\n"
    said = re.search(
        r"EPC limit enforced by cgroup, 40.0 MiB, (zram|file): [\d.]+ s, (\d+) major faults",
        done.stderr,
    )
    assert said
    assert int(said[2]) > 0
    assert re.search(r"\d+ pages swapped in, [1-9]\d* out", done.stderr)


@needs_rights
def test_a_signal_that_ends_the_command_is_in_the_exit_code(scratch):
    code = "import os; os.kill(os.getpid(), 15)"
    options = ("--allow-system-changes", "--swap", "64MiB", "--scratch", str(scratch))
    assert inferonnx("run", *options, "--", sys.executable, "-c", code).returncode == 143


@needs_rights
def test_the_cost_stands_beside_that_of_sgx(scratch):
    options = ("--limit", "24MiB", "--allow-system-changes", "--scratch", str(scratch))
    done = inferonnx("cost", *options)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^a fault here +[\d.]+ us \(median", done.stdout, re.MULTILINE)
    assert "40,000 cycles" in done.stdout
    assert "ASPLOS 2018" in done.stdout


def test_status_says_what_is_here(capfd):
    assert main(["epc", "status"]) == 0
    names = [line.split("  ")[0] for line in capfd.readouterr().out.splitlines()]
    assert names == [
        *("label", "memory cgroup", "swap", "zram"),
        *("as it is", "with changes", "left behind"),
    ]


@pytest.mark.parametrize("words", [["epc"], ["epc", "run"], ["epc", "run", "--limit", "85M", "x"]])
def test_what_makes_no_sense_is_refused(words, capfd):
    assert main(words) == 2
    assert "inferonnx: error:" in capfd.readouterr().err


@pytest.mark.parametrize("limit", ["0", "1MiB"])
@needs_rights
def test_a_limit_in_which_nothing_runs_is_refused(limit, capfd):
    words = ["epc", "run", "--limit", limit, "--allow-system-changes", "--", "true"]
    assert main(words) == 2
    assert "at least" in capfd.readouterr().err


def test_a_command_that_is_not_there_is_refused(without_rights):
    done = inferonnx("run", "--", "no-such-command-here", prefix=without_rights)
    assert done.returncode == 2
    assert "no command" in done.stderr


@needs_rights
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_command_ends_and_nothing_is_left(scratch, number):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    options = ("--allow-system-changes", "--swap", "64MiB", "--scratch", str(scratch))
    process = subprocess.Popen(
        [*INFERONNX, "run", *options, "--", sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    inside = int(process.stdout.readline())
    group = re.search(r"/(inferonnx-epc-\w+)", Path(f"/proc/{inside}/cgroup").read_text())[1]
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert ("interrupted" in said) is (number != signal.SIGKILL)
    deadline = time.monotonic() + 20
    while list(Path("/sys/fs/cgroup").glob(f"**/{group}")) or Path(f"/proc/{inside}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
