"""Values in and out of onnxruntime: tensors borrowed or copied, strings, sequences, maps."""

from __future__ import annotations

import ctypes
from itertools import chain, pairwise
from math import prod
from typing import TYPE_CHECKING

from inferonnx.errors import EngineError, TensorError
from inferonnx.runtime.addresses import address_of
from inferonnx.runtime.ort import Environment, OrtSession, Value
from inferonnx.runtime.process import fresh_memory
from inferonnx.runtime.small_models import empty_sequence_model
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor

if TYPE_CHECKING:
    from typing import TypeAlias

    Exported: TypeAlias = "Tensor | list[Exported] | dict[int | str, Exported] | None"

_TENSOR, _SEQUENCE, _MAP = 1, 2, 3  # ONNXType
# ONNXTensorElementDataType numbers the newest types in another order than ONNX does.
_ORT_TYPES: dict[int, int] = {DType.FLOAT8E8M0: 26, DType.UINT2: 24, DType.INT2: 25}
_ONNX_TYPES = {theirs: ours for ours, theirs in _ORT_TYPES.items()}

_STRING_BYTES = 100
"""A Python string without its text, and where it lies, here and in onnxruntime's content."""

_LETTER_BYTES = 5
"""A byte of text in that content, and as a letter of a string that holds any of the widest."""


def borrow(
    environment: Environment, memory: object, address: int, tensor: tuple[int, tuple[int, ...], int]
) -> Value:
    """Return a value over memory that stays where it is.

    Args:
        environment: Where the value belongs.
        memory: Kept alive with the value.
        address: Where the tensor begins.
        tensor: Its dtype number, shape and size in bytes.
    """
    dtype, shape, n_bytes = tensor
    dims = (ctypes.c_int64 * len(shape))(*shape)
    pointer = environment.api.make(
        "CreateTensorWithDataAsOrtValue",
        environment.borrowed,
        address,
        n_bytes,
        dims,
        len(shape),
        _ORT_TYPES.get(dtype, dtype),
        what="wrap a tensor",
    )
    return Value(environment, pointer, memory)


def load(environment: Environment, value: Exported, kind: str = "") -> Value:
    """Return an onnxruntime value of a tensor (borrowed), a list or a dict.

    Args:
        environment: Where the value belongs.
        value: What to hand over.
        kind: Its declared type, "seq(tensor(float))"; an empty list needs it.
    """
    if value is None:
        raise TensorError("an input has no value")
    if isinstance(value, Tensor):
        if value.strings is not None:
            return _strings(environment, value)
        buffer, address = address_of(value.data)
        if address % (value.dtype.item_bytes or 1):
            # Part of a message, whose head has any length; C++ wants elements in their places.
            copy = fresh_memory(len(value.data))
            copy[:] = value.data
            buffer, address = address_of(copy)
        return borrow(
            environment, (buffer, value), address, (value.dtype, value.shape, len(value.data))
        )
    if isinstance(value, dict):
        return _collection(
            environment, _MAP, [load(environment, part) for part in _map_parts(value)]
        )
    if not value:
        return _empty_sequence(environment, kind)
    return _collection(environment, _SEQUENCE, [load(environment, part) for part in value])


def dump(environment: Environment, value: Value) -> Exported:
    """Return a copy of an onnxruntime value, free of onnxruntime's memory."""
    if not value.pointer:
        return None  # an optional output that the model has not made
    api, kind, count = environment.api, ctypes.c_int(), ctypes.c_size_t()
    api.call("GetValueType", value.pointer, ctypes.byref(kind))
    if kind.value == _TENSOR:
        return _dump_tensor(environment, value)
    if kind.value not in (_SEQUENCE, _MAP):
        raise EngineError("an output is neither tensor, sequence nor map")
    api.call("GetValueCount", value.pointer, ctypes.byref(count))
    pointers = (
        api.make("GetValue", value.pointer, i, environment.allocator) for i in range(count.value)
    )
    parts = [dump(environment, Value(environment, pointer)) for pointer in pointers]
    return parts if kind.value == _SEQUENCE else _map_of(parts)


def _collection(environment: Environment, kind: int, parts: list[Value]) -> Value:
    pointers = (ctypes.c_void_p * len(parts))(*(part.pointer for part in parts))
    pointer = environment.api.make(
        "CreateValue", pointers, len(parts), kind, what="build a sequence or map"
    )
    return Value(environment, pointer, parts)


def _empty_sequence(environment: Environment, kind: str) -> Value:
    """Return a sequence of nothing, which the C API can't build but an operator can."""
    session = OrtSession(environment, empty_sequence_model(DType.of_type(kind[len("seq(") : -1])))
    try:
        (value,) = session.run([])
    finally:
        session.close()
    return value


def _strings(environment: Environment, tensor: Tensor) -> Value:
    dims = (ctypes.c_int64 * len(tensor.shape))(*tensor.shape)
    pointer = environment.api.make(
        "CreateTensorAsOrtValue", environment.allocator, dims, len(tensor.shape), DType.STRING
    )
    texts = [text.encode(errors=TEXT_ERRORS) for text in tensor.strings or ()]
    array = (ctypes.c_char_p * len(texts))(*texts)
    value = Value(environment, pointer)
    environment.api.call("FillStringTensor", pointer, array, len(texts))
    for i, text in enumerate(texts):
        if 0 in text:  # FillStringTensor has stopped there; one by one costs a call for each
            place = environment.api.make(
                "GetResizedStringTensorElementBuffer", pointer, i, len(text)
            )
            ctypes.memmove(place, text, len(text))
    return value


