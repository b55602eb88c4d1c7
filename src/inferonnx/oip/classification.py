"""The classification extension: the largest values of an output by name instead of all."""

from __future__ import annotations

from heapq import nlargest
from math import inf, isnan

from inferonnx.oip.datatypes import ARRAY_LETTERS, datatype_of
from inferonnx.oip.errors import InvalidRequestError
from inferonnx.tensors import DType, Tensor

MAX_CLASSES = 1_000_000
"""Elements of a row that are sorted; Triton's limit."""

_REALS = (DType.FLOAT, DType.DOUBLE)


def check_classifiable(dtype: DType) -> None:
    """Refuse element types whose values have no order here.

    Raises:
        InvalidRequestError: Strings, truth values, and halves, as with Triton.
    """
    if dtype not in ARRAY_LETTERS or dtype is DType.BOOL:
        raise InvalidRequestError(
            f"class result not available for output due to unsupported type '{datatype_of(dtype)}'"
        )


def classify(tensor: Tensor, n_classes: int, *, is_batched: bool) -> Tensor:
    """Return the `n_classes` largest values as strings "value:index", the largest first.

    Args:
        tensor: Numbers.
        n_classes: How many, at least one; fewer when a row has fewer.
        is_batched: Whether the first axis counts rows, each with classes of its own.

    Returns:
        Strings of shape (classes,) or (rows, classes). Of equal values the first comes
        first, NaN comes last.

    Raises:
        InvalidRequestError: Elements without an order, or too many of them.
    """
    check_classifiable(tensor.dtype)
    rows = tensor.shape[0] if is_batched and tensor.shape else 1
    width = tensor.n_elements // rows if rows else 0
    if width > MAX_CLASSES:
        raise InvalidRequestError("classification output tensor too large")
    is_real = tensor.dtype in _REALS
    form = "%f:%d" if is_real else "%d:%d"
    cells = tensor.data.cast(ARRAY_LETTERS[tensor.dtype])  # type: ignore[call-overload]
    strings = []
    for start in range(0, rows * width, width or 1):
        values = cells[start : start + width].tolist()
        keys = [-inf if isnan(value) else value for value in values] if is_real else values
        best = nlargest(n_classes, range(width), key=keys.__getitem__)
        strings += [form % (values[i], i) for i in best]
    n_given = min(n_classes, width)
    shape = (rows, n_given) if is_batched and tensor.shape else (n_given,)
    return Tensor(dtype=DType.STRING, shape=shape, strings=strings)
