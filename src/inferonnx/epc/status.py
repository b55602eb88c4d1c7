"""What this machine has for an enforced limit, in words."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.epc import book, cgroup, swap, undoing
from inferonnx.epc.labels import label
from inferonnx.epc.obstacles import obstacle
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from inferonnx.errors import UnavailableError


def describe() -> list[tuple[str, str]]:
    """Return names and values, for a person."""
    controller = cgroup.find_controller()
    spaces = [f"{one.kind} {one.path}, {format_size(one.n_bytes)}" for one in swap.active()]
    where = "none" if controller is None else f"version {controller.version}, {controller.folder}"
    with suppress(OSError):
        spaces.append(f"vm.page-cluster {undoing.read_page_cluster()}")
    return [
        ("label", label(None).value),
        ("memory cgroup", where),
        ("swap", "; ".join(spaces)),
        ("zram", "yes" if os.path.exists("/sys/class/zram-control") else "no"),
        ("as it is", _answer(obstacle(allow_system_changes=False))),
        ("with changes", _answer(obstacle(allow_system_changes=True))),
        ("left behind", ", ".join(book.leftovers()) or "nothing"),
    ]


def cpu_mhz() -> float | None:
    """Return the clock of the first core; None where the kernel does not say."""
    with (
        suppress(OSError, ValueError),
        open("/proc/cpuinfo", encoding="ascii", errors="replace") as file,
    ):
        for line in file:
            if line.startswith("cpu MHz"):
                return float(line.partition(":")[2])
    return None


def _answer(reason: UnavailableError | None) -> str:
    return "a limit can be enforced" if reason is None else f"{reason.message}. {reason.hint}"
