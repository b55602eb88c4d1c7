"""Protobuf's wire format, as far as large fields are kept out of the library's hands.

The `protobuf` runtime copies what it parses, and makes fifty bytes of objects from two
bytes of hostile message. So tensors are cut out here, as views, and only the small rest
is parsed by it. Specification: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.oip.errors import InvalidRequestError
from inferonnx.oip.json_text import MAX_ITEMS
from inferonnx.tensors.wire import encode_varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_BYTES = 2
_MAX_VARINT_BYTES = 10


def malformed() -> InvalidRequestError:
    """Return the error for bytes that are no message."""
    return InvalidRequestError("the message is malformed: it can't be read as protobuf")


def split_fields(
    view: memoryview, numbers: Iterable[int]
) -> tuple[bytes, dict[int, list[memoryview]]]:
    """Return a message without those fields of bytes whose number is in `numbers`, and these.

    Args:
        view: The message, flat bytes.
        numbers: Of the fields to cut out.

    Returns:
        The rest, still a message, copied; and for each number the contents of the fields
        that were cut out, in order, as views.

    Raises:
        InvalidRequestError: The bytes are no message, or have too many of these fields.
    """
    taken: dict[int, list[memoryview]] = {number: [] for number in numbers}
    rest: list[memoryview] = []
    kept = 0
    for key, start, content, end in _fields(view):
        found = taken.get(key >> 3) if key & 7 == _BYTES else None
        if found is None:
            continue
        if len(found) == MAX_ITEMS:
            raise InvalidRequestError(f"the message has more than {MAX_ITEMS} tensors of a kind")
        rest.append(view[kept:start])
        found.append(view[content:end])
        kept = end
    rest.append(view[kept:])
    return b"".join(rest), taken


def parsed_bytes(view: memoryview, growth: Mapping[int, int], each: int) -> int:
    """Return how much memory the runtime takes for the lists of a message, at most.

    Args:
        view: The message, flat bytes.
        growth: For each field what it makes of one byte of it; `each` for others.
        each: What it takes for a field besides.
    """
    return sum(
        each + growth.get(key >> 3, each) * (end - content)
        for key, _, content, end in _fields(view)
    )


def bytes_field(number: int, n_bytes: int) -> bytes:
    """Return what stands before the content of a field of bytes."""
    return encode_varint(number << 3 | _BYTES) + encode_varint(n_bytes)


def _fields(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Yield key, start, start of the content and end of each field."""
    at = 0
    while at < len(view):
        start = at
        key, at = _varint(view, at)
        content = at
        match key & 7:
            case 0:
                _, at = _varint(view, at)
            case 1:
                at += 8
            case 2:
                size, content = _varint(view, at)
                at = content + size
            case 5:
                at += 4
            case _:
                raise malformed()
        if at > len(view):
            raise malformed()
        yield key, start, content, at


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    for byte in view[at : at + _MAX_VARINT_BYTES]:
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise malformed()
