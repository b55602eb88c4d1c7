"""Child processes of ours: their errors come back through a pipe, and their ends mean something."""

from __future__ import annotations

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
