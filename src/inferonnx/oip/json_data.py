"""The elements of tensors as JSON, both ways, a slice at a time.

A tensor's text is cut at commas. What stands between two cuts, with the brackets put
back that are open there, is an array of its own: `json` reads it at the speed of C, and
no more than one slice is ever held as Python objects. Only the number of elements has to
fit the shape, not the nesting; so it is with Triton.

Memory, measured by tracemalloc on a body of 3 MB (150,528 numbers of FP32): 0.6 MB for the
tensor and 0.7 MB at the peak on the way in (`json.loads`: 7.8), 3.2 MB of reply on the way
out. The worst text of 3 MB, "[],[],[],...", peaks at 0.8 MB (`json.loads`: 67). Strings
stay costly, 35 MB for 600,000 of two letters: an allowance bounds them.
"""

from __future__ import annotations

import json
import re
from array import array
from itertools import chain

from inferonnx.oip.datatypes import ARRAY_LETTERS, datatype_of
from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.json_text import MAX_DEPTH, decode_json, string_end, too_deep, unparsable
from inferonnx.tensors import DType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from inferonnx.oip.requests import Allowance
    from inferonnx.tensors import Tensor

_SLICE_BYTES = 16 << 10
"""Text that is read at once: enough that calls cost nothing, little as Python objects."""

_MAX_ELEMENT_BYTES = 4 * _SLICE_BYTES
"""Text of one number, with the white space around it."""

_SLICE_ELEMENTS = 2048
"""Elements that are written at once."""

_MOST_NUMBER_BYTES = len(b"-2.2250738585072014e-308,")
_MOST_LETTER_BYTES = len(rb"\u0001")

_COMMA = re.compile(rb",")
_COMMA_OR_QUOTE = re.compile(rb'[,"]')
_QUOTE = re.compile(rb'"')
_SPACE = b" \t\n\r"
_COMMA_BYTE, _BRACKET_BYTE = b",["
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]"))
_LEAST_TEXT = 2
"""Bytes of the shortest element, with the comma or bracket behind it."""

# (what elements must be in Python, what to say when they are not)
_ANY: tuple[set[type], str] = ({str, int, float, bool, type(None)}, "object as element")
_SIGNED: tuple[set[type], str] = ({int}, "non-signed-integer as signed-integer")
_UNSIGNED: tuple[set[type], str] = ({int}, "non-unsigned-integer as unsigned-integer")
_REAL: tuple[set[type], str] = ({int, float}, "non-number as double")
_KINDS: dict[DType, tuple[set[type], str]] = {
    DType.BOOL: ({bool}, "non-boolean as boolean"),
    DType.INT8: _SIGNED,
    DType.INT16: _SIGNED,
    DType.INT32: _SIGNED,
    DType.INT64: _SIGNED,
    DType.UINT8: _UNSIGNED,
    DType.UINT16: _UNSIGNED,
    DType.UINT32: _UNSIGNED,
    DType.UINT64: _UNSIGNED,
    DType.FLOAT: _REAL,
    DType.DOUBLE: _REAL,
    DType.STRING: ({str}, "non-string as string"),
}


def read_numbers(
    view: memoryview, dtype: DType, n_elements: int, allowance: Allowance
) -> memoryview:
    """Return the elements of a tensor of numbers or truth values, little-endian.

    Args:
        view: The text of the array, from bracket to bracket.
        dtype: Their type, one of `ARRAY_LETTERS`.
        n_elements: How many there must be, at least one.
        allowance: What they may take.

    Raises:
        InvalidRequestError: There are more or fewer, or one is of another type.
        TooLargeError: They take more memory than the allowance.
    """
    if n_elements > len(view) // _LEAST_TEXT:
        raise _too_few()  # before anything is allocated
    n_bytes = dtype.n_bytes(n_elements)
    allowance.take(n_bytes)
    letter = ARRAY_LETTERS[dtype]
    result = memoryview(bytearray(n_bytes))
    cells = result.cast(letter)  # type: ignore[call-overload]
    n_read = 0
    for values in _slices(view, dtype):
        if n_read + len(values) > n_elements:
            raise _too_many()
        try:
            cells[n_read : n_read + len(values)] = array(letter, values)
        except OverflowError as error:
            raise _wrong_range(dtype, values) from error
        n_read += len(values)
    if n_read != n_elements:
        raise _too_few()
    return result


def read_strings(view: memoryview, n_elements: int, allowance: Allowance) -> list[str]:
    """Return the elements of a tensor of strings; see `read_numbers`."""
    if n_elements > len(view) // _LEAST_TEXT:
        raise _too_few()
    strings: list[str] = []
    for values in _slices(view, DType.STRING):
        if len(strings) + len(values) > n_elements:
            raise _too_many()
        for text in values:
            allowance.take_string(text)
        strings += values
    if len(strings) != n_elements:
        raise _too_few()
    return strings


def check_text(view: memoryview) -> None:
    """Refuse what is no array of JSON; of an empty tensor the elements don't matter."""
    for _ in _slices(view, None):
        pass


