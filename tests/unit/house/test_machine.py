"""What a machine lacks is left out and said, but never in continuous integration."""

import re
import shutil
from pathlib import Path

import pytest

import machine


@pytest.fixture(params=["alone", "in CI"])
def in_ci(request, monkeypatch):
    if request.param == "alone":
        monkeypatch.delenv("CI", raising=False)
        return False
    monkeypatch.setenv("CI", "true")
    return True


def test_a_tool_that_is_there_is_found(in_ci, monkeypatch, tmp_path):
    program = tmp_path / "strace"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.tool("strace") == str(program) == shutil.which("strace")


def test_a_tool_that_is_missing_is_skipped_alone_and_fails_in_ci(in_ci, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = pytest.fail.Exception if in_ci else pytest.skip.Exception
    with pytest.raises(outcome, match="apt install qemu-user-static"):
        machine.tool("qemu-x86_64-static")


def test_a_suite_that_is_missing_is_left_out_alone_and_tested_in_ci(in_ci, without_aegis):
    assert set(machine.suites_here()) == {"aes-256-gcm", *(["aegis-256x2"] if in_ci else [])}


@pytest.mark.parametrize(
    ("name", "told"), [("aegis-256x2", "C compiler"), ("chromedriver", "install chromium-driver")]
)
def test_a_module_that_needs_what_is_missing_is_one_skip_alone_and_runs_in_ci(
    in_ci, without_aegis, monkeypatch, tmp_path, name, told
):
    monkeypatch.setenv("PATH", str(tmp_path))
    machine.module_needs("aes-256-gcm")
    if in_ci:  # and its tests fail
        machine.module_needs(name)
        return
    with pytest.raises(pytest.skip.Exception, match=told) as caught:
        machine.module_needs("aes-256-gcm", name)
    assert caught.value.allow_module_level


def test_every_program_that_tests_ask_for_has_its_package():
    sources = [path.read_text() for path in Path(machine.__file__).parent.rglob("*.py")]
    askers = [text for text in sources if "from machine import" in text]
    asked = {name for text in askers for name in re.findall(r'\btool\("([^"]+)"\)', text)}
    assert asked == set(machine.PACKAGES)
