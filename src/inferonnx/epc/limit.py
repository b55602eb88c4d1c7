"""The enforced limit: set up by a supervisor, entered by `spawn`, gone at the end."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.epc import cgroup, swap
from inferonnx.epc.copies import copied, tidy
from inferonnx.epc.faults import major_faults
from inferonnx.epc.labels import Label, label
from inferonnx.epc.state import Book, own_folder
from inferonnx.errors import UnavailableError, UsageError
from inferonnx.runtime import children
from inferonnx.runtime.tee import find_tee
from inferonnx.sizes import GIB, MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

LEAST_BYTES = 16 * MIB
"""Below this an interpreter alone is paged out and in for minutes."""

SWAP_BYTES = 4 * GIB
"""Room for what does not fit: several times the largest model of the paper."""

_under_way: list[object] = []
"""The supervisor of this process: a second one would wait for it for ever."""

_CAP_SYS_ADMIN = 21
_LAUNCHER = os.path.join(os.path.dirname(__file__), "launcher.py")


def _silent(_text: str) -> None:
    pass


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
        progress: Callable[[str], None] = _silent,
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


@contextmanager
def enforce(
    limit_bytes: int,
    *,
    allow_system_changes: bool = False,
    scratch: str | os.PathLike[str] | None = None,
    swap_bytes: int = SWAP_BYTES,
    zram: bool = True,
    progress: Callable[[str], None] = _silent,
) -> Iterator[Limit]:
    """Enforce a memory limit on what is spawned in the `with` block.

    A supervisor process sets everything up and puts it back when the block ends or this
    process does, by whatever death. One limit at a time on a machine: others wait.

    Args:
        limit_bytes: Of all that is spawned together; every page that it maps counts.
        allow_system_changes: Whether swap may be made, and vm.page-cluster set.
        scratch: Folder for copies of libraries and, without zram, for the swap file.
        swap_bytes: Room for what does not fit.
        zram: Whether swap is made in memory where the kernel can; else in a file.
        progress: Told what takes time.

    Raises:
        UsageError: The limit makes no sense.
        UnavailableError: It can't be enforced here (`obstacle` says why beforehand).
    """
    if limit_bytes < LEAST_BYTES:
        raise UsageError(
            f"nothing runs in {format_size(limit_bytes)}",
            hint=f"Give at least {format_size(LEAST_BYTES)}.",
        )
    if _under_way:
        raise UsageError(
            "this process enforces a limit already", hint="End that one first: one at a time."
        )
    reason = obstacle(allow_system_changes=allow_system_changes)
    if reason is not None:
        raise reason
    folder = own_folder(os.path.abspath(scratch or default_scratch()))
    order = {
        "limit_bytes": limit_bytes,
        "may_change": allow_system_changes,
        "scratch": folder,
        "swap_bytes": swap_bytes,
        "zram": zram,
    }
    supervisor = _Supervisor(order)
    _under_way.append(supervisor)
    try:
        ready = supervisor.answer("ready", progress)
        tidy(folder)
        yield Limit(limit_bytes=limit_bytes, scratch=folder, ready=ready, progress=progress)
    finally:
        _under_way.clear()
        supervisor.end(progress)


def cleanup() -> list[str]:
    """Undo what killed runs have left; return what was done, in words.

    Raises:
        UnavailableError: A measurement is under way.
    """
    with Book() as book:
        if not book.take():
            raise UnavailableError(
                "an enforced measurement is under way", hint="Wait for it, or end it with Ctrl-C."
            )
        return book.undo_others()


def default_scratch() -> str:
    """Return where copies of libraries are kept from run to run."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "inferonnx", "epc")


class _Supervisor:
    """The process that holds the machine's changes; it lives as long as we hold its input."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "inferonnx.epc.supervisor"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps(order) + "\n")
            self._stdin.flush()

    @property
    def _stdin(self) -> Any:
        return self._process.stdin

    def answer(self, word: str, progress: Callable[[str], None]) -> Any:
        """Return what it says under `word`; progress is passed on, errors are raised."""
        for line in self._process.stdout or ():
            told = json.loads(line)
            if "error" in told:
                raise children.met(told["error"])
            if "progress" in told:
                progress(told["progress"])
            if word in told:
                return told[word]
        raise children.ended("the supervisor of the memory limit", self._process.wait())

    def end(self, progress: Callable[[str], None]) -> None:
        """Have it put everything back; where it was killed, do so ourselves."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        if self._process.stdout:
            self._process.stdout.read()
            self._process.stdout.close()
        if self._process.wait() == 0:
            return
        with suppress(UnavailableError):  # the run that has the lock now has undone it
            for words in cleanup():
                progress(words)


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
