"""Values on the owner's side: OrtValues over weights, and what values weigh."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

from inferonnx.errors import TensorError
from inferonnx.model.onnxruntime_door import onnxruntime
from inferonnx.model.weights import pack
from inferonnx.tensors import DType
from inferonnx.tensors.dtype import dtype_of_ml_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferonnx.model.weights import Weight

# A std::string, and the bytes that it holds in itself before it needs the heap.
_STRING_BYTES = 32
_STRING_INSIDE_BYTES = 15
# An entry of a std::map or std::unordered_map beside its value.
_MAP_ENTRY_BYTES = 48

_BITS_CARRIERS = {8: np.uint8, 16: np.uint16}


def weight_value(weight: Weight) -> Any:
    """Return an OrtValue that shares the weight's memory where it is aligned."""
    flat = weight.array()
    if flat.ctypes.data % max(weight.dtype.item_bytes, 1):
        flat = flat.copy()
    return _ort_value(weight.dtype, weight.shape, flat)


def tensor_value(value: Any) -> Any:
    """Return a numeric array (numpy's or ml_dtypes') as OrtValue; anything else as it is."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in "OSU":
        return value
    dtype = foreign_dtype(value)
    value = value.astype(value.dtype.newbyteorder("="), copy=False)
    # `asarray` keeps rank 0, which `ascontiguousarray` does not.
    whole = np.asarray(value, order="C")
    if dtype is None:
        return onnxruntime().OrtValue.ortvalue_from_numpy(whole)
    flat = np.ascontiguousarray(whole).reshape(-1).view(np.uint8)
    return _ort_value(dtype, whole.shape, pack(flat, dtype.bits) if dtype.bits < 8 else flat)


def numpy_value(value: Any) -> Any:
    """Return an OrtValue that is a tensor as array, with ml_dtypes' types where numpy has none."""
    if not isinstance(value, onnxruntime().OrtValue) or not value.is_tensor():
        return value
    dtype = DType(value.element_type())
    if dtype is DType.STRING or dtype.typestr is not None:
        return value.numpy()
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return numpy_helper.to_array(
        TensorProto(data_type=int(dtype), dims=value.shape(), raw_data=content)
    )


def foreign_dtype(array: np.ndarray[Any, Any]) -> DType | None:
    """Return the element type of an array of ml_dtypes; None if numpy itself has it.

    Raises:
        TensorError: ONNX has no such elements.
    """
    if is_numpys(array):
        return None
    dtype = dtype_of_ml_name(array.dtype.name)
    if dtype is None:
        raise TensorError(f"ONNX has no elements of type {array.dtype}")
    return dtype


def is_numpys(array: np.ndarray[Any, Any]) -> bool:
    """Return whether numpy itself has the array's element type, and ml_dtypes has not."""
    return bool(array.dtype.type.__module__ == "numpy")


def _ort_value(
    dtype: DType, shape: tuple[int, ...], flat: np.ndarray[Any, np.dtype[np.uint8]]
) -> Any:
    ort_value = onnxruntime().OrtValue
    if dtype.typestr is not None:
        return ort_value.ortvalue_from_numpy(flat.view(np.dtype(dtype.typestr)).reshape(shape))
    if dtype.bits >= 8:
        array = flat.view(_BITS_CARRIERS[dtype.bits]).reshape(shape)
    else:
        # Elements are packed; the call wants an array of the tensor's shape and
        # reads only its first bytes.
        array = np.zeros(shape, np.uint8)
        array.reshape(-1)[: flat.size] = flat
    return ort_value.ortvalue_from_numpy_with_onnx_type(array, int(dtype))


def fetch(session: Any, names: Sequence[str], feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Run a session and return the named outputs, as OrtValues if all `feeds` are."""
    ort_value = onnxruntime().OrtValue
    if not names:
        return {}  # onnxruntime takes no names for all names
    if all(isinstance(value, ort_value) for value in feeds.values()):
        results = session.run_with_ort_values(list(names), dict(feeds))
    else:
        results = session.run(list(names), dict(feeds))
    return dict(zip(names, results, strict=True))


def run_whole(session: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
    """Run a session of a whole model; return its outputs as Python and numpy have them.

    onnxruntime's exceptions pass through.
    """
    names = [value.name for value in session.get_outputs()]
    kinds = [value.type for value in (*session.get_inputs(), *session.get_outputs())]
    if not any(kind.startswith("tensor(") and _is_foreign(kind) for kind in kinds):
        return dict(zip(names, session.run(names, dict(sample)), strict=True))
    feeds = {name: tensor_value(value) for name, value in sample.items()}
    return {name: numpy_value(value) for name, value in fetch(session, names, feeds).items()}


def _is_foreign(kind: str) -> bool:
    dtype = DType.of_type(kind)
    return dtype is not DType.STRING and dtype.typestr is None


def is_opaque(value: Any) -> bool:
    """Return whether the content of an OrtValue can't be looked at: it is no tensor."""
    return isinstance(value, onnxruntime().OrtValue) and not value.is_tensor()


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return a tensor's shape, None for anything else."""
    if isinstance(value, np.ndarray):
        return tuple(value.shape)
    if isinstance(value, onnxruntime().OrtValue) and value.is_tensor():
        return tuple(value.shape())
    return None


def content_bytes(value: Any) -> int:
    """Return the bytes that a value takes in onnxruntime: tensors, sequences, maps, nothing."""
    if value is None:
        return 0
    if isinstance(value, onnxruntime().OrtValue):
        dtype = DType(value.element_type())
        if dtype is not DType.STRING:
            return dtype.n_bytes(int(np.prod(value.shape(), dtype=np.int64)))
        value = value.numpy()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OSU":
            return sum(content_bytes(text) for text in value.reshape(-1).tolist())
        return value.nbytes
    if isinstance(value, str | bytes):
        n_bytes = len(value.encode() if isinstance(value, str) else value)
        return _STRING_BYTES + (n_bytes + 1 if n_bytes > _STRING_INSIDE_BYTES else 0)
    if isinstance(value, dict):
        return sum(
            _MAP_ENTRY_BYTES + content_bytes(key) + content_bytes(entry)
            for key, entry in value.items()
        )
    if isinstance(value, list | tuple):
        return sum(content_bytes(entry) for entry in value)
    return 8  # a number inside a map
