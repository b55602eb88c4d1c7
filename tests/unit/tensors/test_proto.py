"""Tests of TensorProto files against onnx and protobuf, and against broken ones."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from onnx import TensorProto, helper, numpy_helper

from inferonnx.errors import TensorError
from inferonnx.tensors import (
    TEXT_ERRORS,
    DType,
    Tensor,
    as_tensor,
    encode_tensor_pb,
    parse_tensor_pb,
)

SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
PLAIN = [d for d in DType if d is not DType.STRING]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


BYTES = st.binary(max_size=5).map(lambda raw: raw.decode(errors=TEXT_ERRORS))


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Tensors of every type."""
    dtype = draw(st.sampled_from(list(DType)))
    shape = draw(SHAPES)
    n = int(np.prod(shape))
    if dtype is DType.STRING:
        return Tensor(
            dtype=dtype, shape=shape, strings=draw(st.lists(BYTES, min_size=n, max_size=n))
        )
    n_bytes = dtype.n_bytes(n)
    element = st.integers(0, 1 if dtype is DType.BOOL else 255)
    raw = draw(st.lists(element, min_size=n_bytes, max_size=n_bytes))
    if n * dtype.bits % 8:
        raw[-1] %= 1 << n * dtype.bits % 8  # the bits that pad the last byte are zero
    return Tensor(dtype=dtype, shape=shape, data=bytes(raw))


@given(TEXT, tensors())
def test_tensors_go_both_ways(name: str, tensor: Tensor) -> None:
    assert parse_tensor_pb(encode_tensor_pb(name, tensor)) == (name, tensor)


@given(TEXT, tensors())
def test_onnx_reads_what_we_write(name: str, tensor: Tensor) -> None:
    theirs = TensorProto.FromString(encode_tensor_pb(name, tensor))
    assert theirs.name == name
    assert theirs.data_type == tensor.dtype
    assert tuple(theirs.dims) == tensor.shape
    if tensor.strings is not None:
        assert [raw.decode(errors=TEXT_ERRORS) for raw in theirs.string_data] == list(
            tensor.strings
        )
    else:
        assert theirs.raw_data == tensor.data
    onnx.checker.check_tensor(theirs)


@pytest.mark.parametrize("dtype", PLAIN, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0, 4)])
def test_both_write_the_same_bytes(dtype: DType, shape: tuple[int, ...]) -> None:
    their_type = helper.tensor_dtype_to_np_dtype(int(dtype))
    source = (np.arange(int(np.prod(shape))) % 2).astype(np.float32).astype(their_type)
    source = source.reshape(shape)
    theirs = numpy_helper.from_array(source, "name").SerializeToString(deterministic=True)
    assert parse_tensor_pb(theirs) == ("name", as_tensor(source))
    assert encode_tensor_pb("name", as_tensor(source)) == theirs


def test_both_write_the_same_strings() -> None:
    source = np.array(["a", "ß", ""], object)
    theirs = numpy_helper.from_array(source, "x").SerializeToString(deterministic=True)
    assert encode_tensor_pb("x", as_tensor(source)) == theirs


@pytest.mark.parametrize("dtype", PLAIN, ids=lambda d: d.name)
def test_typed_lists_are_read(dtype: DType) -> None:
    """helper.make_tensor puts elements into the list that the standard names for their type."""
    values = [0, 1, 1, 0, 1] if dtype is DType.BOOL else [0, 1, 2, 1, 0]
    theirs = helper.make_tensor("x", int(dtype), [5], values)
    assert not theirs.HasField("raw_data")
    expected = as_tensor(numpy_helper.to_array(theirs))
    assert expected.dtype is dtype
    assert parse_tensor_pb(theirs.SerializeToString()) == ("x", expected)


@given(
    st.sampled_from(
        ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
    ),
    st.data(),
)
def test_typed_lists_hold_every_value(code: str, data: st.DataObject) -> None:
    source = data.draw(st_numpy.arrays(np.dtype(code), st.integers(0, 9)))
    number = helper.np_dtype_to_tensor_dtype(source.dtype)
    proto = TensorProto(data_type=number, dims=source.shape)
    if code == "f2":
        proto.int32_data.extend(source.view("u2").tolist())
    elif code in ("c8", "c16"):
        getattr(proto, "float_data" if code == "c8" else "double_data").extend(
            source.view("f4" if code == "c8" else "f8").tolist()
        )
    else:
        getattr(proto, helper.tensor_dtype_to_field(number)).extend(source.tolist())
    _, tensor = parse_tensor_pb(proto.SerializeToString())
    assert tensor.data == source.tobytes()


