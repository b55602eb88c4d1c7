"""Tests of DLPack, with numpy as the library that exports, and with exports that are broken."""

from __future__ import annotations

import ctypes
import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inferonnx.errors import TensorError
from inferonnx.tensors import DType, as_tensor
from inferonnx.tensors.dlpack import _DLTensor, _Versioned


class Export:
    """Nothing but DLPack, as a tensor of another framework; `old` knows no versions."""

    def __init__(self, source: np.ndarray, *, old: bool = False) -> None:
        self.source = source
        self.old = old

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.source.__dlpack_device__()

    def __dlpack__(self, **options: object) -> object:
        if self.old and options:
            raise TypeError("unexpected keyword")
        return self.source.__dlpack__(**options)


NUMERIC = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "?"]
SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
ARRAYS = st.sampled_from(NUMERIC).flatmap(lambda dtype: st_numpy.arrays(dtype, SHAPES))


@given(ARRAYS, st.booleans(), st.data())
def test_arrays_come_through(source: np.ndarray, old: bool, data: st.DataObject) -> None:
    view = source
    if source.ndim:
        indices = st_numpy.basic_indices(source.shape, allow_ellipsis=False)
        view = np.asarray(source[data.draw(indices)])
    tensor = as_tensor(Export(view, old=old))
    assert tensor.shape == view.shape
    assert tensor.dtype.typestr == view.dtype.str
    assert tensor.data == view.tobytes()


def test_read_only_memory_needs_the_versioned_form() -> None:
    source = np.arange(3.0)
    source.flags.writeable = False
    assert as_tensor(Export(source)).tolist() == [0, 1, 2]
    with pytest.raises(TensorError, match="does not work"):
        as_tensor(Export(source, old=True))


@pytest.mark.parametrize("old", [False, True])
def test_memory_is_shared_and_let_go(old: bool) -> None:
    class Watched(np.ndarray):
        pass

    source = np.zeros(4, np.float32).view(Watched)
    gone = weakref.ref(source)
    tensor = as_tensor(Export(source, old=old))
    source[1] = 7
    assert tensor.tolist() == [0, 7, 0, 0]
    part = tensor.data[4:8]
    del source, tensor
    gc.collect()
    assert gone() is not None
    assert part.tobytes() == np.float32(7).tobytes()
    del part
    gc.collect()
    assert gone() is None


def capsule(found: ctypes.Structure, name: bytes) -> object:
    """Return a capsule around a structure of our own; it has no destructor."""
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return make(("PyCapsule_New", ctypes.pythonapi))(ctypes.addressof(found), name, None)


class Handmade:
    """Exports a structure that the test filled in."""

    def __init__(self, *, device: int = 1, major: int = 1, **fields: int) -> None:
        self.device = device
        self.memory = (ctypes.c_uint8 * 16)(*range(16))
        self.shape = (ctypes.c_int64 * 1)(3)
        self.name = b"dltensor_versioned"
        self.found = _Versioned(major=major)
        self.found.tensor = _DLTensor(
            data=ctypes.addressof(self.memory),
            device_type=device,
            ndim=1,
            code=1,
            bits=8,
            lanes=1,
            shape=ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64)),
            byte_offset=2,
        )
        for name, value in fields.items():
            setattr(self.found.tensor, name, value)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self.device, 0)

    def __dlpack__(self, **_options: object) -> object:
        return capsule(self.found, self.name)


def test_offset_and_missing_strides_are_understood() -> None:
    assert as_tensor(Handmade()).tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("code", "bits", "dtype"),
    [
        (4, 16, DType.BFLOAT16),
        (10, 8, DType.FLOAT8E4M3FN),
        (11, 8, DType.FLOAT8E4M3FNUZ),
        (12, 8, DType.FLOAT8E5M2),
        (13, 8, DType.FLOAT8E5M2FNUZ),
        (14, 8, DType.FLOAT8E8M0),
    ],
)
def test_types_that_numpy_lacks_are_known(code: int, bits: int, dtype: DType) -> None:
    tensor = as_tensor(Handmade(code=code, bits=bits))
    assert tensor.dtype is dtype
    assert tensor.data == bytes(range(2, 2 + 3 * bits // 8))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"device": 2}, "not on the CPU"),
        ({"major": 2}, "version 2"),
        ({"ndim": -1}, "rank -1"),
        ({"ndim": 65}, "rank 65"),
        ({"lanes": 2}, "no ONNX type"),
        ({"code": 3}, "no ONNX type"),
        ({"code": 4, "bits": 32}, "no ONNX type"),
        ({"code": 7}, "no ONNX type"),
        ({"bits": 4}, "no ONNX type"),
        ({"code": 2, "bits": 128}, "no ONNX type"),
    ],
)
def test_what_can_not_be_taken_is_refused(fields: dict[str, int], sentence: str) -> None:
    with pytest.raises(TensorError, match=sentence):
        as_tensor(Handmade(**fields))


def test_a_used_capsule_is_refused() -> None:
    source = Handmade()
    source.name = b"used_dltensor_versioned"
    with pytest.raises(TensorError, match="still be taken"):
        as_tensor(source)


def test_negative_sizes_are_refused() -> None:
    source = Handmade()
    source.shape[0] = -3
    with pytest.raises(TensorError):
        as_tensor(source)


def test_misaligned_memory_is_moved() -> None:
    tensor = as_tensor(Handmade(code=1, bits=32, byte_offset=1))
    assert tensor.data == bytes(range(1, 13))
    assert np.asarray(tensor).ctypes.data % 4 == 0


@pytest.mark.parametrize("where", ["__dlpack__", "__dlpack_device__"])
def test_a_failing_producer_is_named(where: str) -> None:
    class Failing(Export):
        pass

    def fail(*_: object, **__: object) -> object:
        raise RuntimeError("requires grad")

    setattr(Failing, where, fail)
    with pytest.raises(TensorError, match="does not work"):
        as_tensor(Failing(np.zeros(1)))
