"""Elements of a tensor as typed lists inside its message: the form that few clients use."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from inferonnx.oip.datatypes import ARRAY_LETTERS, check_strings_fit, datatype_of
from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.grpc.pool import message_class
from inferonnx.oip.grpc.wire import malformed, parsed_bytes
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor

if TYPE_CHECKING:
    from inferonnx.oip.requests import Allowance

# list of the message: types whose elements it holds, the first for the sentence
_LISTS: dict[str, tuple[DType, ...]] = {
    "bool_contents": (DType.BOOL,),
    "int_contents": (DType.INT32, DType.INT16, DType.INT8),
    "int64_contents": (DType.INT64,),
    "uint_contents": (DType.UINT32, DType.UINT16, DType.UINT8),
    "uint64_contents": (DType.UINT64,),
    "fp32_contents": (DType.FLOAT,),
    "fp64_contents": (DType.DOUBLE,),
    "bytes_contents": (DType.STRING,),
}
# Bytes that the runtime makes of one byte of each list; and of a field besides.
_GROWTH = {1: 1, 2: 4, 3: 8, 4: 4, 5: 8, 6: 1, 7: 1, 8: 1}
_EACH = 24


def parse_contents(
    dtype: DType,
    shape: tuple[int, ...],
    parts: list[memoryview],
    *,
    name: str,
    model_name: str,
    allowance: Allowance,
) -> Tensor:
    """Return the tensor that typed lists hold.

    Args:
        dtype: Type of the elements.
        shape: Sizes of the axes, checked.
        parts: The message of the lists, once or, as protobuf allows, in several parts.
        name: Of the input, for the sentence.
        model_name: Likewise.
        allowance: What it may take.

    Raises:
        InvalidRequestError: The list is that of another type, or of another length.
        TooLargeError: It takes more memory than the allowance.
    """
    allowance.take(sum(parsed_bytes(part, _GROWTH, _EACH) for part in parts))
    try:
        message = message_class("InferTensorContents").FromString(b"".join(parts))
    except DecodeError as error:
        raise malformed() from error
    where = f"for input tensor '{shown(name)}' for model '{shown(model_name)}'"
    filled = [field for field in _LISTS if len(getattr(message, field))]
    if len(filled) > 1:
        raise InvalidRequestError(
            f"unexpected explicit tensor data {where}, binary data was already supplied."
        )
    if filled and dtype not in _LISTS[filled[0]]:
        raise InvalidRequestError(
            f"unexpected explicit tensor data {where} of type "
            f"'{datatype_of(_LISTS[filled[0]][0])}', expected datatype '{datatype_of(dtype)}'"
        )
    elements: Any = getattr(message, filled[0]) if filled else ()
    n_elements = 1
    for size in shape:
        n_elements *= size
    if dtype is DType.STRING:
        check_strings_fit(len(elements), n_elements, name, model_name)
        return Tensor(dtype=dtype, shape=shape, strings=_strings(elements, allowance))
    if len(elements) != n_elements:
        raise InvalidRequestError(
            f"input byte size mismatch for input '{shown(name)}' for model "
            f"'{shown(model_name)}'. Expected {dtype.n_bytes(n_elements)}, got "
            f"{dtype.n_bytes(len(elements))}"
        )
    allowance.take(dtype.n_bytes(n_elements))
    cells = array(ARRAY_LETTERS.get(dtype, "b"))
    try:
        cells.extend(elements)
    except OverflowError as error:
        raise InvalidRequestError(
            f"an element is out of range for {datatype_of(dtype)} {where}"
        ) from error
    return Tensor(dtype=dtype, shape=shape, data=memoryview(cells))


def _strings(elements: Any, allowance: Allowance) -> list[str]:
    strings = []
    for element in elements:
        text = element.decode(errors=TEXT_ERRORS)
        allowance.take_string(text)
        strings.append(text)
    return strings
