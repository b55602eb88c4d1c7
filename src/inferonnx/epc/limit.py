"""A limit that is enforced, and what is spawned inside; or none, that takes its place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.epc import cgroup
from inferonnx.epc.copies import copied
from inferonnx.epc.faults import major_faults
from inferonnx.epc.labels import Label, label
from inferonnx.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_LAUNCHER = os.path.join(os.path.dirname(__file__), "launcher.py")


def silent(_text: str) -> None:
    """Take progress where nobody looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What ran inside a limit has used so far.

    Attributes:
        n_bytes: Charged now; 0 without a limit.
        peak_bytes: The most that was charged; None where the kernel does not say.
        swapped_bytes: Paged out now.
        major_faults: Of all that ran inside.
        swapped_in: Pages that came back; of the whole machine where a group has no count.
        swapped_out: Pages that went out; likewise.
        oom_kills: Processes that the kernel killed since swap was full.
    """

    n_bytes: int
    peak_bytes: int | None
    swapped_bytes: int
    major_faults: int
    swapped_in: int
    swapped_out: int
    oom_kills: int


class Limit:
    """A limit that is enforced while its `with` block lasts, or none (`limit_bytes` is None).

    Attributes:
        limit_bytes: What the cgroup holds; None where none does.
        label: What every figure must say.
        swap: What is behind it: "zram", "file", "partition"; "" without a limit.
        page_cluster: vm.page-cluster as it is meanwhile; None without a limit.
    """

    def __init__(
        self,
        *,
        limit_bytes: int | None,
        scratch: str = "",
        ready: Mapping[str, Any] | None = None,
        progress: Callable[[str], None] = silent,
    ) -> None:
        """Keep what the supervisor has set up; `enforce` and `unlimited` call this."""
        ready = ready or {}
        self.limit_bytes = limit_bytes
        self.label: Label = label(limit_bytes)
        self.swap = str(ready.get("swap", ""))
        self.page_cluster: int | None = ready.get("page_cluster")
        self._group = str(ready.get("group", ""))
        self._version = int(ready.get("version", 0))
        self._scratch, self._progress = scratch, progress
        self._swapped = _machine_swaps()
        self._free: list[subprocess.Popen[bytes]] = []

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[Any]:
        """Start a command inside the limit, on fresh copies of all that it maps.

        When this returns, the command runs: its first instruction was inside.

        Args:
            argv: The command and its arguments.
            env: Its whole environment; ours by default.
            options: For `subprocess.Popen`: stdin, stdout, text, cwd and the like.

        Raises:
            UsageError: There is no such command.
            UnavailableError: It can't be put inside.
        """
        env = dict(os.environ if env is None else env)
        if shutil.which(argv[0], path=env.get("PATH", os.defpath)) is None:
            raise UsageError(f"there is no command {argv[0]!r:.200}", hint="Is the path right?")
        if self.limit_bytes is None:
            process: subprocess.Popen[Any] = subprocess.Popen(list(argv), env=env, **options)
            self._free.append(process)
            return process
        copies = copied(self._scratch, argv, env, self._progress)
        plan = {"procs": cgroup.procs_file(self._group), "copies": copies}
        return _launched(json.dumps(plan).encode(), list(argv), env, options)

    def usage(self) -> Usage:
        """Return what ran inside has used so far.

        Without a limit only processes that nobody has waited for yet are counted.

        Raises:
            UnavailableError: The group is gone.
        """
        pairs = zip(_machine_swaps(), self._swapped, strict=True)
        machine = [now - before for now, before in pairs]
        if self.limit_bytes is None:
            faults = sum(major_faults(process.pid) for process in self._free)
            return Usage(
                n_bytes=0,
                peak_bytes=None,
                swapped_bytes=0,
                major_faults=faults,
                swapped_in=machine[0],
                swapped_out=machine[1],
                oom_kills=0,
            )
        found = cgroup.read_usage(self._group, version=self._version)
        return Usage(
            n_bytes=found.n_bytes,
            peak_bytes=found.peak_bytes,
            swapped_bytes=found.swapped_bytes,
            major_faults=found.major_faults,
            swapped_in=machine[0] if found.swapped_in is None else found.swapped_in,
            swapped_out=machine[1] if found.swapped_out is None else found.swapped_out,
            oom_kills=found.oom_kills,
        )


def unlimited() -> Limit:
    """Return what takes a limit's place where none is enforced: it spawns, counts and says so."""
    return Limit(limit_bytes=None)


def _launched(
    plan: bytes, argv: list[str], env: Mapping[str, str], options: dict[str, Any]
) -> subprocess.Popen[Any]:
    """Start the launcher, and return it once it has become the command."""
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb") as report, os.fdopen(os.memfd_create("plan"), "wb") as memory:
        memory.write(plan)
        memory.flush()
        given = memory.fileno()
        words = [sys.executable, "-I", "-S", _LAUNCHER, str(given), str(writes), *argv]
        passed = (*options.pop("pass_fds", ()), given, writes)
        try:
            process = subprocess.Popen(words, env=env, pass_fds=passed, **options)
        finally:
            os.close(writes)
        failed = report.read().decode(errors="replace")
    if failed:
        process.wait()
        raise UnavailableError(
            f"{argv[0]!r:.200} can't be put inside the limit: {failed}",
            hint="Run it as root, outside a container that forbids mounts.",
        )
    return process


def _machine_swaps() -> tuple[int, int]:
    """Return the pages that the machine has swapped in and out so far."""
    with suppress(OSError), open("/proc/vmstat", encoding="ascii") as file:
        found = dict(line.split() for line in file)
        return int(found.get("pswpin", 0)), int(found.get("pswpout", 0))
    return 0, 0
