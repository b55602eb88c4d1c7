"""Views of stored tensors: the right bytes, shared where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferonnx.errors import ModelError
from inferonnx.model.weights import Weight, is_plain, pack, tensor_bytes, weight_of
from inferonnx.tensors import DType


def stored(array):
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return Weight(dtype=DType(kind), shape=array.shape, stored=flat, stored_shape=array.shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (128, 129), (300, 257), (1, 400)])
def test_transposes_and_parts_are_numpys(dtype, shape):
    array = (np.random.default_rng(0).standard_normal(shape) * 50).astype(dtype)
    whole = stored(array)
    assert whole.data() == memoryview(array.tobytes())
    assert whole.transpose().data() == memoryview(array.T.tobytes())
    assert whole.transpose().transpose().data() == memoryview(array.tobytes())
    for axis in (0, 1):
        start, stop = shape[axis] // 3, shape[axis] // 3 + 1
        cut = whole.part(start, stop, axis=axis)
        expected = np.take(array, range(start, stop), axis)
        assert cut.shape == expected.shape
        assert cut.n_bytes == expected.nbytes
        assert cut.data() == memoryview(expected.tobytes())
        flipped = whole.transpose().part(start, stop, axis=1 - axis)
        assert flipped.data() == memoryview(expected.T.tobytes())


def test_a_whole_weight_shares_the_stored_memory():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    whole = stored(array)
    assert np.shares_memory(whole.array(), array)


def test_parts_of_parts_and_transposes_of_parts_are_not_made():
    part = stored(np.zeros((4, 4), np.float32)).part(0, 2)
    with pytest.raises(ValueError, match="whole"):
        part.part(0, 1)
    with pytest.raises(ValueError, match="whole"):
        part.transpose()
    with pytest.raises(ValueError, match="inside its shape"):
        stored(np.zeros((4, 4), np.float32)).part(2, 5)


@pytest.mark.parametrize("in_fields", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        TensorProto.FLOAT,
        TensorProto.INT64,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
        TensorProto.BOOL,
        TensorProto.COMPLEX64,
        TensorProto.UINT64,
        TensorProto.INT4,
        TensorProto.UINT2,
    ],
)
def test_bytes_are_those_of_raw_data(kind, in_fields):
    """However a file keeps a tensor, raw or in typed fields, the same bytes come out."""
    values = np.array([1, 0, 1, 1, 0, 1, 1], helper.tensor_dtype_to_np_dtype(kind))
    raw = numpy_helper.from_array(values, "t")
    tensor = helper.make_tensor("t", kind, [7], values.tolist()) if in_fields else raw
    assert bytes(weight_of(tensor, {}).data()) == raw.raw_data
    assert tensor_bytes(tensor) == len(raw.raw_data)


def test_external_bytes_are_shared_and_checked():
    data = np.arange(10, dtype=np.float32)
    tensor = TensorProto(name="t", dims=[4], data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="f")
    tensor.external_data.add(key="offset", value="8")
    weight = weight_of(tensor, {"f": data.tobytes()})
    assert bytes(weight.data()) == data[2:6].tobytes()
    with pytest.raises(ModelError, match="cut off"):
        weight_of(tensor, {"f": data.tobytes()[:20]})


def test_raw_data_of_another_length_is_refused():
    tensor = TensorProto(name="t", dims=[4], data_type=1, raw_data=b"\0" * 15)
    with pytest.raises(ModelError, match="has 15 bytes and needs 16"):
        weight_of(tensor, {})


def test_strings_and_straddling_elements_are_not_plain():
    assert not is_plain(TensorProto(data_type=TensorProto.STRING))
    assert not is_plain(TensorProto(data_type=DType.FLOAT6E2M3))
    assert not is_plain(TensorProto(data_type=0))
    assert is_plain(TensorProto(data_type=TensorProto.FLOAT8E5M2))


@pytest.mark.parametrize(("bits", "packed"), [(4, [0x21, 0x03]), (2, [0b00_11_10_01])])
def test_small_elements_are_packed_lowest_first(bits, packed):
    assert pack(np.array([1, 2, 3], np.uint8), bits).tolist() == packed
