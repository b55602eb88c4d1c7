"""The memory controller of either version of cgroups: make a group with a limit, read it, end it.

Everything takes the folder of the controller, so that tests run it on made-up trees.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from inferonnx.errors import UnavailableError

PREFIX = "inferonnx-epc-"
"""How the name of every group of ours begins; an identity of 32 hex digits follows."""

_NAME = re.compile(PREFIX + r"[0-9a-f]{32}", re.ASCII)

_END_S = 5.0
"""How long the processes of a group may take to die of SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Where the kernel's memory controller is mounted.

    Attributes:
        version: 1 or 2.
        folder: Top of its tree, as far as this process sees it.
    """

    version: int
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUsage:
    """What the kernel counted for a group.

    Attributes:
        n_bytes: Charged now: anonymous and file pages, page tables, the kernel's own.
        peak_bytes: The most that was; None where the kernel does not say.
        swapped_bytes: In swap now.
        major_faults: Since the group was made, of all processes that were in it.
        swapped_in: Pages read from swap; None where the kernel counts none for a group.
        swapped_out: Pages written to swap; None likewise.
        oom_kills: Processes that the kernel killed since nothing more could be paged out.
    """

    n_bytes: int
    peak_bytes: int | None
    swapped_bytes: int
    major_faults: int
    swapped_in: int | None
    swapped_out: int | None
    oom_kills: int


def find_controller(root: str = "/") -> Controller | None:
    """Return the memory controller, or None where none is mounted."""
    found = None
    for kind, folder, options in _mounts(root):
        if kind == "cgroup" and "memory" in options:
            return Controller(version=1, folder=folder)
        if kind == "cgroup2" and "memory" in _words(folder, "cgroup.controllers"):
            found = Controller(version=2, folder=folder)
    return found


def are_mounted(root: str = "/") -> bool:
    """Tell whether there are cgroups at all, with the memory controller or without."""
    return bool(_mounts(root))


def _mounts(root: str) -> list[tuple[str, str, list[str]]]:
    """Return type, folder and options of each mount of cgroups."""
    try:
        with open(os.path.join(root, "proc/self/mountinfo"), encoding="utf-8") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return []
    return [
        (kind, os.path.join(root, _unescaped(words[4]).lstrip("/")), words[-1].split(","))
        for words in mounts
        if (kind := words[words.index("-") + 1]) in ("cgroup", "cgroup2")
    ]


def is_delegated(controller: Controller) -> bool:
    """Tell whether a group directly below the top can have a memory limit as things are."""
    if controller.version == 1:
        return True
    return "memory" in _words(controller.folder, "cgroup.subtree_control")


def delegate(controller: Controller, *, on: bool) -> None:
    """Have the groups below the top of a version 2 tree get the memory controller, or no longer.

    Raises:
        OSError: No right to, or they use it.
    """
    _write(controller.folder, "cgroup.subtree_control", "+memory" if on else "-memory")


def is_ours(path: str, controller: Controller) -> bool:
    """Tell whether `path` names a group that only we can have made."""
    return os.path.dirname(path) == controller.folder and bool(
        _NAME.fullmatch(os.path.basename(path))
    )


def is_inside(root: str = "/") -> bool:
    """Tell whether this process is in a group of ours."""
    return any(_NAME.search(word) for word in _words(os.path.join(root, "proc/self"), "cgroup"))


def group_path(controller: Controller, identity: str) -> str:
    """Return where the group of that identity is."""
    return os.path.join(controller.folder, PREFIX + identity)


def make_group(path: str, *, version: int, limit_bytes: int) -> None:
    """Make a group with that limit, and no limit of its own on swap.

    Raises:
        OSError: No right to, or the kernel refuses the limit.
    """
    os.mkdir(path)
    if version == 1:
        _write(path, "memory.limit_in_bytes", str(limit_bytes))
        return
    _write(path, "memory.max", str(limit_bytes))
    for name, value in (("memory.swap.max", "max"), ("memory.zswap.max", "0")):
        # zswap would keep what was paged out in memory that is charged to the group.
        if os.path.exists(os.path.join(path, name)):
            _write(path, name, value)


def procs_file(path: str) -> str:
    """Return the file that a process writes itself into to join the group."""
    return os.path.join(path, "cgroup.procs")


def members(path: str) -> list[int]:
    """Return the processes in a group; none when it is gone."""
    return [int(word) for word in _words(path, "cgroup.procs")]


def end_group(path: str) -> None:
    """Kill what runs in a group, and remove it.

    Raises:
        OSError: It is still busy after seconds.
    """
    deadline = time.monotonic() + _END_S
    while os.path.isdir(path):
        for pid in members(path):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def read_usage(path: str, *, version: int) -> GroupUsage:
    """Return what the kernel counted for a group.

    Raises:
        UnavailableError: The group is gone.
    """
    names = (
        ("memory.usage_in_bytes", "memory.max_usage_in_bytes")
        if version == 1
        else ("memory.current", "memory.peak")
    )
    try:
        stat = _table(path, "memory.stat")
        events = _table(path, "memory.oom_control" if version == 1 else "memory.events")
        n_bytes = int(_words(path, names[0])[0])
        swap = stat.get("swap", 0) if version == 1 else _number(path, "memory.swap.current") or 0
    except (OSError, IndexError) as error:
        raise UnavailableError(
            "the memory cgroup of this measurement is gone", hint="Measure again."
        ) from error
    return GroupUsage(
        n_bytes=n_bytes,
        peak_bytes=_number(path, names[1]),
        swapped_bytes=swap,
        major_faults=stat.get("pgmajfault", 0),
        swapped_in=stat.get("pswpin"),
        swapped_out=stat.get("pswpout"),
        oom_kills=events.get("oom_kill", 0),
    )


def _table(path: str, name: str) -> dict[str, int]:
    with open(os.path.join(path, name), encoding="ascii") as file:
        return {name: int(value) for name, value in map(str.split, file)}


def _number(path: str, name: str) -> int | None:
    words = _words(path, name)
    return int(words[0]) if words and words[0].isdigit() else None


def _words(folder: str, name: str) -> list[str]:
    try:
        with open(os.path.join(folder, name), encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _write(folder: str, name: str, value: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="ascii") as file:
        file.write(value)


def _unescaped(text: str) -> str:
    r"""Return a path of /proc/self/mountinfo, where a space is \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
