"""Values on the owner's side: OrtValues over weights, and what values weigh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.model.onnxruntime_door import onnxruntime
from inferonnx.tensors import DType

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
    ort_value = onnxruntime().OrtValue
    flat = weight.array()
    if flat.ctypes.data % max(weight.dtype.item_bytes, 1):
        flat = flat.copy()
    if weight.dtype.typestr is not None:
        return ort_value.ortvalue_from_numpy(
            flat.view(np.dtype(weight.dtype.typestr)).reshape(weight.shape)
        )
    if weight.dtype.bits >= 8:
        array = flat.view(_BITS_CARRIERS[weight.dtype.bits]).reshape(weight.shape)
    else:
        # Elements are packed; the call wants an array of the tensor's shape and
        # reads only its first bytes.
        array = np.zeros(weight.shape, np.uint8)
        array.reshape(-1)[: flat.size] = flat
    return ort_value.ortvalue_from_numpy_with_onnx_type(array, int(weight.dtype))


def tensor_value(value: Any) -> Any:
    """Return a numeric array as an OrtValue; anything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OSU":
        # `asarray` keeps rank 0, which `ascontiguousarray` does not.
        return onnxruntime().OrtValue.ortvalue_from_numpy(np.asarray(value, order="C"))
    return value


def fetch(session: Any, names: Sequence[str], feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Run a session and return the named outputs, as OrtValues if all `feeds` are."""
    ort_value = onnxruntime().OrtValue
    if all(isinstance(value, ort_value) for value in feeds.values()):
        results = session.run_with_ort_values(list(names), dict(feeds))
    else:
        results = session.run(list(names), dict(feeds))
    return dict(zip(names, results, strict=True))


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
