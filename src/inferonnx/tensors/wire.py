"""Protobuf's wire format: fields out of bytes and back, no more of it than a tensor needs.

Specification: protobuf.dev, "Encoding". Groups, which proto2 gave up long ago, are refused.
"""

from __future__ import annotations

from inferonnx.errors import TensorError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_MAX_VARINT_BYTES = 10
"""64 bits in groups of seven."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def read_fields(view: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """Yield every field of a message as (field number, wire type, number, bytes).

    For a varint, `number` is its value and there are no bytes; otherwise it is the
    place of the bytes in `view`.

    Raises:
        TensorError: The bytes are no message.
    """
    at, end = 0, len(view)
    empty = view[:0]
    while at < end:
        key, at = read_varint(view, at)
        field, wire = key >> 3, key & 7
        if not 0 < field < 1 << 29:
            raise _error(at, f"field {field} can't exist")
        if wire == VARINT:
            number, at = read_varint(view, at)
            yield field, wire, number, empty
            continue
        if wire == BYTES:
            size, at = read_varint(view, at)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise _error(at, f"field {field} has wire type {wire}")
        if size > end - at:
            raise _error(at, f"field {field} goes {size - (end - at)} bytes beyond the end")
        yield field, wire, at, view[at : at + size]
        at += size


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """Return the unsigned number at `at` (64 bits at most) and the place after it."""
    number = shift = 0
    start = at
    for byte in view[at : at + _MAX_VARINT_BYTES]:
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
    raise _error(start, "a number does not end")


def read_packed(view: memoryview) -> list[int]:
    """Return the unsigned numbers that stand one after the other in `view`."""
    numbers = []
    number = shift = 0
    # The loop of read_varint once more: a call for each element would take twice the time.
    for byte in view:
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            numbers.append(number & 0xFFFF_FFFF_FFFF_FFFF)
            number = shift = 0
            continue
        shift += 7
        if shift == 7 * _MAX_VARINT_BYTES:
            raise _error(0, "a number in a list does not end")
    if shift:
        raise _error(len(view), "a number in a list does not end")
    return numbers


def signed(number: int) -> int:
    """Return the int64 that the unsigned 64-bit `number` stands for."""
    return number - (1 << 64) if number >> 63 else number


def encode_varint(number: int) -> bytes:
    """Return an unsigned number as a varint."""
    result = bytearray()
    while number >= 0x80:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    result.append(number)
    return bytes(result)


def encode_number(field: int, number: int) -> bytes:
    """Return a varint field."""
    return encode_varint(field << 3 | VARINT) + encode_varint(number)


def encode_bytes(field: int, parts: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    """Return a field of bytes for each part, in pieces to be joined, so that none is copied yet."""
    pieces: list[bytes | memoryview] = []
    for part in parts:
        pieces += [encode_varint(field << 3 | BYTES) + encode_varint(len(part)), part]
    return pieces


def _error(at: int, what: str) -> TensorError:
    return TensorError(
        f"the file is not a TensorProto: {what}",
        where=f"byte {at}",
        hint="The file is cut short, damaged, or of another kind; write it again.",
    )
