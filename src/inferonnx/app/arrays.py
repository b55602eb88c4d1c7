"""Tensors as numpy arrays, for callers that have numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferonnx.tensors import DType

if TYPE_CHECKING:
    from inferonnx.runtime.ort import Exported


def to_numpy(value: Exported) -> object:
    """Return arrays for tensors (sharing memory), lists and dicts for sequences and maps.

    Strings become object arrays of str; scalars inside maps become Python numbers.
    Types that numpy has only through ml_dtypes (bfloat16, float8) need that package.
    """
    if isinstance(value, list):
        return [to_numpy(part) for part in value]
    if isinstance(value, dict):
        return {key: to_numpy(part).item() for key, part in value.items()}  # type: ignore[attr-defined]  # tensors of rank 0
    if value.strings is not None:
        return np.array(value.strings, dtype=object).reshape(value.shape)
    if value.dtype.typestr is not None:
        return np.asarray(value)
    import ml_dtypes

    names = {DType.FLOAT8E4M3FN: "float8_e4m3fn", DType.FLOAT8E5M2: "float8_e5m2"}
    names |= {DType.FLOAT8E4M3FNUZ: "float8_e4m3fnuz", DType.FLOAT8E5M2FNUZ: "float8_e5m2fnuz"}
    name = names.get(value.dtype, value.dtype.onnx_name)
    return np.frombuffer(value.data, dtype=np.dtype(getattr(ml_dtypes, name))).reshape(value.shape)
