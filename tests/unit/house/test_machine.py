"""What a machine lacks is left out and said, but never in continuous integration."""

import shutil

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
    assert machine.tool("strace", "strace") == str(program) == shutil.which("strace")


def test_a_tool_that_is_missing_is_skipped_alone_and_fails_in_ci(in_ci, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = pytest.fail.Exception if in_ci else pytest.skip.Exception
    with pytest.raises(outcome, match="apt install qemu-user-static"):
        machine.tool("qemu-x86_64-static", "qemu-user-static")


def test_a_suite_that_is_missing_is_left_out_alone_and_tested_in_ci(in_ci, without_aegis):
    assert set(machine.suites_here()) == {"aes-256-gcm", *(["aegis-256x2"] if in_ci else [])}


def test_the_module_of_a_missing_suite_is_skipped_alone_and_runs_in_ci(in_ci, without_aegis):
    if in_ci:
        machine.need_suite("aegis-256x2")
    else:
        with pytest.raises(pytest.skip.Exception, match="C compiler") as caught:
            machine.need_suite("aegis-256x2")
        assert caught.value.allow_module_level
    machine.need_suite("aes-256-gcm")
