"""What goes wrong in the protocol: one class for each outcome, one table of its codes.

A message is what the other side reads, in Triton's words where Triton has some. It
never holds a tensor's elements, and names that a caller sent are clipped.
"""

from __future__ import annotations

from inferonnx.errors import (
    EngineError,
    InfeasibleBudgetError,
    InferonnxError,
    TensorError,
    UnavailableError,
    UsageError,
)
from inferonnx.errors import ExitCode as _Exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAX_SHOWN = 256
"""Characters of a name in a message: enough for any real one, too few to flood a log."""


class OipError(InferonnxError):
    """Base of what the protocol reports; `ERRORS` has the codes of each class."""

    code = "oip"

    @property
    def status(self) -> int:
        """HTTP status of the reply."""
        return codes_of(type(self))[0]

    @property
    def grpc_code(self) -> int:
        """Status code of the reply in gRPC."""
        return codes_of(type(self))[1]


class InvalidRequestError(OipError):
    """The request is malformed, or does not fit the model."""

    code = "oip.invalid"


class UnauthenticatedError(OipError):
    """Nothing says who is calling."""

    code = "oip.unauthenticated"
    exit_code = _Exit.REFUSED


class PermissionDeniedError(OipError):
    """The caller is known, and may not do this."""

    code = "oip.permission"
    exit_code = _Exit.REFUSED


class NotFoundError(OipError):
    """No such model, version or path."""

    code = "oip.not_found"


class MethodNotAllowedError(OipError):
    """The path exists, the method does not.

    Attributes:
        allowed: Methods that do.
    """

    code = "oip.method"

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Say what Triton says."""
        super().__init__("Method Not Allowed")
        self.allowed = tuple(allowed)


class SlowRequestError(OipError):
    """The request did not arrive in time."""

    code = "oip.slow"
    exit_code = _Exit.UNAVAILABLE


class AlreadyExistsError(OipError):
    """What was to be made is there already."""

    code = "oip.exists"
    exit_code = _Exit.REFUSED


class TooLargeError(OipError):
    """The request asks for more memory than one request may have."""

    code = "oip.too_large"


class CancelledError(OipError):
    """The caller went away or cancelled; nobody reads this reply."""

    code = "oip.cancelled"
    exit_code = _Exit.UNAVAILABLE


class InternalError(OipError):
    """The server failed; the request may be right."""

    code = "oip.internal"
    exit_code = _Exit.UNAVAILABLE


class UnsupportedError(OipError):
    """Part of the protocol that this server does not have."""

    code = "oip.unsupported"


class BadReplyError(OipError):
    """The other side's reply is not what the protocol says; for clients."""

    code = "oip.reply"
    exit_code = _Exit.UNAVAILABLE


class BusyError(OipError):
    """Not now: the model is not ready, or the server has too much to do.

    Attributes:
        retry_after_s: Seconds after which to try again; 0 says nothing about it.
    """

    code = "oip.busy"
    exit_code = _Exit.UNAVAILABLE

    def __init__(self, message: str, *, retry_after_s: int = 0, hint: str = "") -> None:
        """Keep the delay beside the sentence."""
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineError(OipError):
    """The time that the caller gave was over before the answer was there."""

    code = "oip.deadline"
    exit_code = _Exit.UNAVAILABLE


class StorageFullError(OipError):
    """There is no room on disk, or the quota is used up."""

    code = "oip.storage"
    exit_code = _Exit.UNAVAILABLE