def most_text_bytes(tensor: Tensor) -> int:
    """Return the most that `write_elements` gives for a tensor."""
    if tensor.strings is None:
        return _MOST_NUMBER_BYTES * tensor.n_elements
    return _MOST_LETTER_BYTES * sum(map(len, tensor.strings)) + 3 * tensor.n_elements


def write_elements(tensor: Tensor, name: str) -> Iterator[bytes]:
    """Yield the text of a tensor's elements, without brackets, in pieces.

    Args:
        tensor: What to write.
        name: Of the output or input, for the sentence.

    Raises:
        InvalidRequestError: JSON can't carry it: FP16, BF16, strings that are not UTF-8.
    """
    step, comma = _SLICE_ELEMENTS, b""
    for start in range(0, tensor.n_elements, step):
        if tensor.strings is not None:
            values: list[Any] = list(tensor.strings[start : start + step])
        else:
            letter = "?" if tensor.dtype is DType.BOOL else ARRAY_LETTERS[tensor.dtype]
            cells = tensor.data.cast(letter)  # type: ignore[call-overload]
            values = cells[start : start + step].tolist()
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
        try:
            yield comma + text[1:-1].encode()
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                f"'{shown(name)}' holds strings that are not UTF-8, which JSON can't carry. "
                "Please use the binary data format"
            ) from error
        comma = b","


def _slices(view: memoryview, dtype: DType | None) -> Iterator[list[Any]]:
    """Yield the elements in the order of the text, a list for each slice.

    Args:
        view: The text of the array, from bracket to bracket.
        dtype: Type of the elements; None stands for any.
    """
    kinds, what = _ANY if dtype is None else _KINDS[dtype]
    has_strings = dtype in (DType.STRING, None)
    at, depth, stop = 0, 0, len(view)
    while at < stop:
        cut, brackets = _cut(view, at, stop, has_strings=has_strings)
        if not has_strings and cut - at > _SLICE_BYTES + _MAX_ELEMENT_BYTES:
            raise unparsable("a value is too long", at)
        text = bytes(view[at:cut]).strip(_SPACE)
        # A comma needs a value on each side; json would not miss it beside a bracket.
        if not text or (at and text[:1] == b"]") or (cut < stop and text[-1:] == b"["):
            raise unparsable("Invalid value.", at)
        if b"{" in brackets or (not has_strings and b'"' in brackets):
            raise _wrong_kind(what)
        before, depth = depth, _depth_after(brackets, depth)
        try:
            values = decode_json("[" * before + text.decode() + "]" * depth)
        except ValueError as error:
            raise unparsable("Invalid value.", at) from error
        flat = _flatten(values)
        if not kinds.issuperset(map(type, flat)):
            raise _wrong_kind(what)
        yield flat
        at = cut + 1


def _cut(view: memoryview, at: int, stop: int, *, has_strings: bool) -> tuple[int, bytes]:
    """Return where the slice that begins at `at` ends, and the text in it outside of strings."""
    least = min(at + _SLICE_BYTES, stop)
    if not has_strings:
        found = _COMMA.search(view, least, stop)
        cut = stop if found is None else found.start()
        return cut, bytes(view[at:cut])
    outside = bytearray()
    while at < stop:
        if at < least:
            found = _QUOTE.search(view, at, least)
            place = least if found is None else found.start()
        else:
            found = _COMMA_OR_QUOTE.search(view, at, stop)
            place = stop if found is None else found.start()
        outside += view[at:place]
        at = place
        if found is not None:
            if view[place] == _COMMA_BYTE:
                break
            at = string_end(view, place + 1, stop) or stop
    return at, bytes(outside)


def _depth_after(text: bytes, depth: int) -> int:
    """Return how many brackets are open behind `text`, given how many are before it."""
    opened, closed = text.count(b"["), text.count(b"]")
    if depth + opened >= MAX_DEPTH:
        now = depth
        for byte in text.translate(None, _NOT_BRACKETS):
            now += 1 if byte == _BRACKET_BYTE else -1
            if now >= MAX_DEPTH:
                raise too_deep()
    return depth + opened - closed


def _flatten(values: list[Any]) -> list[Any]:
    """Return what stands in nested lists, in order; each list is looked at once or twice."""
    kinds = set(map(type, values))
    while kinds == {list}:
        values = list(chain.from_iterable(values))
        kinds = set(map(type, values))
    if list not in kinds:
        return values
    flat: list[Any] = []
    stack = [iter(values)]
    while stack:
        for value in stack[-1]:
            if type(value) is list:
                stack.append(iter(value))
                break
            flat.append(value)
        else:
            stack.pop()
    return flat


def _wrong_kind(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"Unable to parse 'data': attempt to access JSON {what}")


def _wrong_range(dtype: DType, values: list[Any]) -> InvalidRequestError:
    if _KINDS[dtype] is _UNSIGNED and min(values) < 0:
        return _wrong_kind(_UNSIGNED[1])
    return InvalidRequestError(
        f"Unable to parse 'data': an element is out of range for {datatype_of(dtype)}"
    )


def _too_many() -> InvalidRequestError:
    return InvalidRequestError(
        "Unable to parse 'data': Shape does not match true shape of 'data' field"
    )


def _too_few() -> InvalidRequestError:
    return InvalidRequestError("Failed to parse 'data' field: shape does not match true shape")
