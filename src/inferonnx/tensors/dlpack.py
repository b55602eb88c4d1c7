"""Take a tensor from any library that speaks DLPack (`__dlpack__`), without a copy.

The capsule is left unconsumed on purpose: its own destructor then frees the
producer's memory, as the protocol says for capsules that nobody took. We hold
the capsule as long as a view of the memory lives, and need no destructor of ours.

Layout of the structures: dlpack.h, version 1.0, and the older one without version.
"""

from __future__ import annotations

import ctypes

from inferonnx.errors import TensorError
from inferonnx.tensors.dtype import DType, dtype_of_kind
from inferonnx.tensors.layout import c_strides, gather, is_c_order
from inferonnx.tensors.memory import view_strided
from inferonnx.tensors.tensor import MAX_RANK, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CPU = 1

_KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}
_NARROW = {
    10: DType.FLOAT8E4M3FN,
    11: DType.FLOAT8E4M3FNUZ,
    12: DType.FLOAT8E5M2,
    13: DType.FLOAT8E5M2FNUZ,
    14: DType.FLOAT8E8M0,
}
_BFLOAT = 4


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements; null means C order
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    )


# Prototypes of our own: those on `ctypes.pythonapi` are shared by the whole process.
_IS_VALID = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_GET_POINTER = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def from_dlpack(obj: Any) -> Tensor:
    """Return the tensor that `obj` exports; C order is shared, everything else copied.

    Raises:
        TensorError: It is not on the CPU, does not export, or has a type ONNX lacks.
    """
    try:
        device = int(obj.__dlpack_device__()[0])
    except Exception as error:  # the producer's code: anything may come
        raise TensorError("the object's DLPack export does not work") from error
    if device != _CPU:
        raise TensorError("the tensor is not on the CPU", hint="Copy it to the CPU first.")
    capsule = _capsule(obj)
    found = _tensor_of(capsule)
    if not 0 <= found.ndim <= MAX_RANK:
        raise TensorError(f"a tensor of rank {found.ndim} is not supported")
    dtype = _dtype(found.code, found.bits, found.lanes)
    item = dtype.item_bytes
    shape = tuple(found.shape[: found.ndim]) if found.ndim else ()
    strides = c_strides(shape, item)
    if found.ndim and found.strides:
        strides = tuple(n * item for n in found.strides[: found.ndim])
    address = (found.data or 0) + found.byte_offset
    view, offset = view_strided(address, shape, strides, item, capsule)
    if is_c_order(shape, strides, item) and address % item == 0:
        return Tensor(dtype=dtype, shape=shape, data=view)
    data = gather(view, offset=offset, shape=shape, strides=strides, item=item)
    return Tensor(dtype=dtype, shape=shape, data=data)


def _capsule(obj: Any) -> object:
    """Ask for the versioned form, which alone may export read-only memory, then for the old."""
    try:
        try:
            return obj.__dlpack__(max_version=(1, 0))
        except TypeError:
            return obj.__dlpack__()
    except Exception as error:
        raise TensorError("the object's DLPack export does not work") from error


def _tensor_of(capsule: object) -> _DLTensor:
    if _IS_VALID(capsule, b"dltensor_versioned"):
        versioned = _Versioned.from_address(_GET_POINTER(capsule, b"dltensor_versioned"))
        if versioned.major != 1:
            raise TensorError(f"DLPack version {versioned.major} is not known")
        tensor: _DLTensor = versioned.tensor
        return tensor
    if _IS_VALID(capsule, b"dltensor"):
        return _DLTensor.from_address(_GET_POINTER(capsule, b"dltensor"))
    raise TensorError("the object's DLPack export is not a capsule that can still be taken")


def _dtype(code: int, bits: int, lanes: int) -> DType:
    dtype = None
    if lanes == 1 and code in _KINDS and bits % 8 == 0:
        dtype = dtype_of_kind(_KINDS[code], bits // 8)
    elif lanes == 1 and code == _BFLOAT and bits == 16:
        dtype = DType.BFLOAT16
    elif lanes == 1 and bits == 8:
        dtype = _NARROW.get(code)
    if dtype is None:
        raise TensorError(f"DLPack type {code} with {bits} bits and {lanes} lanes has no ONNX type")
    return dtype