def varint(number: int) -> bytes:
    """Return a varint, by the definition of it."""
    groups = []
    while True:
        groups.append(number & 0x7F)
        number >>= 7
        if not number:
            break
    return bytes([g | 0x80 for g in groups[:-1]] + [groups[-1]])


def field(number: int, wire: int, raw: bytes | int) -> bytes:
    """Return one field; bytes with wire type 2 get their length before them."""
    key = varint(number << 3 | wire)
    if isinstance(raw, int):
        return key + varint(raw)
    return key + (varint(len(raw)) + raw if wire == 2 else raw)


def proto(number: int, dims: list[int], *fields: bytes) -> bytes:
    """Return a TensorProto of the type `number`."""
    return b"".join([*(field(1, 0, size) for size in dims), field(2, 0, number), *fields])


F4 = np.float32([1, 2]).tobytes()
NEGATIVE = 2**64 - 1


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (field(1, 2, varint(2)) + field(2, 0, 1) + field(9, 2, F4), [1.0, 2.0]),
        (proto(1, [2], field(4, 5, F4[:4]), field(4, 5, F4[4:])), [1.0, 2.0]),
        (proto(1, [2], field(4, 2, F4[:4]), field(4, 5, F4[4:])), [1.0, 2.0]),
        (proto(11, [1], field(10, 1, bytes(8))), [0.0]),
        (proto(7, [2], field(7, 0, 5), field(7, 2, varint(NEGATIVE))), [5, -1]),
        (proto(6, [1], field(5, 0, NEGATIVE)), [-1]),
        (proto(6, [1], field(5, 0, 2**32 - 1)), [-1]),
        (proto(3, [2], field(5, 2, varint(127) + varint(NEGATIVE))), [127, -1]),
        (proto(1, [2], field(9, 2, b"other"), field(9, 2, F4)), [1.0, 2.0]),
        (proto(1, [0], field(9, 2, b""), field(4, 2, b"")), []),
        (proto(1, [0]), []),
        (proto(8, [0]), []),
        (proto(8, [2], field(6, 2, b""), field(6, 2, b"b")), ["", "b"]),
        (proto(1, [2], field(9, 2, F4), field(12, 2, b"doc"), field(14, 0, 0)), [1.0, 2.0]),
        (proto(1, [2], field(9, 2, F4), field(99, 5, b"1234"), field(98, 1, bytes(8))), [1.0, 2.0]),
        (proto(6, [2], field(1, 0, 0), field(2, 0, 1)), []),
    ],
)
def test_other_encodings_of_the_same_are_read(data: bytes, values: list) -> None:
    theirs = TensorProto.FromString(data)
    _, tensor = parse_tensor_pb(data)
    got = tensor.tolist()
    assert (np.array(got).ravel().tolist() if values == [] else got) == values
    assert numpy_helper.to_array(theirs).ravel().tolist() == values


