"""Tensors as numpy arrays, for callers that have numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferonnx.tensors import DType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferonnx.runtime.ort_values import Exported


def to_numpy(value: Exported) -> object:
    """Return arrays for tensors (sharing memory), lists and dicts for sequences and maps.

    Strings become object arrays of str; scalars inside maps become Python numbers.
    Types that numpy has only through ml_dtypes (bfloat16, float8) need that package.
    """
    if value is None:
        return None
    if isinstance(value, list):
        return [to_numpy(part) for part in value]
    if isinstance(value, dict):
        return {key: to_numpy(part).item() for key, part in value.items()}  # type: ignore[attr-defined]  # tensors of rank 0
    if value.strings is not None:
        return np.array(value.strings, dtype=object).reshape(value.shape)
    if value.dtype.typestr is not None:
        return np.asarray(value)
    import ml_dtypes

    numpy_type = np.dtype(getattr(ml_dtypes, _ML_NAMES[value.dtype]))
    data = np.frombuffer(value.data, np.uint8)
    if value.dtype.bits < 8:
        data = _unpacked(data, value.dtype.bits, value.n_elements)
    return data.view(numpy_type).reshape(value.shape)


_ML_NAMES = {
    DType.BFLOAT16: "bfloat16",
    DType.FLOAT8E4M3FN: "float8_e4m3fn",
    DType.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    DType.FLOAT8E5M2: "float8_e5m2",
    DType.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
    DType.UINT4: "uint4",
    DType.INT4: "int4",
    DType.FLOAT4E2M1: "float4_e2m1fn",
    DType.FLOAT8E8M0: "float8_e8m0fnu",
    DType.UINT2: "uint2",
    DType.INT2: "int2",
}


def _unpacked(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """Return one byte an element, in ml_dtypes' form; the first stands in the lowest bits."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((data[:, None] >> shifts) & ((1 << bits) - 1)).astype(np.uint8).ravel()[:count]
