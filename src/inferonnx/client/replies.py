"""What answers mean: a result, or the server's error as one of ours.

A server's text is a stranger's: it is clipped, and nothing in it moves a cursor.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inferonnx.errors import ExitCode, InferonnxError
from inferonnx.oip import (
    BadReplyError,
    BusyError,
    OipError,
    PermissionDeniedError,
    UnauthenticatedError,
    parse_error,
)

if TYPE_CHECKING:
    from inferonnx.client.messages import Response

MAX_TEXT = 500
"""Characters of a server's sentence that are shown."""

NOT_AUTHENTIC = 422
"""What a server of ours answers when a sealed file or a key does not hold."""

_NO_ACCESS = (UnauthenticatedError, PermissionDeniedError)
_ACCESS_HINT = "Give a token that may do this: --token-file, INFERONNX_TOKEN, or token=."


class ModelRefusedError(InferonnxError):
    """The server finds the model, or the key for it, not authentic or not acceptable."""

    code = "model.refused"
    exit_code = ExitCode.NOT_AUTHENTIC
    usual_hint = "Is it the right file, the right key, and the name it was sealed with?"


def check(response: Response, *statuses: int) -> Response:
    """Return the response when it has one of `statuses`, by default 200.

    Raises:
        InferonnxError: What the server answered instead: its sentence, as the class that
            its status means.
    """
    if response.status in (statuses or (200,)):
        return response
    if response.status < 400:
        raise BadReplyError(f"the server answered with status {response.status}, unasked")
    raise _error(response)


def document(response: Response) -> Any:
    """Return the JSON that a response with status 200 holds.

    Raises:
        InferonnxError: As `check`.
        BadReplyError: It holds none.
    """
    check(response)
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError) as error:
        raise BadReplyError("the server's answer is no JSON") from error


def members(value: object) -> dict[str, Any]:
    """Return `value`, which must be a JSON object.

    Raises:
        BadReplyError: It is something else.
    """
    if not isinstance(value, dict):
        raise BadReplyError("the server's answer is JSON of another form")
    return value


def clean(text: str) -> str:
    """Return a stranger's text in one short line, without control characters."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _error(response: Response) -> InferonnxError:
    told = parse_error(response.status, memoryview(response.body))
    if response.status == NOT_AUTHENTIC:
        return ModelRefusedError(clean(told.message))
    told.message = clean(told.message)
    told.args = (told.message,)
    if isinstance(told, BusyError):
        told.retry_after_s = _seconds(response.headers.get("retry-after", ""))
    told.hint = told.hint or _hint(told)
    return told


def _seconds(text: str) -> int:
    """Return the seconds of a Retry-After; 0 for a date, or what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def _hint(told: OipError) -> str:
    if isinstance(told, BusyError) and told.retry_after_s:
        return f"Try again in {told.retry_after_s} s."
    # A server that says more than its status says what is missing, too.
    is_silent = told.message.startswith("the server answered")
    return _ACCESS_HINT if is_silent and isinstance(told, _NO_ACCESS) else ""
