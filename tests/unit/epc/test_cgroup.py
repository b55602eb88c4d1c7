"""Both versions of cgroups, on trees that look like theirs."""

import subprocess
import sys

import pytest

from inferonnx.epc import cgroup
from inferonnx.epc.cgroup import Controller
from inferonnx.errors import UnavailableError

IDENTITY = "0123456789abcdef" * 2

V1 = """\
24 1 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
30 24 0:26 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
33 24 0:29 / /sys/fs/cgroup/memory rw,relatime shared:12 - cgroup cgroup rw,memory
34 24 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
"""
V2 = "24 1 0:22 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate\n"


def tree(root, mountinfo, files):
    for name, text in {"proc/self/mountinfo": mountinfo, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_version_1_is_found_beside_a_version_2_that_has_no_memory(tmp_path):
    root = tree(tmp_path, V1, {"sys/fs/cgroup/unified/cgroup.controllers": "hugetlb\n"})
    found = cgroup.find_controller(root)
    assert found == Controller(version=1, folder=f"{root}/sys/fs/cgroup/memory")
    assert cgroup.is_delegated(found)


@pytest.mark.parametrize(("given", "is_delegated"), [("cpu memory pids\n", True), ("\n", False)])
def test_version_2_is_found_and_asked_what_it_gives_to_groups(tmp_path, given, is_delegated):
    files = {
        "sys/fs/cgroup/cgroup.controllers": "cpu io memory pids\n",
        "sys/fs/cgroup/cgroup.subtree_control": given,
    }
    found = cgroup.find_controller(tree(tmp_path, V2, files))
    assert found == Controller(version=2, folder=f"{tmp_path}/sys/fs/cgroup")
    assert cgroup.is_delegated(found) is is_delegated


def test_a_machine_without_the_controller_has_none(tmp_path):
    assert cgroup.find_controller(str(tmp_path)) is None
    assert not cgroup.are_mounted(str(tmp_path))
    files = {"sys/fs/cgroup/cgroup.controllers": "cpu io\n"}
    assert cgroup.find_controller(tree(tmp_path, V2, files)) is None
    assert cgroup.are_mounted(str(tmp_path))


def test_a_folder_with_a_space_is_read_as_the_kernel_writes_it(tmp_path):
    line = "33 24 0:29 / /my\\040groups rw - cgroup cgroup rw,memory\n"
    assert cgroup.find_controller(tree(tmp_path, line, {})).folder == f"{tmp_path}/my groups"


def test_delegation_is_told_to_the_top(tmp_path):
    controller = Controller(version=2, folder=str(tmp_path))
    cgroup.delegate(controller, on=True)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    cgroup.delegate(controller, on=False)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "-memory"


def test_the_limit_goes_where_each_version_has_it(tmp_path):
    cgroup.make_group(str(tmp_path / "one"), version=1, limit_bytes=85 << 20)
    assert (tmp_path / "one/memory.limit_in_bytes").read_text() == str(85 << 20)
    cgroup.make_group(str(tmp_path / "two"), version=2, limit_bytes=85 << 20)
    assert (tmp_path / "two/memory.max").read_text() == str(85 << 20)


def test_what_is_counted_is_read_from_version_1(tmp_path):
    files = {
        "memory.usage_in_bytes": "1000\n",
        "memory.max_usage_in_bytes": "2000\n",
        "memory.stat": "cache 5\nswap 300\npgmajfault 7\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    usage = cgroup.read_usage(str(tmp_path), version=1)
    assert (usage.n_bytes, usage.peak_bytes, usage.swapped_bytes) == (1000, 2000, 300)
    assert (usage.major_faults, usage.oom_kills) == (7, 2)
    assert usage.swapped_in is None  # this kernel counts none for a group
    assert usage.swapped_out is None


def test_what_is_counted_is_read_from_version_2(tmp_path):
    files = {
        "memory.current": "1000\n",
        "memory.peak": "2000\n",
        "memory.swap.current": "300\n",
        "memory.stat": "anon 5\npgmajfault 7\npswpin 8\npswpout 9\n",
        "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    usage = cgroup.read_usage(str(tmp_path), version=2)
    assert (usage.n_bytes, usage.peak_bytes, usage.swapped_bytes) == (1000, 2000, 300)
    assert (usage.major_faults, usage.swapped_in, usage.swapped_out) == (7, 8, 9)
    assert usage.oom_kills == 1


def test_a_group_that_is_gone_is_told(tmp_path):
    with pytest.raises(UnavailableError, match="gone"):
        cgroup.read_usage(str(tmp_path / "none"), version=2)


@pytest.mark.parametrize(
    "name",
    ["user.slice", "inferonnx-epc-", "inferonnx-epc-1234", f"inferonnx-epc-{IDENTITY}/x", "..", ""],
)
def test_a_group_that_we_can_not_have_made_is_not_ours(name):
    controller = Controller(version=1, folder="/sys/fs/cgroup/memory")
    assert not cgroup.is_ours(f"/sys/fs/cgroup/memory/{name}", controller)
    assert not cgroup.is_ours(f"/elsewhere/inferonnx-epc-{IDENTITY}", controller)
    assert cgroup.is_ours(cgroup.group_path(controller, IDENTITY), controller)


def test_who_runs_inside_sees_it(tmp_path):
    assert not cgroup.is_inside(str(tmp_path))
    proc = tmp_path / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text("4:memory:/process_api/af\n0::/\n")
    assert not cgroup.is_inside(str(tmp_path))
    (proc / "cgroup").write_text(f"4:memory:/inferonnx-epc-{IDENTITY}\n0::/\n")
    assert cgroup.is_inside(str(tmp_path))


def test_the_end_of_a_group_kills_its_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "_END_S", 0.2)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    group = tmp_path / "group"
    group.mkdir()
    procs = group / "cgroup.procs"
    procs.write_text(f"{process.pid}\n")
    with pytest.raises(OSError, match="not empty"):  # the kernel's own files don't keep a folder
        cgroup.end_group(str(group))
    assert process.wait() == -9
    process.stdin.close()
    procs.unlink()
    cgroup.end_group(str(group))
    assert not group.exists()