def test_elements_are_aligned_wherever_they_stand() -> None:
    source = np.arange(4.0)
    for name in ("", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg"):
        _, tensor = parse_tensor_pb(encode_tensor_pb(name, as_tensor(source)))
        assert np.asarray(tensor).ctypes.data % 8 == 0
        assert tensor.tolist() == source.tolist()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "element type 0"),
        (b"\x93NUMPY\x01\x00", "not a TensorProto"),
        (b"\x0a", "does not end"),
        (b"\x12\x80", "does not end"),
        (b"\x80" * 11, "does not end"),
        (b"\x0a\x05abc", "field 1 goes 2 bytes beyond the end"),
        (b"\x0d\x01", "goes 3 bytes beyond"),
        (b"\x0b", "wire type 3"),
        (b"\x0e", "wire type 6"),
        (b"\x00\x01", "field 0"),
        (varint(1 << 32) + b"\1", "can't exist"),
        (proto(99, [1]), "element type 99"),
        (proto(NEGATIVE, [1]), "element type -1"),
        (proto(1, [NEGATIVE], field(9, 2, F4)), "the shape"),
        (proto(1, [1] * 65, field(9, 2, F4)), "the shape"),
        (proto(1, [2**40, 2**40], field(9, 2, F4)), "more elements"),
        (proto(1, [3], field(9, 2, F4)), "takes 12 bytes, but there are 8"),
        (proto(1, [2]), "takes 8 bytes, but there are 0"),
        (proto(8, [2], field(6, 2, b"a")), "takes 2 strings"),
        (proto(8, [1], field(9, 2, b"a")), "holds string in raw_data"),
        (proto(1, [1], field(5, 0, 1)), "holds float in int32_data"),
        (proto(6, [1], field(7, 0, 1)), "holds int32 in int64_data"),
        (proto(1, [2], field(9, 2, F4), field(4, 2, F4)), "twice, as float_data and raw_data"),
        (proto(3, [1], field(5, 0, 128)), "no int8"),
        (proto(2, [1], field(5, 0, 256)), "no uint8"),
        (proto(2, [1], field(5, 0, NEGATIVE)), "no uint8"),
        (proto(10, [1], field(5, 0, 65536)), "no float16"),
        (proto(12, [1], field(11, 0, 2**32)), "no uint32"),
        (proto(27, [1], field(5, 0, 64)), "no float6e2m3"),
        (proto(22, [2], field(5, 0, 256)), "no int4"),
        (proto(9, [1], field(9, 2, b"\2")), "other than 0 and 1"),
        (proto(9, [1], field(5, 0, 2)), "other than 0 and 1"),
        (proto(7, [1], field(7, 2, b"\x80")), "does not end"),
        (proto(7, [1], field(7, 2, b"\x80" * 10)), "does not end"),
        (proto(1, [1], field(3, 2, b"")), "elsewhere"),
        (proto(1, [1], field(13, 2, b"")), "elsewhere"),
        (proto(1, [1], field(14, 0, 1)), "elsewhere"),
        (proto(1, [1], field(9, 0, 1)), "field 9 is of another kind"),
        (proto(1, [1], field(8, 2, b"\xff")), "name is not text"),
    ],
)
def test_broken_files_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(TensorError, match=sentence):
        parse_tensor_pb(data)


def test_names_that_are_no_text_are_refused() -> None:
    with pytest.raises(TensorError, match="can't name"):
        encode_tensor_pb("\ud800", as_tensor(b"1"))


def test_a_model_is_not_taken_for_a_tensor() -> None:
    graph = helper.make_graph([], "g", [], [])
    with pytest.raises(TensorError, match="TensorProto"):
        parse_tensor_pb(helper.make_model(graph).SerializeToString())


def test_a_sequence_is_not_taken_for_a_tensor() -> None:
    sequence = numpy_helper.from_list([np.zeros(2)], name="s")
    with pytest.raises(TensorError, match="TensorProto"):
        parse_tensor_pb(sequence.SerializeToString())


@given(st.binary(max_size=100))
def test_any_bytes_raise_nothing_else(data: bytes) -> None:
    with suppress(TensorError):
        parse_tensor_pb(data)


@given(st.data(), tensors(), TEXT)
def test_damaged_files_raise_nothing_else(data: st.DataObject, tensor: Tensor, name: str) -> None:
    file = bytearray(encode_tensor_pb(name, tensor))
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    with suppress(TensorError):
        parse_tensor_pb(file)


FIELDS = st.builds(
    field,
    st.integers(1, 17),
    st.just(2),
    st.binary(max_size=12),
) | st.builds(field, st.integers(1, 17), st.just(0), st.integers(0, 30))


@given(st.lists(FIELDS, max_size=6).map(b"".join))
def test_what_we_accept_onnx_reads_alike(data: bytes) -> None:
    """Messages of random fields: whatever passes here means the same to onnx."""
    try:
        name, tensor = parse_tensor_pb(data)
    except TensorError:
        return
    theirs = TensorProto.FromString(data)
    assert (theirs.name, tuple(theirs.dims)) == (name, tensor.shape)
    if tensor.strings is None:
        assert as_tensor(numpy_helper.to_array(theirs)).data == tensor.data
    else:
        assert [raw.decode(errors=TEXT_ERRORS) for raw in theirs.string_data] == list(
            tensor.strings
        )