def tensor_bytes(environment: Environment, value: Value) -> int:
    """Return the most that a copy of a tensor takes; 0 for all else."""
    kind = ctypes.c_int()
    if value.pointer:
        environment.api.call("GetValueType", value.pointer, ctypes.byref(kind))
    if kind.value != _TENSOR:
        return 0
    dtype, shape = _described(environment, value)
    if dtype is not DType.STRING:
        return dtype.n_bytes(prod(shape))
    return prod(shape) * _STRING_BYTES + _text_bytes(environment, value) * _LETTER_BYTES


def _described(environment: Environment, value: Value) -> tuple[DType, tuple[int, ...]]:
    """Return type and shape of a tensor."""
    api = environment.api
    info = api.make("GetTensorTypeAndShape", value.pointer)
    try:
        number, rank = ctypes.c_int(), ctypes.c_size_t()
        api.call("GetTensorElementType", info, ctypes.byref(number))
        api.call("GetDimensionsCount", info, ctypes.byref(rank))
        dims = (ctypes.c_int64 * rank.value)()
        api.call("GetDimensions", info, dims, rank.value)
    finally:
        api.release("TensorTypeAndShapeInfo", info)
    return DType(_ONNX_TYPES.get(number.value, number.value)), tuple(dims)


def _dump_tensor(environment: Environment, value: Value) -> Tensor:
    dtype, shape = _described(environment, value)
    n_elements = prod(shape)
    if dtype is DType.STRING:
        texts = _dump_strings(environment, value, n_elements)
        return Tensor(dtype=dtype, shape=shape, data=memoryview(b""), strings=texts)
    n_bytes = dtype.n_bytes(n_elements)
    copy = fresh_memory(n_bytes, environment.withhold if environment.is_limited else None)
    if n_bytes:
        address = environment.api.make("GetTensorMutableData", value.pointer)
        ctypes.memmove((ctypes.c_char * n_bytes).from_buffer(copy), address, n_bytes)
    return Tensor(dtype=dtype, shape=shape, data=copy, strings=None)


def _dump_strings(environment: Environment, value: Value, count: int) -> tuple[str, ...]:
    if not count:
        return ()
    n_bytes = _text_bytes(environment, value)
    content = bytearray(n_bytes or 1)
    offsets = (ctypes.c_size_t * count)()
    environment.api.call(
        "GetStringTensorContent",
        value.pointer,
        (ctypes.c_char * len(content)).from_buffer(content),
        n_bytes,
        offsets,
        count,
    )
    # Neither text nor places are copied as a whole: that would hold all threads up.
    return tuple(
        content[start:stop].decode(errors=TEXT_ERRORS)
        for start, stop in pairwise(chain(offsets, (n_bytes,)))
    )


def _text_bytes(environment: Environment, value: Value) -> int:
    """Return what the strings of a tensor have together."""
    total = ctypes.c_size_t()
    environment.api.call("GetStringTensorDataLength", value.pointer, ctypes.byref(total))
    return total.value


def _map_parts(mapping: dict[int | str, Exported]) -> tuple[Tensor, Tensor]:
    """Return keys and values of a map as two rank-1 tensors, as onnxruntime wants them."""
    keys, values = list(mapping), list(mapping.values())
    if all(isinstance(key, str) for key in keys):
        first = Tensor(
            dtype=DType.STRING,
            shape=(len(keys),),
            data=memoryview(b""),
            strings=tuple(str(key) for key in keys),
        )
    else:
        numbers = (ctypes.c_int64 * len(keys))(*(int(key) for key in keys))
        first = Tensor(
            dtype=DType.INT64, shape=(len(keys),), data=memoryview(bytes(numbers)), strings=None
        )
    if not all(isinstance(value, Tensor) and not value.shape for value in values):
        raise TensorError("the values of a map must be scalars")
    scalars = [value for value in values if isinstance(value, Tensor)]
    dtype = scalars[0].dtype if scalars else DType.FLOAT
    if dtype is DType.STRING:
        texts = tuple((value.strings or ("",))[0] for value in scalars)
        return first, Tensor(dtype=dtype, shape=(len(keys),), data=memoryview(b""), strings=texts)
    data = b"".join(bytes(value.data) for value in scalars)
    return first, Tensor(dtype=dtype, shape=(len(keys),), data=memoryview(data), strings=None)


def _map_of(parts: list[Exported]) -> dict[int | str, Exported]:
    """Return a dict from the two rank-1 tensors of an onnxruntime map."""
    keys, values = parts
    if not isinstance(keys, Tensor) or not isinstance(values, Tensor):
        raise EngineError("a map has no tensors of keys and values")
    return dict(zip(_scalars(keys), _scalar_tensors(values), strict=True))


def _scalars(tensor: Tensor) -> list[int | str]:
    if tensor.strings is not None:
        return list(tensor.strings)
    return list(tensor.data.cast("B").cast("q"))


def _scalar_tensors(tensor: Tensor) -> list[Tensor]:
    if tensor.strings is not None:
        return [
            Tensor(dtype=tensor.dtype, shape=(), data=memoryview(b""), strings=(text,))
            for text in tensor.strings
        ]
    size = tensor.dtype.n_bytes(1)
    return [
        Tensor(dtype=tensor.dtype, shape=(), data=tensor.data[i : i + size], strings=None)
        for i in range(0, len(tensor.data), size)
    ]
