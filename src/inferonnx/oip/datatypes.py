"""The protocol's data types and their binary form: little-endian, C order, no gaps.

One table: everything else in this room asks here. A string element is any bytes; as
a Python string those that are not UTF-8 are surrogate escapes, so that nothing is lost.
"""

from __future__ import annotations

from struct import Struct

from inferonnx.oip.errors import InvalidRequestError, UnsupportedError, shown
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferonnx.oip.requests import Allowance

# name: (element type, name in a model configuration, letter of its array in Python)
_TABLE: dict[str, tuple[DType, str, str]] = {
    "BOOL": (DType.BOOL, "TYPE_BOOL", "b"),
    "UINT8": (DType.UINT8, "TYPE_UINT8", "B"),
    "UINT16": (DType.UINT16, "TYPE_UINT16", "H"),
    "UINT32": (DType.UINT32, "TYPE_UINT32", "I"),
    "UINT64": (DType.UINT64, "TYPE_UINT64", "Q"),
    "INT8": (DType.INT8, "TYPE_INT8", "b"),
    "INT16": (DType.INT16, "TYPE_INT16", "h"),
    "INT32": (DType.INT32, "TYPE_INT32", "i"),
    "INT64": (DType.INT64, "TYPE_INT64", "q"),
    "FP16": (DType.FLOAT16, "TYPE_FP16", ""),
    "FP32": (DType.FLOAT, "TYPE_FP32", "f"),
    "FP64": (DType.DOUBLE, "TYPE_FP64", "d"),
    "BYTES": (DType.STRING, "TYPE_STRING", ""),
    "BF16": (DType.BFLOAT16, "TYPE_BF16", ""),
}

DATATYPES: Mapping[str, DType] = {name: row[0] for name, row in _TABLE.items()}
"""The protocol's name of each type, and ours."""

CONFIG_TYPES: Mapping[str, str] = {name: row[1] for name, row in _TABLE.items()}
"""The protocol's name of each type, and that of model configurations."""

ARRAY_LETTERS: Mapping[DType, str] = {row[0]: row[2] for row in _TABLE.values() if row[2]}
"""Letter of an `array.array` of each type that JSON can carry as numbers or truth values."""

_NAMES = {row[0]: name for name, row in _TABLE.items()}
_LENGTH = Struct("<I")
_SLICE = 1 << 16
_MOST_LETTER_BYTES = 4


def datatype_of(dtype: DType) -> str:
    """Return the protocol's name of an element type.

    Raises:
        UnsupportedError: The protocol has none (complex numbers, 8 bit floats, 4 bits).
    """
    name = _NAMES.get(dtype)
    if name is None:
        raise UnsupportedError(f"the protocol has no data type for {dtype.onnx_name}")
    return name


def encode_raw(tensor: Tensor) -> bytes | memoryview:
    """Return a tensor in its binary form: its own memory, or for strings a copy."""
    datatype_of(tensor.dtype)
    if tensor.strings is None:
        return tensor.data
    written = bytearray()  # and not joined: the parts would take many times as much
    for string in tensor.strings:
        text = string.encode(errors=TEXT_ERRORS)
        written += _LENGTH.pack(len(text))
        written += text
    return memoryview(written)


def most_raw_bytes(strings: Sequence[str]) -> int:
    """Return the most that `encode_raw` gives for strings."""
    return _MOST_LETTER_BYTES * sum(map(len, strings)) + _LENGTH.size * len(strings)


def parse_raw(
    dtype: DType,
    shape: tuple[int, ...],
    view: memoryview,
    *,
    name: str,
    model_name: str,
    allowance: Allowance,
) -> Tensor:
    """Return the tensor that `view` holds in its binary form.

    Args:
        dtype: Type of the elements.
        shape: Sizes of the axes, none negative, their product checked.
        view: Flat bytes. The tensor is a view of them, only strings are copied.
        name: Of the input, for the sentence.
        model_name: Likewise.
        allowance: What strings may take.

    Raises:
        InvalidRequestError: Shape and bytes don't fit together.
        TooLargeError: The strings take more memory than the allowance.
    """
    n_elements = 1
    for size in shape:
        n_elements *= size
    if dtype is DType.STRING:
        strings = parse_strings(view, n_elements, _where(name, model_name), allowance)
        return Tensor(dtype=dtype, shape=shape, strings=strings)
    expected = dtype.n_bytes(n_elements)
    if len(view) != expected:
        raise InvalidRequestError(
            f"input byte size mismatch for input '{shown(name)}' for model "
            f"'{shown(model_name)}'. Expected {expected}, got {len(view)}"
        )
    if dtype is DType.BOOL and not _is_all_bool(view):
        # Other values have no meaning in C++, where the model will read them.
        raise InvalidRequestError(
            f"BOOL elements must be 0 or 1 in input '{shown(name)}' for model '{shown(model_name)}'"
        )
    return Tensor(dtype=dtype, shape=shape, data=view)


def parse_strings(view: memoryview, count: int, where: str, allowance: Allowance) -> list[str]:
    """Return `count` strings, each behind its length.

    Args:
        view: Flat bytes, all of which must be used up.
        count: How many are expected.
        where: "for inference input 'x' for model 'm'".
        allowance: What the strings may take.

    Raises:
        InvalidRequestError: There are more or fewer, or one is cut off.
        TooLargeError: They take more memory than the allowance.
    """
    strings: list[str] = []
    at, end = 0, len(view)
    while at < end:
        if end - at < _LENGTH.size:
            raise InvalidRequestError(
                f"incomplete string length indicator {where}, expecting {_LENGTH.size} bytes "
                f"but only {end - at} bytes available. Please make sure the string length "
                "indicator is in one buffer."
            )
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if len(strings) == count:
            raise _too_many_strings(count, where)
        if length > end - at:
            raise InvalidRequestError(
                f"incomplete string element {where}, expecting {length} bytes "
                f"but only {end - at} bytes available"
            )
        text = str(view[at : at + length], "utf-8", TEXT_ERRORS)
        allowance.take_string(text)
        strings.append(text)
        at += length
    if len(strings) != count:
        raise _too_few_strings(len(strings), count, where)
    return strings


def check_strings_fit(n_strings: int, count: int, name: str, model_name: str) -> None:
    """Refuse strings that are not as many as the shape says.

    Raises:
        InvalidRequestError: There are more or fewer.
    """
    where = _where(name, model_name)
    if n_strings > count:
        raise _too_many_strings(count, where)
    if n_strings < count:
        raise _too_few_strings(n_strings, count, where)


def _is_all_bool(view: memoryview) -> bool:
    return not any(
        bytes(view[i : i + _SLICE]).translate(None, b"\0\1") for i in range(0, len(view), _SLICE)
    )


def _where(name: str, model_name: str) -> str:
    return f"for inference input '{shown(name)}' for model '{shown(model_name)}'"


def _too_many_strings(count: int, where: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"unexpected number of string elements {count + 1} {where}, expecting {count}"
    )


def _too_few_strings(n_strings: int, count: int, where: str) -> InvalidRequestError:
    return InvalidRequestError(f"expected {count} string elements {where}, got {n_strings}")
