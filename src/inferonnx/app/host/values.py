"""What callers hand in, as tensors, sequences and maps."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from inferonnx.errors import TensorError
from inferonnx.tensors import DType, Tensor, as_tensor, validate

if TYPE_CHECKING:
    from inferonnx.runtime.ort_values import Exported
    from inferonnx.sealed import ValueInfo


def exported(value: object, kind: str = "") -> Exported:
    """Return what a caller handed in as a tensor, a list (sequence) or a dict (map).

    Args:
        value: Anything `as_tensor` takes, lists and dicts of it; in dicts Python's own
            numbers too, since that is how onnxruntime's Python package gives maps.
        kind: The declared type, as "map(string,tensor(float))": what numbers become.

    Raises:
        TensorError: A part of it is no tensor.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: _in_map(part, _element(kind)) for key, part in value.items()}
    if isinstance(value, list | tuple) and (
        kind.startswith("seq(") or not (value and isinstance(value[0], str))
    ):
        return [exported(part, _element(kind)) for part in value]
    return as_tensor(value)


def _element(kind: str) -> str:
    """Return what a sequence or map of type `kind` is of; "" for others."""
    if kind.startswith("map("):
        return kind[len("map(") : -1].partition(",")[2]
    return kind[len("seq(") : -1] if kind.startswith("seq(") else ""


def _in_map(value: object, kind: str) -> Exported:
    """Return a value of a map; a number has the map's type, its own where that is not known."""
    if not isinstance(value, int | float):
        return exported(value, kind)
    own = DType.DOUBLE if isinstance(value, float) else DType.INT64
    dtype = DType.of_type(kind) if kind.startswith("tensor(") else own
    try:
        data = struct.pack(_NUMBERS[dtype], value)
    except (KeyError, struct.error, OverflowError) as error:
        raise TensorError(f"a map of {dtype.onnx_name} can't hold {value!r:.40}") from error
    return Tensor(dtype=dtype, shape=(), data=data)


_NUMBERS = {DType.FLOAT: "<f", DType.DOUBLE: "<d", DType.INT64: "<q"}
"""The numbers that onnxruntime has in maps, as `struct` packs them."""


def check_declared(declared: ValueInfo, value: Exported) -> None:
    """Refuse a value that is not of its declared type.

    Raises:
        TensorError: One sentence: which input, what it is and what it must be.
    """
    kind = declared.type
    if kind.startswith("tensor("):
        if not isinstance(value, Tensor):
            raise TensorError(f"input {declared.name!r} must be one {kind}, not several")
        validate(declared.name, value, kind, declared.shape)
    elif kind.startswith("seq("):
        if not isinstance(value, list):
            raise TensorError(f"input {declared.name!r} must be a list, for a {kind}")
        for part in value:
            _check_part(declared.name, part, _element(kind))
    elif value is None:
        raise TensorError(f"input {declared.name!r} has no value, and must be a {kind}")
    else:
        _check_part(declared.name, value, kind)


def _check_part(name: str, value: Exported, kind: str) -> None:
    """Refuse a map, or an element of a sequence, that is not of type `kind`."""
    if kind.startswith("tensor("):
        if not isinstance(value, Tensor):
            raise TensorError(f"input {name!r}: each element must be a tensor")
        validate(name, value, kind, None)
    elif kind.startswith("map("):
        key = str if kind.startswith("map(string") else int
        if not isinstance(value, dict) or not all(isinstance(k, key) for k in value):
            raise TensorError(
                f"input {name!r} must be a dict for a {kind}, its keys all {key.__name__}"
            )
        for part in value.values():
            if not isinstance(part, Tensor) or part.shape:
                raise TensorError(f"input {name!r}: each value of a {kind} must be a scalar")
            validate(name, part, _element(kind), ())


def n_bytes(value: Exported) -> int:
    """Return the bytes of all elements of a value."""
    if value is None:
        return 0
    if isinstance(value, Tensor):
        return len(value.data) + sum(len(text) for text in value.strings or ())
    parts = value.values() if isinstance(value, dict) else value
    return sum(n_bytes(part) for part in parts)
