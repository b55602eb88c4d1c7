"""What callers hand in, as tensors, sequences and maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.errors import TensorError
from inferonnx.tensors import Tensor, as_tensor, validate

if TYPE_CHECKING:
    from inferonnx.runtime.ort_values import Exported
    from inferonnx.sealed import ValueInfo


def exported(value: object) -> Exported:
    """Return what a caller handed in as a tensor, a list (sequence) or a dict (map).

    Raises:
        TensorError: A part of it is no tensor.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: exported(part) for key, part in value.items()}
    if isinstance(value, list | tuple) and not (value and isinstance(value[0], str)):
        return [exported(part) for part in value]
    return as_tensor(value)


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
    elif kind.startswith("seq(tensor("):
        if not isinstance(value, list):
            raise TensorError(f"input {declared.name!r} must be a list, for a {kind}")
        for part in value:
            if not isinstance(part, Tensor):
                raise TensorError(f"input {declared.name!r}: each element must be a tensor")
            validate(declared.name, part, kind[len("seq(") : -1], None)
    elif value is None:
        raise TensorError(f"input {declared.name!r} has no value, and must be a {kind}")
    elif kind.startswith("map(") and not (
        isinstance(value, dict)
        and (all(isinstance(k, str) for k in value) or all(isinstance(k, int) for k in value))
    ):
        raise TensorError(
            f"input {declared.name!r} must be a dict for a {kind}, its keys all str or all int"
        )


def n_bytes(value: Exported) -> int:
    """Return the bytes of all elements of a value."""
    if value is None:
        return 0
    if isinstance(value, Tensor):
        return len(value.data) + sum(len(text) for text in value.strings or ())
    parts = value.values() if isinstance(value, dict) else value
    return sum(n_bytes(part) for part in parts)
