"""What is in the way of a limit is told with what to run."""

import os
import sys

import pytest

from inferonnx import epc
from inferonnx.epc import cgroup, obstacles, swap


@pytest.mark.parametrize(
    ("uid", "program", "hint"),
    [
        (0, "/x/bin/inferonnx", "outside of the container"),
        (7, "/x/bin/inferonnx", f"sudo {sys.executable} /x/bin/inferonnx run-all 'a b'"),
        (7, "/x/inferonnx/__main__.py", f"sudo {sys.executable} -m inferonnx run-all 'a b'"),
    ],
)
def test_no_rights_are_told_with_what_to_run(monkeypatch, uid, program, hint):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(sys, "argv", [program, "run-all", "a b"])
    monkeypatch.setattr(obstacles, "_has_admin", lambda: False)
    monkeypatch.setattr(
        cgroup, "find_controller", lambda: cgroup.Controller(version=1, folder="/tmp")
    )
    assert hint in epc.obstacle(allow_system_changes=True).hint


@pytest.mark.parametrize(
    ("given", "allowed", "says"),
    [("memory", False, "no swap"), ("", False, "not given"), ("memory", True, None)],
)
def test_what_version_2_lacks_is_told(monkeypatch, tmp_path, given, allowed, says):
    (tmp_path / "cgroup.subtree_control").write_text(given)
    controller = cgroup.Controller(version=2, folder=str(tmp_path))
    monkeypatch.setattr(cgroup, "find_controller", lambda: controller)
    monkeypatch.setattr(obstacles, "_has_admin", lambda: True)
    monkeypatch.setattr(swap, "active", list)
    reason = epc.obstacle(allow_system_changes=allowed)
    assert (reason is None) if says is None else says in reason.message


@pytest.mark.parametrize(
    ("mounted", "says", "hint"),
    [
        (True, "none of the cgroups that are mounted here", "-o memory"),
        (False, "there is no memory cgroup", "-t cgroup2"),
    ],
)
def test_cgroups_without_memory_are_told_apart_from_none(monkeypatch, mounted, says, hint):
    monkeypatch.setattr(cgroup, "find_controller", lambda: None)
    monkeypatch.setattr(cgroup, "are_mounted", lambda: mounted)
    reason = epc.obstacle(allow_system_changes=True)
    assert says in reason.message
    assert hint in reason.hint


def test_inside_a_limit_there_is_no_second_one(monkeypatch):
    monkeypatch.setattr(cgroup, "is_inside", lambda: True)
    assert "inside" in epc.obstacle(allow_system_changes=True).message
