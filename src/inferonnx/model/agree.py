"""Whether a model taken apart still computes what plain onnxruntime computes.

Packed and unpacked products round differently, so bits may differ; what is looked
for here are wrong answers. Floats must agree to a hundredth of the largest value,
which no rounding reaches and no wrong weight stays under. Everything else must be
equal, or the caller is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.model.values import is_numpys, numpy_value

if TYPE_CHECKING:
    from collections.abc import Mapping

# Largest difference of floats that is not a wrong answer, in parts of the largest value.
TOLERANCE = 1e-2

# The same for one operator, weights as inputs against weights as constants.
NODE_TOLERANCE = 1e-3


def differing(
    got: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float = TOLERANCE
) -> tuple[str, ...]:
    """Return the names of values that are not equal, or close if they are floats."""
    return tuple(name for name in expected if not _agree(got.get(name), expected[name], tolerance))


def is_float(value: Any) -> bool:
    """Return whether a value is an array of floats."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def _agree(got: Any, expected: Any, tolerance: float) -> bool:
    got, expected = numpy_value(got), numpy_value(expected)
    if hasattr(got, "is_tensor"):
        return True  # a sequence or map that stays with onnxruntime
    if got is None or expected is None:
        return got is expected
    if isinstance(expected, np.ndarray):
        if not isinstance(got, np.ndarray) or got.shape != expected.shape:
            return False
        if expected.dtype.name == "bfloat16":
            got, expected = got.astype(np.float32), expected.astype(np.float32)
        if expected.dtype.kind not in "fc":
            return _equal(got, expected)
        return _close(got, expected, tolerance)
    if isinstance(expected, dict):
        return (
            isinstance(got, dict)
            and got.keys() == expected.keys()
            and all(_agree(got[key], expected[key], tolerance) for key in expected)
        )
    if isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(
            _agree(one, other, tolerance) for one, other in zip(got, expected, strict=True)
        )
    if isinstance(expected, float):
        return bool(np.isclose(got, expected, rtol=tolerance, atol=tolerance, equal_nan=True))
    return bool(got == expected)


def _equal(got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> bool:
    if not is_numpys(expected):  # small floats: one step is more than any tolerance
        return got.dtype == expected.dtype and got.tobytes() == expected.tobytes()
    return bool(np.array_equal(got, expected))


def _close(got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tolerance: float) -> bool:
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(got)):
        return False
    if not np.array_equal(got[~finite], expected[~finite], equal_nan=True):
        return False
    if not finite.any():
        return True
    wide = np.result_type(expected.dtype, np.float64)
    one, other = got[finite].astype(wide), expected[finite].astype(wide)
    return bool(np.abs(one - other).max() <= tolerance * max(float(np.abs(other).max()), 1e-6))
