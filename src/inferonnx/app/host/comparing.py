"""Two sets of outputs: how far apart are they, and is that acceptable?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.app.host.arrays import to_numpy
from inferonnx.errors import DifferenceError
from inferonnx.tensors import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from inferonnx.runtime.ort_values import Exported

RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-5
"""Beside onnxruntime with its defaults: packed and unpacked kernels add in another order."""

_QUANTISED = (DType.UINT8, DType.INT8)
"""One step of these is a rounding; a step of other integers is another answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far two results are apart, the largest over all outputs.

    Each tensor is judged by itself, before figures are joined. Floats: the largest
    difference is at most 0.001 of the tensor's largest magnitude, or 0.00001. 8-bit
    integers: at most one step. Other integers, bools and strings: equal.

    Attributes:
        absolute: Largest absolute difference.
        relative: Largest difference against the largest magnitude of its output.
        ulps: Largest difference in units in the last place, among values that are
            not tiny against their output; 0 when all bits agree.
        n_values: Elements compared.
        same_largest: Whether the largest element of each output is the same one.
        exact: Whether every bit, shape, type and string agrees.
        within: Whether every tensor is within its tolerance.
        problem: What of the first tensor that is not; "" when all are.
    """

    absolute: float = 0.0
    relative: float = 0.0
    ulps: int = 0
    n_values: int = 0
    same_largest: bool = True
    exact: bool = True
    within: bool = True
    problem: str = ""

    @classmethod
    def refused(cls, problem: str) -> Difference:
        """Return that two results can't be measured against each other."""
        return cls(exact=False, within=False, problem=problem)

    def joined(self, other: Difference) -> Difference:
        """Return the larger of both, field by field."""
        return Difference(
            absolute=max(self.absolute, other.absolute),
            relative=max(self.relative, other.relative),
            ulps=max(self.ulps, other.ulps),
            n_values=self.n_values + other.n_values,
            same_largest=self.same_largest and other.same_largest,
            exact=self.exact and other.exact,
            within=self.within and other.within,
            problem=self.problem or other.problem,
        )


def compare(known: Mapping[str, Exported], mine: Mapping[str, Exported]) -> Difference:
    """Return the largest difference between results, by name of output."""
    if set(known) != set(mine):
        return Difference.refused("the names of the outputs")
    total = Difference()
    for name, expected in known.items():
        for left, right in _pairs(expected, mine[name]):
            found = _compare_tensors(left, right)
            if found.problem:
                found = replace(found, problem=f"{found.problem} (output {name!r})")
            total = total.joined(found)
    return total


def check_agreement(difference: Difference) -> None:
    """Raise DifferenceError when a result is beyond its tolerance."""
    if not difference.within:
        raise DifferenceError(f"the results differ in {difference.problem}")


def _pairs(left: Exported, right: Exported) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        yield left, right
    elif left is None and right is None:
        return  # an optional output without a value
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
        return Difference.refused("the structure of a sequence or map")
    if left.dtype != right.dtype:
        return Difference.refused("the type of a tensor")
    if left.shape != right.shape:
        return Difference.refused("the shape of a tensor")
    if left == right:
        return Difference(n_values=left.n_elements)
    if left.strings is not None:
        return Difference.refused("a string")
    a, b = (np.asarray(to_numpy(tensor)).ravel() for tensor in (left, right))
    if a.dtype.kind in "biu":
        return _compare_integers(a, b, left.dtype)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    return _compare_floats(a.astype(wide), b.astype(wide), left.dtype)


def _compare_integers(a: NDArray[Any], b: NDArray[Any], dtype: DType) -> Difference:
    """Compare arrays that differ; exactly, since doubles don't hold all 64-bit integers."""
    if a.dtype.kind == "b":
        a, b = a.view(np.uint8), b.view(np.uint8)
    # Larger minus smaller always fits the unsigned type of the same width.
    steps = (np.maximum(a, b) - np.minimum(a, b)).view(f"u{a.dtype.itemsize}")
    apart = int(steps.max())
    largest = max(abs(int(a.max())), abs(int(a.min())))
    within = apart <= 1 and dtype in _QUANTISED
    return Difference(
        absolute=float(apart),
        relative=apart / largest if largest else 1.0,
        n_values=len(a),
        same_largest=bool(a.argmax() == b.argmax()),
        exact=False,
        within=within,
        problem="" if within else f"an integer, by {apart}; tolerated are {_steps(dtype)}",
    )


def _steps(dtype: DType) -> str:
    return "1 step" if dtype in _QUANTISED else "none"


def _compare_floats(a: NDArray[Any], b: NDArray[Any], dtype: DType) -> Difference:
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)) or not np.array_equal(
        a[~finite], b[~finite], equal_nan=True
    ):
        return Difference.refused("a value that is not finite")
    a, b = a[finite], b[finite]
    apart = np.abs(a - b)
    absolute = float(apart.max(initial=0.0))
    scale = float(np.abs(a).max(initial=0.0))
    within = absolute <= max(RELATIVE_TOLERANCE * scale, ABSOLUTE_TOLERANCE)
    return Difference(
        absolute=absolute,
        relative=absolute / scale if scale else float(absolute > 0),
        ulps=_ulps(a, apart, scale, dtype),
        n_values=len(finite),
        same_largest=bool(not len(a) or np.real(a).argmax() == np.real(b).argmax()),
        exact=False,
        within=within,
        problem=""
        if within
        else f"a value, by {absolute:.3g} where the largest is {scale:.3g}; tolerated are "
        f"{RELATIVE_TOLERANCE:g} of it, or {ABSOLUTE_TOLERANCE:g}",
    )


def _ulps(a: NDArray[Any], apart: NDArray[Any], scale: float, dtype: DType) -> int:
    numpy_type = _LAST_PLACES.get(dtype)
    notable = np.abs(a) > scale * 1e-3
    if numpy_type is None or not notable.any():
        return 0
    return int((apart[notable] / np.spacing(np.abs(a[notable]).astype(numpy_type))).max())


_LAST_PLACES: dict[DType, type[np.floating[Any]]] = {
    DType.FLOAT: np.float32,
    DType.FLOAT16: np.float16,
    DType.DOUBLE: np.float64,
}
