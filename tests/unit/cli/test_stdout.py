"""Whoever reads the output may go away, and a disk may be full."""

import os
import shlex
import subprocess
import sys

import pytest

from inferonnx.cli.stdout import StandardOutput
from inferonnx.errors import ExitCode, UnavailableError


@pytest.fixture
def no_reader():
    """The writing end of a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize("arguments", [["zoo", "list"], ["--help"]], ids=str)
def test_a_full_disk_is_told(arguments, command):
    with open("/dev/full", "wb") as full:
        done = command(*arguments, stdout=full)
    assert done.returncode == ExitCode.UNAVAILABLE
    first, second = done.stderr.splitlines()
    assert first == "inferonnx: error: the output can't be written: No space left on device"
    assert second.startswith("hint: ")


def test_talk_that_can_not_be_written_changes_nothing(command, sealed_cnn, tmp_path):
    with open("/dev/full", "wb") as full:
        told = command("inspect", sealed_cnn, stderr=full)  # with a note on stderr
        refused = command("inspect", tmp_path / "none", stderr=full)
    assert (told.returncode, refused.returncode) == (ExitCode.DONE, ExitCode.BAD_INPUT)
    assert told.stdout.startswith("model id ")


def test_without_a_place_for_talk_none_of_it_is_taken_for_the_result(tmp_path):
    words = [sys.executable, "-P", "-m", "inferonnx", "inspect", str(tmp_path / "none")]
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(words)} 2>&-"], stdout=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stdout) == (ExitCode.BAD_INPUT, b"")


def test_a_reader_that_has_gone_is_no_error(command, no_reader):
    done = command("zoo", "list", stdout=no_reader)
    assert (done.returncode, done.stderr) == (ExitCode.DONE, "")


def test_a_reader_that_has_gone_hides_no_refusal(command, no_reader, tmp_path):
    done = command("inspect", tmp_path / "none", stdout=no_reader)
    assert done.returncode == ExitCode.BAD_INPUT
    assert "No such file" in done.stderr


def test_the_command_goes_on_to_its_own_exit_code(no_reader):
    code = (
        "import sys\n"
        "from inferonnx.cli.stdout import StandardOutput\n"
        "with StandardOutput() as output:\n"
        "    for _ in range(3):\n"
        "        print('x' * 100_000)\n"
        "        output.flush()\n"
        "sys.exit(4)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=no_reader, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (4, b"")


def test_without_an_output_nothing_is_printed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with StandardOutput() as output:
        print("nobody listens")
        output.flush()
    assert sys.stdout is None


def test_what_it_stands_in_for_is_put_back(capsys):
    before = sys.stdout
    with StandardOutput() as output:
        print("text")
        assert not output.isatty()
    assert sys.stdout is before
    assert capsys.readouterr().out == "text\n"


def test_other_failures_are_told_once(monkeypatch):
    class Broken:
        def write(self, _text):
            raise OSError(5, "x")

        def fileno(self):
            raise ValueError

    monkeypatch.setattr(sys, "stdout", Broken())
    with StandardOutput():
        with pytest.raises(UnavailableError, match="Input/output error"):
            print("text")
        print("more")
