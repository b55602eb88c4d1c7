"""Values in and out of onnxruntime, of every type, and what they weigh."""

from __future__ import annotations

import pickle

import ml_dtypes
import numpy as np
import pytest

from inferonnx.errors import TensorError
from inferonnx.model.values import (
    content_bytes,
    foreign_dtype,
    is_opaque,
    numpy_value,
    shape_of,
    tensor_value,
)
from inferonnx.tensors import DType

FOREIGN = [
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
    ml_dtypes.int4,
    ml_dtypes.uint4,
]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.bool_, np.uint8, *FOREIGN])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (0, 4)], ids=str)
def test_arrays_go_in_and_come_out(dtype, shape):
    if dtype is np.bool_ or dtype not in FOREIGN or np.prod(shape):
        array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        value = tensor_value(array)
        assert shape_of(value) == shape
        back = numpy_value(value)
        assert (back.dtype, back.shape) == (array.dtype, shape)
        assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("array", [np.arange(6.0)[::2], np.arange(6.0).reshape(2, 3).T])
def test_memory_in_another_order_is_put_in_order(array):
    assert np.array_equal(numpy_value(tensor_value(array)), array)


def test_other_byte_orders_and_unpickled_types_are_taken():
    array = np.arange(5, dtype=np.float32)
    assert np.array_equal(numpy_value(tensor_value(array.astype(">f4"))), array)
    unpickled = pickle.loads(pickle.dumps(array))
    assert foreign_dtype(unpickled) is None
    assert np.array_equal(numpy_value(tensor_value(unpickled)), array)


def test_foreign_types_are_told():
    assert foreign_dtype(np.zeros(1, ml_dtypes.bfloat16)) is DType.BFLOAT16
    assert foreign_dtype(np.zeros(1, np.float16)) is None
    with pytest.raises(TensorError, match="float8_e3m4"):
        foreign_dtype(np.zeros(1, ml_dtypes.float8_e3m4))


def test_what_is_no_number_passes_through():
    for value in (np.array(["a"]), np.array(["a"], object), [1], {"a": 1}, None):
        assert tensor_value(value) is value
        assert numpy_value(value) is value
        assert not is_opaque(value)


@pytest.mark.parametrize(
    ("value", "n_bytes"),
    [
        (None, 0),
        (np.zeros((3, 4), np.float32), 48),
        (np.zeros((0, 4), np.float32), 0),
        (np.array(1.0), 8),
        (np.array(["", "0123456789abcde"], object), 64),
        (np.array(["0123456789abcdef"], object), 32 + 17),
        (np.array(["ä" * 10]), 32 + 21),
        ([np.zeros(3, np.int64), np.zeros(1, np.uint8)], 25),
        ({1: 0.5, 2: 0.5}, 2 * (48 + 8 + 8)),
        ({"a": 0.5}, 48 + 32 + 8),
        ([], 0),
    ],
)
def test_bytes_are_those_of_the_content(value, n_bytes):
    assert content_bytes(value) == n_bytes
    assert content_bytes(tensor_value(value)) == n_bytes


def test_four_bit_elements_weigh_half_a_byte():
    assert content_bytes(tensor_value(np.zeros(5, ml_dtypes.int4))) == 3
