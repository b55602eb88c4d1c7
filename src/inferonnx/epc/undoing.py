"""How each change is undone: only what is seen to be ours, and only as we left it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from inferonnx.epc import cgroup, swap
from inferonnx.epc.state import Change, Delegation, Group, PageCluster, State, SwapFile, Zram

PAGE_CLUSTER = "/proc/sys/vm/page-cluster"


def undone(change: Change, state: State) -> str:
    """Undo one change; return what was done, "" where there was nothing to do."""
    if isinstance(change, SwapFile):
        return _undo_swap_file(change, state)
    if state.boot != boot_id():  # nothing else outlives the kernel
        return ""
    match change:
        case PageCluster():
            return _undo_page_cluster(change)
        case Delegation():
            return _undo_delegation(change)
        case Zram():
            return _undo_zram(change, state)
        case Group():
            return _undo_group(change)


def _undo_page_cluster(change: PageCluster) -> str:
    if change.was == 0 or read_page_cluster() != 0:  # somebody has set it since
        return ""
    write_page_cluster(change.was)
    return f"vm.page-cluster is {change.was} again"


def _undo_delegation(change: Delegation) -> str:
    controller = cgroup.find_controller()
    if controller is None or controller.folder != change.folder:
        return ""
    cgroup.delegate(controller, on=False)
    return "the memory controller is no longer given to cgroups"


def _undo_zram(change: Zram, state: State) -> str:
    if not swap.is_zram_of(change.number, change.n_bytes, state.identity):
        if change.added and swap.is_zram_unused(change.number):
            swap.drop_zram(change.number, added=True)
        return ""
    path = swap.zram_path(change.number)
    if swap.is_on(path):
        swap.turn_off(path)
    swap.drop_zram(change.number, added=change.added)
    return f"swap on {path} is off"


def _undo_swap_file(change: SwapFile, state: State) -> str:
    if not os.path.lexists(change.path) or not stat.S_ISREG(os.lstat(change.path).st_mode):
        return ""
    if swap.is_on(change.path):
        if swap.header_identity(change.path) != state.identity:
            return f"{change.path} is swap of another, and was left alone"
        swap.turn_off(change.path)
    os.unlink(change.path)
    return f"swap on {change.path} is off, and the file is gone"


def _undo_group(change: Group) -> str:
    controller = cgroup.find_controller()
    if controller is None or not cgroup.is_ours(change.path, controller):
        return ""
    if not os.path.isdir(change.path):
        return ""
    cgroup.end_group(change.path)
    return f"the cgroup {os.path.basename(change.path)} is gone"


def read_page_cluster() -> int:
    """Return vm.page-cluster: a swap-in brings 2 to the power of it pages."""
    with open(PAGE_CLUSTER, encoding="ascii") as file:
        return int(file.read())


def write_page_cluster(value: int) -> None:
    """Set vm.page-cluster."""
    with open(PAGE_CLUSTER, "w", encoding="ascii") as file:
        file.write(str(value))


def boot_id() -> str:
    """Return the identity of this start of the kernel."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""
