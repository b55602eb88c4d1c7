"""Tests of the data types and of the binary form."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from tritonclient.utils import (
    deserialize_bytes_tensor,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

from inferonnx.oip.datatypes import (
    CONFIG_TYPES,
    DATATYPES,
    datatype_of,
    encode_raw,
    most_raw_bytes,
    parse_raw,
)
from inferonnx.oip.errors import InvalidRequestError, TooLargeError, UnsupportedError
from inferonnx.oip.requests import Allowance
from inferonnx.tensors import DType, Tensor, as_tensor


def parse(
    dtype: DType, shape: tuple[int, ...], data: bytes | memoryview, allowed: int = 10_000
) -> Tensor:
    return parse_raw(
        dtype, shape, memoryview(data), name="x", model_name="m", allowance=Allowance(allowed)
    )


@pytest.mark.parametrize("name", DATATYPES)
def test_types_are_those_of_tritonclient(name: str) -> None:
    dtype = DATATYPES[name]
    assert datatype_of(dtype) == name
    theirs = triton_to_np_dtype(name)
    assert theirs is not None
    if name not in ("BYTES", "BF16"):
        assert np.dtype(theirs).itemsize == dtype.item_bytes
        assert as_tensor(np.zeros(1, theirs)).dtype is dtype
    if name == "BF16":
        assert as_tensor(np.zeros(1, ml_dtypes.bfloat16)).dtype is dtype


def test_types_in_configurations_are_tritons() -> None:
    from tritonclient.grpc import model_config_pb2

    names = {value.name for value in model_config_pb2.DataType.DESCRIPTOR.values}
    assert {*CONFIG_TYPES.values()} == names - {"TYPE_INVALID"}


@pytest.mark.parametrize(
    "dtype", [DType.COMPLEX64, DType.FLOAT8E4M3FN, DType.INT4, DType.UINT2, DType.FLOAT4E2M1]
)
def test_types_without_a_name_are_refused(dtype: DType) -> None:
    with pytest.raises(UnsupportedError, match="no data type"):
        datatype_of(dtype)
    with pytest.raises(UnsupportedError):
        encode_raw(Tensor(dtype=dtype, shape=(0,)))


def test_the_binary_form_is_the_tensors_own_memory_both_ways() -> None:
    memory = bytearray(np.arange(4, dtype=np.float32).tobytes())
    tensor = parse(DType.FLOAT, (2, 2), memoryview(memory))
    memory[:4] = b"\0\0\x80\x3f"
    assert tensor.tolist() == [[1.0, 1.0], [2.0, 3.0]]
    assert encode_raw(tensor) is tensor.data


def test_strings_are_written_as_tritonclient_writes_them() -> None:
    texts = [b"", b"a", "é".encode(), b"\xff\x00\xfe", b"x" * 300]
    array = np.array(texts, np.object_)
    theirs = serialize_byte_tensor(array).item()
    tensor = parse(DType.STRING, (5,), theirs)
    assert encode_raw(tensor) == theirs
    assert deserialize_bytes_tensor(encode_raw(tensor)).tolist() == texts


@pytest.mark.parametrize("text", ["", "a", "é", "\U0001f600", "\udcff", "x" * 300])
def test_no_binary_form_is_longer_than_the_most(text: str) -> None:
    tensor = Tensor(dtype=DType.STRING, shape=(3,), strings=[text] * 3)
    assert len(encode_raw(tensor)) <= most_raw_bytes([text] * 3)


def test_any_bytes_are_a_string() -> None:
    every = bytes(range(256))
    tensor = parse(DType.STRING, (), len(every).to_bytes(4, "little") + every)
    assert tensor.strings is not None
    assert tensor.strings[0].encode(errors="surrogateescape") == every


WHERE = "for inference input 'x' for model 'm'"
CUT = (
    "expecting 4 bytes but only 3 bytes available. Please make sure the string length "
    "indicator is in one buffer."
)


@pytest.mark.parametrize(
    ("shape", "data", "message"),
    [
        ((1,), b"\1\0\0", f"incomplete string length indicator {WHERE}, {CUT}"),
        ((1,), b"\0\0\0\0\1", f"incomplete string length indicator {WHERE}"),
        ((1,), b"\0\0\0\0" * 2, f"unexpected number of string elements 2 {WHERE}, expecting 1"),
        ((3,), b"\0\0\0\0" * 2, f"expected 3 string elements {WHERE}, got 2"),
        ((0,), b"\0\0\0\0", f"unexpected number of string elements 1 {WHERE}, expecting 0"),
        ((1,), b"\5\0\0\0abcd", f"incomplete string element {WHERE}, expecting 5 bytes but only 4"),
        ((1,), b"\xff\xff\xff\xff", "expecting 4294967295 bytes but only 0"),
        ((2**40,), b"", f"expected {2**40} string elements {WHERE}, got 0"),
    ],
)  # fmt: skip
def test_strings_that_do_not_fit_are_refused(
    shape: tuple[int, ...], data: bytes, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(DType.STRING, shape, data)
    assert caught.value.message.startswith(message) or message in caught.value.message


def test_bytes_that_do_not_fit_the_shape_are_refused() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(DType.FLOAT, (4, 4), bytes(60))
    assert caught.value.message == (
        "input byte size mismatch for input 'x' for model 'm'. Expected 64, got 60"
    )


@pytest.mark.parametrize("place", [0, 1, 65_535, 65_536, 99_999])
def test_truth_values_are_zero_or_one(place: int) -> None:
    data = bytearray(b"\0\1" * 50_000)
    assert parse(DType.BOOL, (100_000,), data).n_elements == 100_000
    data[place] = 2
    with pytest.raises(InvalidRequestError, match="must be 0 or 1 in input 'x'"):
        parse(DType.BOOL, (100_000,), data)


def test_strings_are_counted_before_they_fill_memory() -> None:
    data = b"\2\0\0\0ab" * 100
    assert parse(DType.STRING, (100,), data, allowed=100 * 59).n_elements == 100
    with pytest.raises(TooLargeError, match="more than the 5899 bytes"):
        parse(DType.STRING, (100,), data, allowed=100 * 59 - 1)
