"""Why no limit can be enforced here, and what to run instead."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress

from inferonnx.epc import cgroup, swap
from inferonnx.errors import UnavailableError
from inferonnx.runtime.tee import find_tee

_CAP_SYS_ADMIN = 21


def obstacle(*, allow_system_changes: bool) -> UnavailableError | None:
    """Return why no limit can be enforced here, and what to run; None where one can."""
    tee = find_tee()
    if tee is not None and tee.is_library_os:
        return UnavailableError(
            f"{tee.value} has an EPC of its own",
            hint="Measure without a limit: it is labelled SGX.",
        )
    if cgroup.is_inside():
        return UnavailableError(
            "this process runs inside an enforced limit itself",
            hint="Let the measurement make its own, without inferonnx epc run around it.",
        )
    controller = cgroup.find_controller()
    if controller is None and cgroup.are_mounted():
        return UnavailableError(
            "none of the cgroups that are mounted here has the memory controller",
            hint="Try: mount -t cgroup -o memory none DIR (refused where the kernel has none).",
        )
    if controller is None:
        return UnavailableError(
            "there is no memory cgroup here",
            hint="On Linux outside a container: mount -t cgroup2 none /sys/fs/cgroup",
        )
    if not os.access(controller.folder, os.W_OK) or not _has_admin():
        return UnavailableError(
            "no right to make memory cgroups and mounts here",
            hint=_as_root(),
        )
    if not cgroup.is_delegated(controller) and not allow_system_changes:
        return UnavailableError(
            "the memory controller is not given to cgroups here",
            hint="Add --allow-system-changes, or: "
            f"echo +memory > {controller.folder}/cgroup.subtree_control",
        )
    if not swap.active() and not allow_system_changes:
        return UnavailableError(
            "there is no swap here: what does not fit into the limit would be killed",
            hint="Add --allow-system-changes, which makes swap and takes it away again.",
        )
    return None


def _has_admin() -> bool:
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
    return False


def _as_root() -> str:
    """Return what to do to have the right: this command as root, or out of the container."""
    if os.geteuid() == 0:
        return "Run it outside of the container, or in one that was started with --privileged."
    name, words = os.path.abspath(sys.argv[0]), sys.argv[1:]
    if os.path.basename(name) == "__main__.py":
        package = os.path.basename(os.path.dirname(name))
        own = [sys.executable, "-m", package, *words]
    else:
        own = [sys.executable, name, *words]
    return f"Run it as root: sudo {shlex.join(own)}"
