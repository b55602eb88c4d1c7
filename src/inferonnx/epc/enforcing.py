"""Enforce a limit: a supervisor sets it up, and puts everything back whoever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from inferonnx.epc.book import Book, own_folder
from inferonnx.epc.copies import tidy
from inferonnx.epc.limit import Limit, silent
from inferonnx.epc.obstacles import obstacle
from inferonnx.errors import UnavailableError, UsageError
from inferonnx.runtime import children
from inferonnx.sizes import GIB, MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

LEAST_BYTES = 16 * MIB
"""Below this an interpreter alone is paged out and in for minutes."""

SWAP_BYTES = 4 * GIB
"""Room for what does not fit: several times the largest model of the paper."""

_under_way: list[object] = []
"""The supervisor of this process: a second one would wait for it for ever."""


@contextmanager
def enforce(
    limit_bytes: int,
    *,
    allow_system_changes: bool = False,
    scratch: str | os.PathLike[str] | None = None,
    swap_bytes: int = SWAP_BYTES,
    zram: bool = True,
    progress: Callable[[str], None] = silent,
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
