"""Checks of single fields of the manifest, and how a field that fails is refused.

Messages name the field, never its value: names and shapes of a model are secrets
of its owner.
"""

from __future__ import annotations

from inferonnx.errors import SealedFormatError
from inferonnx.sealed.constants import MAX_INTEGER, MAX_LIST, MAX_RANK, MAX_TEXT_BYTES

Blob = bytes | memoryview
"""Bytes; a view of the opened manifest when parsed, so that nothing is held twice."""


def check_text(what: str, value: object) -> None:
    """Raise unless `value` is text that UTF-8 can hold, within its limit."""
    if type(value) is not str:
        raise refuse(what, "is not text")
    try:
        n_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise refuse(what, "is not valid Unicode") from error
    if n_bytes > MAX_TEXT_BYTES:
        raise refuse(what, f"is longer than {MAX_TEXT_BYTES} bytes")


def check_int(what: str, value: object) -> None:
    """Raise unless `value` is an integer from 0 to 2^53 - 1."""
    # `type`, not isinstance: True is an int to Python, and another value in JSON.
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise refuse(what, f"is not a whole number from 0 to {MAX_INTEGER}")


def check_bool(what: str, value: object) -> None:
    """Raise unless `value` is true or false."""
    if type(value) is not bool:
        raise refuse(what, "is neither true nor false")


def check_tuple(what: str, value: object, most: int) -> None:
    """Raise unless `value` is a tuple of at most `most` entries."""
    if type(value) is not tuple:
        raise refuse(what, "is not a list")
    if len(value) > most:
        raise refuse(what, f"has more than {most} entries")


def check_shape(what: str, shape: object) -> None:
    """Raise unless `shape` is a tuple of sizes."""
    check_tuple(what, shape, MAX_RANK)
    for axis in shape:  # type: ignore[attr-defined]  # a tuple, as just checked
        check_int(what, axis)


def check_names(what: str, names: tuple[str, ...]) -> None:
    """Raise unless `names` is a tuple of texts, each once."""
    check_tuple(what, names, MAX_LIST)
    for name in names:
        check_text(what, name)
    if len(set(names)) != len(names):
        raise refuse(what, "names something twice")


def check_blob(what: str, value: object) -> None:
    """Raise unless `value` is bytes, or a view of bytes."""
    if not isinstance(value, bytes | memoryview):
        raise refuse(what, "is not bytes")


def refuse(what: str, reason: str) -> SealedFormatError:
    """Return the error that refuses field `what`."""
    return SealedFormatError(f"manifest: {what} {reason}", where=what)
