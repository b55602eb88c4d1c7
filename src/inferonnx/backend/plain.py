"""Plain onnxruntime through its Python package, with its defaults: the other side of each case.

Nothing here is shared with the engine, so that an error there can't hide in both.
The package has no arrays for element types that numpy lacks (bfloat16, float8, four
bits); such values go in and come out as OrtValues.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from inferonnx.model.onnxruntime_door import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG_FATAL = 4

# What onnxruntime calls the types that numpy lacks, "tensor(float8e4m3fn)" for one.
_FOREIGN = ("bfloat16", "float8", "float4", "int4", "int2")


def run_plain(model: bytes, data_sets: Sequence[list[Any]]) -> list[list[Any]]:
    """Return the outputs of a model for each list of inputs.

    onnxruntime's own exceptions pass through.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_FATAL  # what matters arrives as an exception
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()
    types = [value.type for value in (*given, *session.get_outputs())]
    foreign = any(name in text for text in types for name in _FOREIGN)
    results = []
    for inputs in data_sets:
        feeds = {value.name: array for value, array in zip(given, inputs, strict=True)}
        if foreign:
            values = {name: _load(array) for name, array in feeds.items()}
            results.append([_dump(v) for v in session.run_with_ort_values(None, values)])
        else:
            results.append(session.run(None, feeds))
    return results


def _load(array: Any) -> Any:
    """Return an array as OrtValue."""
    ort_value = onnxruntime().OrtValue
    number = helper.np_dtype_to_tensor_dtype(array.dtype)
    if not _is_foreign(number):
        return ort_value.ortvalue_from_numpy(np.asarray(array, order="C"))
    packed = np.frombuffer(numpy_helper.from_array(array).raw_data, np.uint8)
    if array.dtype.itemsize == 2:
        carrier = packed.view(np.uint16).reshape(array.shape)
    else:
        # The call wants the tensor's shape; of elements smaller than a byte it reads
        # the first bytes, where they are packed.
        carrier = np.zeros(array.shape, np.uint8)
        carrier.reshape(-1)[: packed.size] = packed
    return ort_value.ortvalue_from_numpy_with_onnx_type(carrier, number)


def _dump(value: Any) -> Any:
    """Return an OrtValue as array."""
    number, shape = value.element_type(), value.shape()
    if not _is_foreign(number):
        return value.numpy()
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return numpy_helper.to_array(TensorProto(data_type=number, dims=shape, raw_data=content))


def _is_foreign(number: int) -> bool:
    name = TensorProto.DataType.Name(number).lower()
    return any(text in name for text in _FOREIGN)
