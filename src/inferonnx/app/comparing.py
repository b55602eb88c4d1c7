"""Two sets of outputs: how far apart are they, and is that acceptable?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inferonnx.app.arrays import to_numpy
from inferonnx.errors import DifferenceError
from inferonnx.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from inferonnx.runtime.ort import Exported

RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-5
"""Beside onnxruntime with its defaults: packed and unpacked kernels add in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two results are apart, the largest over all outputs.

    Attributes:
        absolute: Largest absolute difference.
        relative: Largest difference against the largest magnitude of its output.
        ulps: Largest difference in units in the last place, among values that are
            not tiny against their output; 0 when all bits agree.
        n_values: Numbers compared.
        same_largest: Whether the largest element of each output is the same one.
        exact: Whether every bit, shape, type and string agrees.
        problem: What can't be compared: a shape, type or string; "" when all can.
    """

    absolute: float = 0.0
    relative: float = 0.0
    ulps: int = 0
    n_values: int = 0
    same_largest: bool = True
    exact: bool = True
    problem: str = ""

    def joined(self, other: Difference) -> Difference:
        """Return the larger of both, field by field."""
        return Difference(
            absolute=max(self.absolute, other.absolute),
            relative=max(self.relative, other.relative),
            ulps=max(self.ulps, other.ulps),
            n_values=self.n_values + other.n_values,
            same_largest=self.same_largest and other.same_largest,
            exact=self.exact and other.exact,
            problem=self.problem or other.problem,
        )


def compare(known: Mapping[str, Exported], mine: Mapping[str, Exported]) -> Difference:
    """Return the largest difference between results, by name of output."""
    if set(known) != set(mine):
        return Difference(exact=False, problem="the names of the outputs")
    total = Difference()
    for name, expected in known.items():
        for left, right in _pairs(expected, mine[name]):
            total = total.joined(_compare_tensors(left, right))
    return total


def check_agreement(difference: Difference) -> None:
    """Raise DifferenceError when results differ beyond the stated tolerance."""
    if difference.problem:
        raise DifferenceError(f"the results differ in {difference.problem}")
    if difference.relative > RELATIVE_TOLERANCE and difference.absolute > ABSOLUTE_TOLERANCE:
        raise DifferenceError(
            f"the results differ by up to {difference.absolute:.3g} "
            f"({difference.relative:.3g} of the largest value), tolerated are "
            f"{RELATIVE_TOLERANCE:g} of it"
        )


def _pairs(left: Exported, right: Exported) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        yield left, right
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for a, b in zip(left, right, strict=True):
            yield from _pairs(a, b)
    elif isinstance(left, dict) and isinstance(right, dict) and list(left) == list(right):
        for key in left:
            yield from _pairs(left[key], right[key])
    else:
        yield None, None


def _compare_tensors(left: Tensor | None, right: Tensor | None) -> Difference:
    if left is None or right is None:
        return Difference(exact=False, problem="the structure of a sequence or map")
    if left.dtype != right.dtype:
        return Difference(exact=False, problem="the type of an output")
    if left.shape != right.shape:
        return Difference(exact=False, problem="the shape of an output")
    if left.strings is not None:
        same = left.strings == right.strings
        return Difference(exact=same, problem="" if same else "a string")
    if left == right:
        return Difference(n_values=left.n_elements)
    a, b = (np.asarray(to_numpy(t)).astype(np.float64).ravel() for t in (left, right))
    return _compare_numbers(a, b, left)


def _compare_numbers(a: NDArray[np.float64], b: NDArray[np.float64], tensor: Tensor) -> Difference:
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(
        a[~finite], b[~finite], equal_nan=True
    ):
        return Difference(exact=False, problem="a value that is not finite")
    a, b = a[finite], b[finite]
    apart = np.abs(a - b)
    scale = float(np.abs(a).max(initial=0.0))
    notable = np.abs(a) > scale * 1e-3
    name = {1: np.float32, 10: np.float16, 11: np.float64}.get(tensor.dtype)
    ulps = 0
    if name is not None and notable.any():
        ulps = int((apart[notable] / np.spacing(np.abs(a[notable]).astype(name))).max())
    return Difference(
        absolute=float(apart.max(initial=0.0)),
        relative=float(apart.max(initial=0.0)) / scale if scale else float(apart.any()),
        ulps=ulps,
        n_values=len(a),
        same_largest=bool(not len(a) or a.argmax() == b.argmax()),
        exact=False,
    )
