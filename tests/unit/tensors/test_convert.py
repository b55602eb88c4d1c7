"""Tests of what callers hand in: numpy arrays, buffers, strings, and what is neither."""

from __future__ import annotations

import array
import ctypes
import gc

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from onnx import helper, numpy_helper

from inferonnx.errors import TensorError
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor, as_tensor, encode_tensor_pb

NUMERIC = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "?"]
EXTENDED = [d for d in DType if d.typestr is None and d is not DType.STRING]


def arrays() -> st.SearchStrategy[np.ndarray]:
    """Arrays of every numeric type, rank, byte order, also empty ones."""
    orders = st.sampled_from(["<", ">"])
    types = st.tuples(orders, st.sampled_from(NUMERIC)).map(lambda t: np.dtype(t[0] + t[1]))
    shapes = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    return types.flatmap(lambda dtype: st_numpy.arrays(dtype, shapes))


@given(arrays(), st.data())
def test_any_numeric_array_comes_through(source: np.ndarray, data: st.DataObject) -> None:
    view = source
    if source.ndim:
        view = source[data.draw(st_numpy.basic_indices(source.shape, allow_ellipsis=False))]
    tensor = as_tensor(view)
    native = np.asarray(view).astype(view.dtype.newbyteorder("<"))
    assert tensor.shape == native.shape
    assert tensor.dtype.typestr == native.dtype.str
    assert tensor.data == native.tobytes()


def test_an_array_in_c_order_is_shared() -> None:
    source = np.zeros((2, 3), np.float32)
    tensor = as_tensor(source)
    source[1, 2] = 5
    assert tensor.tolist()[1][2] == 5


def test_the_memory_outlives_the_array() -> None:
    tensor = as_tensor(np.arange(1000, dtype=np.int64))
    gc.collect()
    assert tensor.tolist() == list(range(1000))


def test_a_read_only_array_is_fine() -> None:
    source = np.arange(3)
    source.flags.writeable = False
    assert as_tensor(source).tolist() == [0, 1, 2]


def test_a_misaligned_array_is_moved() -> None:
    source = np.frombuffer(b"\0" + np.arange(3, dtype="<f4").tobytes(), "<f4", offset=1)
    tensor = as_tensor(source)
    assert np.asarray(tensor).ctypes.data % 4 == 0
    assert tensor.tolist() == [0, 1, 2]


@pytest.mark.parametrize("code", NUMERIC)
def test_a_numpy_scalar_has_rank_0(code: str) -> None:
    scalar = np.dtype(code).type(1)
    tensor = as_tensor(scalar)
    assert tensor.shape == ()
    assert tensor.tolist() == scalar.item()


@pytest.mark.parametrize("dtype", EXTENDED, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (), (0,), (3, 0)])
def test_ml_dtypes_arrays_come_through(dtype: DType, shape: tuple[int, ...]) -> None:
    """onnx's own helper says which bytes are right."""
    their_type = helper.tensor_dtype_to_np_dtype(int(dtype))
    values = np.arange(int(np.prod(shape))) % 3
    source = values.astype(np.float32).astype(their_type).reshape(shape)
    tensor = as_tensor(source)
    assert tensor.dtype is dtype
    assert tensor.shape == shape
    assert tensor.data == numpy_helper.from_array(source).raw_data


def test_ml_dtypes_views_come_through() -> None:
    source = np.arange(24).astype(ml_dtypes.bfloat16).reshape(2, 3, 4)
    for view in (source[:, ::-1], source.T, source[1, :, ::2], source[::-1, 0]):
        assert as_tensor(view).data == view.tobytes()
    assert as_tensor(source).dtype is DType.BFLOAT16
    assert as_tensor(ml_dtypes.bfloat16(1.5)).data == np.array(1.5, ml_dtypes.bfloat16).tobytes()


def test_ml_dtypes_memory_is_shared_and_outlives_the_array() -> None:
    source = np.zeros(1000, ml_dtypes.bfloat16)
    tensor = as_tensor(source)
    source[3] = 1
    view = tensor.data[6:8]
    del source, tensor
    gc.collect()
    assert bytes(view) == np.array(1, ml_dtypes.bfloat16).tobytes()


STRINGS = np.array([["a", "ß"], ["", "日本"]])


