"""The classification extension: the largest values of an output by name instead of all."""

from __future__ import annotations

from array import array
from heapq import merge, nlargest
from itertools import islice
from math import inf
from typing import NamedTuple

from inferonnx.oip.datatypes import ARRAY_LETTERS, datatype_of
from inferonnx.oip.errors import InvalidRequestError
from inferonnx.tensors import DType, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CLASSES = 1_000_000
"""Elements of a row that are sorted; Triton's limit."""

_REALS = (DType.FLOAT, DType.DOUBLE)

_RUN = 8192
"""Values that are sorted at once: no other thread of Python's runs meanwhile."""

_RUN_BYTES = 80 * _RUN
"""What these take meanwhile, as Python's numbers."""

_INDEX = "I"
"""What their order is kept in: four bytes each, and not forty."""

_NAME_BYTES = 57 + 8
"""What a class takes as a string in a list, beside its letters."""

_MOST_LETTERS = {DType.FLOAT: 54, DType.DOUBLE: 324}
"""Of a class; of one of a whole number no more than `_WHOLE_LETTERS`."""

_WHOLE_LETTERS = 27


class ClassCost(NamedTuple):
    """What it takes to name classes.

    Attributes:
        n_values: How many are looked at.
        n_bytes: Most memory, the classes themselves included.
    """

    n_values: int
    n_bytes: int


def check_classifiable(dtype: DType) -> None:
    """Refuse element types whose values have no order here.

    Raises:
        InvalidRequestError: Strings, truth values, and halves, as with Triton.
    """
    if dtype not in ARRAY_LETTERS or dtype is DType.BOOL:
        raise InvalidRequestError(
            f"class result not available for output due to unsupported type '{datatype_of(dtype)}'"
        )


def class_cost(tensor: Tensor, n_classes: int, *, is_batched: bool) -> ClassCost:
    """Return what `classify` takes for the same arguments, with its errors."""
    rows, width = _rows(tensor, is_batched=is_batched)
    n_given = min(n_classes, width)
    n_sorted = min(width, n_given * -(-width // _RUN))
    sort_bytes = n_sorted * array(_INDEX).itemsize + _RUN_BYTES
    name_bytes = _NAME_BYTES + _MOST_LETTERS.get(tensor.dtype, _WHOLE_LETTERS)
    return ClassCost(rows * width, sort_bytes + rows * n_given * name_bytes)


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
    rows, width = _rows(tensor, is_batched=is_batched)
    form = "%f:%d" if tensor.dtype in _REALS else "%d:%d"
    cells = tensor.data.cast(ARRAY_LETTERS[tensor.dtype])  # type: ignore[call-overload]
    strings = []
    for start in range(0, rows * width, width or 1):
        row = cells[start : start + width]
        strings += [form % (row[i], i) for i in _largest(row, n_classes)]
    n_given = min(n_classes, width)
    shape = (rows, n_given) if is_batched and tensor.shape else (n_given,)
    return Tensor(dtype=DType.STRING, shape=shape, strings=strings)


def _rows(tensor: Tensor, *, is_batched: bool) -> tuple[int, int]:
    """Return how many rows there are, and how many values each has."""
    check_classifiable(tensor.dtype)
    rows = tensor.shape[0] if is_batched and tensor.shape else 1
    width = tensor.n_elements // rows if rows else 0
    if width > MAX_CLASSES:
        raise InvalidRequestError("classification output tensor too large")
    return rows, width


def _largest(values: memoryview, n: int) -> Iterator[int]:
    """Give the indices of the `n` largest values, the largest first."""

    def key(index: int) -> float:
        value: float = values[index]
        return value if value == value else -inf  # noqa: PLR0124 - NaN is not

    width = len(values)
    runs = (
        array(_INDEX, nlargest(n, range(start, min(start + _RUN, width)), key=key))
        for start in range(0, width, _RUN)
    )
    return islice(merge(*runs, key=key, reverse=True), n)
