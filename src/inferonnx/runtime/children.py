"""Child processes of ours: errors through a pipe, ends that mean something, what they take."""

from __future__ import annotations

import os

from inferonnx import errors
from inferonnx.errors import InferonnxError, UnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def told(error: InferonnxError) -> dict[str, Any]:
    """Return an error as JSON takes it: its class, its sentence and all its fields."""
    return {"class": type(error).__name__, "fields": vars(error)}


def met(answer: dict[str, Any]) -> InferonnxError:
    """Return the error that a child has `told`, of the same class and with the same fields."""
    kind, fields = getattr(errors, answer["class"]), answer["fields"]
    error: InferonnxError = kind.__new__(kind, fields["message"])  # constructors differ
    vars(error).update(fields)
    return error


def status(pid: int, field: str) -> int:
    """Return a number of the kernel's about a process (proc(5)), "VmHWM"; kB as bytes.

    0 where it says none, as of a process that has ended and is not waited for yet.
    """
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                words = line.split()
                return int(words[1]) * (1024 if words[2:] == ["kB"] else 1)
    return 0


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of all threads of a process so far (proc(5))."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended(who: str, code: int) -> UnavailableError:
    """Return the error of a child that ended before it had answered.

    Args:
        who: What the child is to people, "the process that ...".
        code: Its return code; below 0 the signal that ended it.
    """
    import signal

    if code == -signal.SIGKILL:
        return UnavailableError(
            f"{who} was killed, most likely because the system ran out of memory",
            hint="Close something or take a machine with more memory, and try again.",
        )
    how = f"died of signal {-code}" if code < 0 else f"ended with code {code}"
    return UnavailableError(
        f"{who} {how}", hint="Try again; if it ends again, report this with what it printed."
    )