@pytest.mark.parametrize(
    "source",
    [
        STRINGS,
        STRINGS.astype(object),
        STRINGS.astype(np.dtypes.StringDType()),
        np.char.encode(STRINGS, "utf-8"),
        STRINGS.tolist(),
        tuple(map(tuple, STRINGS.tolist())),
    ],
    ids=["U", "O", "StringDType", "S", "lists", "tuples"],
)
def test_strings_come_through(source: object) -> None:
    tensor = as_tensor(source)
    assert tensor == Tensor(dtype=DType.STRING, shape=(2, 2), strings=["a", "ß", "", "日本"])


@pytest.mark.parametrize(
    ("source", "shape", "strings"),
    [
        ("word", (), ("word",)),
        (np.str_("word"), (), ("word",)),
        (np.array("word"), (), ("word",)),
        (np.array("word", object), (), ("word",)),
        (["word"], (1,), ("word",)),
        (np.array([], "U3"), (0,), ()),
        (np.array(["a", "b", "c", "d"])[::-2], (2,), ("d", "b")),
        (np.array([["a", "b"], ["c", "d"]]).T, (2, 2), ("a", "c", "b", "d")),
        (np.array(["a"], ">U4"), (1,), ("a",)),
    ],
)
def test_strings_of_other_shapes(source: object, shape: tuple, strings: tuple) -> None:
    assert as_tensor(source) == Tensor(dtype=DType.STRING, shape=shape, strings=strings)


def test_strings_become_plain_str() -> None:
    assert all(type(text) is str for text in as_tensor(STRINGS).strings or ())


@pytest.mark.parametrize(
    ("source", "dtype", "values"),
    [
        (b"abc", DType.UINT8, [97, 98, 99]),
        (bytearray(b"abc"), DType.UINT8, [97, 98, 99]),
        (memoryview(b"abcd")[::2], DType.UINT8, [97, 99]),
        (array.array("f", [1, 2]), DType.FLOAT, [1.0, 2.0]),
        (array.array("l", [1, -2]), DType.INT64, [1, -2]),
        (array.array("Q"), DType.UINT64, []),
        ((ctypes.c_int32 * 2)(3, 4), DType.INT32, [3, 4]),
        (((ctypes.c_double * 2) * 1)((1, 2)), DType.DOUBLE, [[1.0, 2.0]]),
        ((ctypes.c_bool * 2)(True, False), DType.BOOL, [True, False]),
        ((ctypes.c_char * 2)(), DType.UINT8, [0, 0]),
        (memoryview(bytes(12)).cast("i", (3, 1)), DType.INT32, [[0], [0], [0]]),
    ],
)
def test_buffers_come_through(source: object, dtype: DType, values: list) -> None:
    tensor = as_tensor(source)
    assert tensor.dtype is dtype
    assert tensor.tolist() == values


def test_a_tensor_stays_itself() -> None:
    tensor = Tensor(dtype=DType.UINT8, shape=(1,), data=b"a")
    assert as_tensor(tensor) is tensor


class Bare:
    """An object with nothing but an array interface, as PIL's images."""

    def __init__(self, **interface: object) -> None:
        self.__array_interface__ = interface


def test_an_interface_with_bytes_is_read() -> None:
    image = Bare(version=3, shape=(2, 3), typestr="|u1", data=bytes(range(6)))
    assert as_tensor(image).tolist() == [[0, 1, 2], [3, 4, 5]]
    strided = Bare(
        version=3, shape=(2, 2), typestr=">u2", data=bytes(range(16)), strides=(2, 8), offset=1
    )
    expected = np.ndarray((2, 2), ">u2", bytes(range(16)), 1, (2, 8))
    assert as_tensor(strided).tolist() == expected.tolist()
    swapped = Bare(version=3, shape=(1,), typestr=">c8", data=np.array([1 + 2j], ">c8").tobytes())
    assert as_tensor(swapped).tolist() == [1 + 2j]


def test_an_interface_with_an_address_is_read_and_kept() -> None:
    class Holder:
        def __init__(self, source: np.ndarray) -> None:
            self.source = source

        @property
        def __array_interface__(self) -> dict:
            return self.source.__array_interface__

    for view in (np.arange(6.0), np.arange(12.0).reshape(3, 4)[::-1, 1::2], np.arange(0.0)):
        tensor = as_tensor(Holder(view.copy() if view.flags.c_contiguous else view))
        gc.collect()
        assert tensor.tolist() == view.tolist()