# class: (HTTP status, gRPC code). Where Triton has the class the codes are Triton's.
ERRORS: Mapping[type[OipError], tuple[int, int]] = {
    InvalidRequestError: (400, 3),  # INVALID_ARGUMENT
    UnauthenticatedError: (401, 16),  # UNAUTHENTICATED
    PermissionDeniedError: (403, 7),  # PERMISSION_DENIED
    NotFoundError: (404, 5),  # NOT_FOUND
    MethodNotAllowedError: (405, 12),  # UNIMPLEMENTED
    SlowRequestError: (408, 4),  # DEADLINE_EXCEEDED
    # Triton says 400; nothing of Triton's that we serve raises it, and 409 is what fits.
    AlreadyExistsError: (409, 6),  # ALREADY_EXISTS
    TooLargeError: (413, 8),  # RESOURCE_EXHAUSTED
    CancelledError: (400, 1),  # CANCELLED
    InternalError: (500, 13),  # INTERNAL
    UnsupportedError: (501, 12),  # UNIMPLEMENTED
    BadReplyError: (502, 2),  # UNKNOWN
    BusyError: (503, 14),  # UNAVAILABLE
    DeadlineError: (504, 4),  # DEADLINE_EXCEEDED
    StorageFullError: (507, 8),  # RESOURCE_EXHAUSTED
}

# What other rooms raise while a request is served, most special first.
_FOREIGN: tuple[tuple[type[InferonnxError], type[OipError]], ...] = (
    (TensorError, InvalidRequestError),
    (UsageError, InvalidRequestError),
    (InfeasibleBudgetError, TooLargeError),  # now, and whenever it is tried again
    (UnavailableError, BusyError),
    (EngineError, InternalError),
)

_BY_STATUS: Mapping[int, type[OipError]] = {
    status: cls for cls, (status, _) in ERRORS.items() if cls not in (CancelledError, BadReplyError)
} | {
    410: NotFoundError,  # it was there: an upload that is over
    423: BusyError,  # somebody else uses it
}


def codes_of(cls: type[OipError]) -> tuple[int, int]:
    """Return HTTP status and gRPC code of an error class, its own or its nearest base's."""
    for base in cls.__mro__:
        found = ERRORS.get(base)
        if found is not None:
            return found
    return ERRORS[InternalError]


def as_oip_error(error: BaseException) -> OipError:
    """Return what the caller is told about `error`.

    Errors raised on purpose keep their sentence, which never holds a secret. Of any
    other exception nothing is said: its text could hold anything.
    """
    if isinstance(error, OipError):
        return error
    if isinstance(error, InferonnxError):
        for cls, ours in _FOREIGN:
            if isinstance(error, cls):
                return ours(error.message)
        return InternalError(error.message)
    if isinstance(error, MemoryError):
        return BusyError("not enough memory for this request now", retry_after_s=1)
    return InternalError("internal error")


def encode_error(error: OipError | str) -> bytes:
    """Return the body of an error reply: exactly `{"error":"..."}`, in UTF-8."""
    from json import dumps

    message = error if isinstance(error, str) else error.message
    # A lone surrogate can't be encoded, so it goes out as the escape that it came as.
    text = dumps({"error": message}, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")


def parse_error(status: int, body: bytes | memoryview) -> OipError:
    """Return the error that a reply with this status carries, whatever its body is.

    Args:
        status: HTTP status, 400 and up.
        body: The reply's body; the first 4 KiB are looked at.
    """
    from json import loads

    text = bytes(memoryview(body)[:4096])
    message = ""
    try:
        found = loads(text.decode())
        message = found.get("error", "") if isinstance(found, dict) else ""
    except (ValueError, RecursionError):
        pass  # not JSON: the status has to do
    if not isinstance(message, str) or not message:
        message = f"the server answered with status {status}"
    cls = _BY_STATUS.get(status)
    if cls is MethodNotAllowedError:
        return MethodNotAllowedError()
    if cls is None:
        cls = InternalError if status >= 500 else InvalidRequestError
    return cls(message)


def unknown_model(name: str, version: str = "") -> NotFoundError:
    """Return the error for a model, or a version of it, that the server does not have."""
    tail = f" version {shown(version)}" if version else ""
    return NotFoundError(f"Request for unknown model: '{shown(name)}'{tail} is not found")


def shown(name: str) -> str:
    """Return a name that a caller sent, short enough for a message."""
    return name if len(name) <= _MAX_SHOWN else name[:_MAX_SHOWN] + "..."