def test_bytes_that_are_no_text_come_through() -> None:
    tensor = as_tensor(np.array([b"\xff", b"a\0b"], object))
    assert tensor.strings is not None
    assert [text.encode(errors=TEXT_ERRORS) for text in tensor.strings] == [b"\xff", b"a\0b"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (1, "int is not a tensor"),
        (1.5, "float is not a tensor"),
        (None, "NoneType is not a tensor"),
        ({}, "dict is not a tensor"),
        ([1, 2], "must hold strings"),
        ([], "must hold strings"),
        ([[]], "must hold strings"),
        (["a", ["b"]], "must hold strings"),
        ([["a"], ["b", "c"]], "different lengths"),
        (np.array([1, "a"], object), "must hold strings, not int"),
        (np.zeros(2, "M8[s]"), "no ONNX type"),
        (np.zeros(2, "f4,i4"), "no ONNX type"),
        (np.zeros(2, "V3"), "no ONNX type"),
        (np.zeros(2, np.longdouble), "no ONNX type"),
        (np.zeros(2, np.clongdouble), "no ONNX type"),
        (Bare(), "malformed"),
        (Bare(typestr="<f4"), "malformed"),
        (Bare(typestr="<fx", shape=(1,), data=b"1234"), "no ONNX type"),
        (Bare(typestr="<f4", shape=("x",), data=b"1234"), "malformed"),
        (Bare(typestr=7, shape=(1,), data=b"1234"), "gives no type"),
        (Bare(typestr="<f4", shape=(1,)), "gives no memory"),
        (Bare(typestr="<f4", shape=(2,), data=b"1234"), "outside"),
        (Bare(typestr="<f4", shape=(-2,), data=b"1234"), "no ONNX type"),
        (Bare(typestr="<f4", shape=(2,), data=b"12345678", strides=(8,)), "outside"),
        (Bare(typestr="<f4", shape=(1,), data=b"12345678", offset=-4), "outside"),
        (Bare(typestr="<f4", shape=(2,), data=b"12345678", strides=(-4,)), "outside"),
        (Bare(typestr="<f4", shape=(2,), data=memoryview(bytes(16))[::2]), "gaps"),
        (Bare(typestr="<U1", shape=(2,), data=bytes(8)), "is not a tensor"),
    ],
)
def test_what_is_no_tensor_is_refused(source: object, sentence: str) -> None:
    with pytest.raises(TensorError, match=sentence):
        as_tensor(source)


def test_interfaces_that_fail_are_refused() -> None:
    class Broken:
        @property
        def __array_interface__(self) -> dict:
            raise RuntimeError("on another device")

    class Odd:
        __array_interface__ = "none"

    with pytest.raises(TensorError, match="does not work"):
        as_tensor(Broken())
    with pytest.raises(TensorError, match="not a dict"):
        as_tensor(Odd())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "typestr": st.sampled_from(["<f4", ">u2", "|b1", "<V2", "|O", "<U2", "<f", "", "|S1"]),
            "shape": st.lists(st.integers(-2, 4), max_size=3).map(tuple) | st.none(),
            "strides": st.lists(st.integers(-9, 9), max_size=3).map(tuple) | st.none(),
            "data": st.binary(max_size=64) | st.none(),
            "offset": st.integers(-4, 9),
        },
    )
)
def test_odd_interfaces_raise_nothing_else(interface: dict) -> None:
    try:
        tensor = as_tensor(Bare(**interface))
    except TensorError:
        return
    # What is accepted is what numpy makes of it.
    if tensor.n_elements:
        places = (interface.get("offset", 0), interface.get("strides"))
        expected = np.ndarray(tensor.shape, interface["typestr"], interface["data"], *places)
        assert tensor.tolist() == expected.tolist() or np.isnan(expected).any()


def test_files_say_the_same_of_every_type_as_onnx() -> None:
    for dtype in EXTENDED:
        source = np.arange(3).astype(np.float32).astype(helper.tensor_dtype_to_np_dtype(int(dtype)))
        theirs = onnx.TensorProto.FromString(encode_tensor_pb("x", as_tensor(source)))
        assert numpy_helper.to_array(theirs).dtype == source.dtype
        assert numpy_helper.to_array(theirs).tobytes() == source.tobytes()
