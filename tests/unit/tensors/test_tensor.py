"""Tests of the tensor value and of the table of element types."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest

from inferonnx.errors import TensorError
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor


def test_dtypes_are_those_of_onnx() -> None:
    theirs = {v.name: v.number for v in onnx.TensorProto.DataType.DESCRIPTOR.values}
    del theirs["UNDEFINED"]
    assert {dtype.name: int(dtype) for dtype in DType} == theirs


def test_names_and_sizes_are_those_of_onnxruntime() -> None:
    import onnxruntime

    for dtype in DType:
        if dtype in (DType.STRING, DType.COMPLEX64, DType.COMPLEX128) or dtype >= DType.FLOAT6E2M3:
            continue  # onnxruntime makes no such values outside of a session
        value = onnxruntime.OrtValue.ortvalue_from_shape_and_type([7], int(dtype))
        assert value.data_type() == f"tensor({dtype.onnx_name})"
        assert value.tensor_size_in_bytes() == dtype.n_bytes(7)


@pytest.mark.parametrize(
    ("dtype", "n", "n_bytes"),
    [
        (DType.FLOAT, 3, 12),
        (DType.COMPLEX128, 2, 32),
        (DType.INT4, 0, 0),
        (DType.INT4, 1, 1),
        (DType.INT4, 2, 1),
        (DType.INT4, 3, 2),
        (DType.UINT2, 5, 2),
        (DType.FLOAT6E2M3, 4, 3),
        (DType.FLOAT6E2M3, 5, 4),
        (DType.STRING, 9, 0),
    ],
)
def test_n_bytes_rounds_up_to_whole_bytes(dtype: DType, n: int, n_bytes: int) -> None:
    assert dtype.n_bytes(n) == n_bytes


def test_typestr_is_numpys() -> None:
    for dtype in DType:
        if dtype.typestr is not None:
            assert np.dtype(dtype.typestr).itemsize * 8 == dtype.bits
            assert np.dtype(dtype.typestr).str == dtype.typestr


@pytest.mark.parametrize("dtype", list(DType))
def test_of_type_reads_what_onnx_name_writes(dtype: DType) -> None:
    assert DType.of_type(f"tensor({dtype.onnx_name})") is dtype


@pytest.mark.parametrize(
    "text", ["", "tensor", "tensor()", "tensor(floaty)", "seq(tensor(float))", "tensor(float"]
)
def test_of_type_refuses_other_types(text: str) -> None:
    with pytest.raises(TensorError, match="not the type of a tensor"):
        DType.of_type(text)


def test_data_is_flat_bytes() -> None:
    source = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = Tensor(dtype=DType.FLOAT, shape=(2, 3), data=memoryview(source))
    assert tensor.data.format == "B"
    assert tensor.data.ndim == 1
    assert tensor.data.tobytes() == source.tobytes()
    source[0, 0] = 9  # a view, not a copy
    assert tensor.tolist()[0][0] == 9


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"dtype": DType.FLOAT, "shape": (2,), "data": b"1234"}, "takes 8 bytes, but there are 4"),
        ({"dtype": DType.FLOAT, "shape": (-1,)}, "whole numbers from 0 up"),
        ({"dtype": DType.FLOAT, "shape": (1.0,)}, "whole numbers from 0 up"),
        ({"dtype": DType.FLOAT, "shape": (True,), "data": b"1234"}, "whole numbers from 0 up"),
        ({"dtype": DType.FLOAT, "shape": (1,) * 65, "data": b"1234"}, "rank 65"),
        ({"dtype": DType.FLOAT, "shape": (2**32, 2**32)}, "more elements"),
        ({"dtype": DType.FLOAT, "shape": (0, 2**64)}, "more elements"),
        ({"dtype": DType.FLOAT, "shape": (), "strings": ["a"]}, "can't hold strings"),
        ({"dtype": DType.STRING, "shape": (), "data": b"a"}, "as strings, not as bytes"),
        ({"dtype": DType.STRING, "shape": (2,), "strings": ["a"]}, "takes 2 strings"),
        ({"dtype": DType.STRING, "shape": (1,), "strings": [b"a"]}, "element 0 is not a string"),
        ({"dtype": DType.STRING, "shape": (1,), "strings": ["\ud800"]}, "UTF-8"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict, sentence: str) -> None:
    with pytest.raises(TensorError, match=sentence):
        Tensor(**arguments)


def test_strings_hold_any_bytes() -> None:
    every = bytes(range(256)).decode(errors=TEXT_ERRORS)
    assert Tensor(dtype=DType.STRING, shape=(), strings=[every]).tolist() == every


def test_data_with_gaps_is_refused() -> None:
    with pytest.raises(TensorError, match="without gaps"):
        Tensor(dtype=DType.UINT8, shape=(2,), data=memoryview(b"abcd")[::2])


def test_a_tensor_can_not_be_changed() -> None:
    tensor = Tensor(dtype=DType.UINT8, shape=(1,), data=b"a")
    with pytest.raises(AttributeError):
        tensor.shape = (2,)
    with pytest.raises(AttributeError):
        del tensor.data
    with pytest.raises(TypeError):
        hash(tensor)


def test_equality_is_bit_for_bit() -> None:
    nan = Tensor(dtype=DType.FLOAT, shape=(1,), data=np.float32("nan").tobytes())
    zero = Tensor(dtype=DType.FLOAT, shape=(1,), data=np.float32(0.0).tobytes())
    minus = Tensor(dtype=DType.FLOAT, shape=(1,), data=np.float32(-0.0).tobytes())
    scalar = Tensor(dtype=DType.FLOAT, shape=(), data=np.float32(0.0).tobytes())
    assert nan == Tensor(dtype=DType.FLOAT, shape=(1,), data=np.float32("nan").tobytes())
    assert zero != minus
    assert zero != scalar
    assert zero != "zero"


def test_repr_shows_no_value() -> None:
    tensor = Tensor(dtype=DType.STRING, shape=(1,), strings=["a secret"])
    assert repr(tensor) == "Tensor(string, [1])"


@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3), (2, 0, 3), (0, 3)])
@pytest.mark.parametrize("dtype", [d for d in DType if d.typestr is not None])
def test_numpy_reads_it_without_a_copy(dtype: DType, shape: tuple[int, ...]) -> None:
    source = np.ones(shape, dtype=dtype.typestr)
    tensor = Tensor(dtype=dtype, shape=shape, data=source.tobytes())
    array = np.asarray(tensor)
    assert array.dtype == source.dtype
    assert array.shape == shape
    np.testing.assert_array_equal(array, source)
    assert tensor.tolist() == source.tolist()


def test_numpy_keeps_the_memory_alive() -> None:
    array = np.asarray(Tensor(dtype=DType.INT64, shape=(2,), data=bytes(range(16))))
    assert array.tobytes() == bytes(range(16))


def test_numpy_is_not_offered_what_it_lacks() -> None:
    assert not hasattr(Tensor(dtype=DType.BFLOAT16, shape=(), data=b"12"), "__array_interface__")
    assert not hasattr(Tensor(dtype=DType.STRING, shape=(), strings=["a"]), "__array_interface__")


def test_tolist_of_strings_is_nested() -> None:
    tensor = Tensor(dtype=DType.STRING, shape=(2, 2), strings="abcd")
    assert tensor.tolist() == [["a", "b"], ["c", "d"]]


def test_tolist_refuses_numbers_that_python_lacks() -> None:
    with pytest.raises(TensorError, match="bfloat16"):
        Tensor(dtype=DType.BFLOAT16, shape=(), data=b"12").tolist()


def test_importing_is_cheap() -> None:
    """The enclave pays for every module: nothing heavy may come with the room's door."""
    code = (
        "import sys, inferonnx.errors; before = set(sys.modules); import inferonnx.tensors; "
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.split() == [
        "inferonnx.tensors",
        "inferonnx.tensors.dtype",
        "inferonnx.tensors.layout",
        "inferonnx.tensors.tensor",
    ]


def test_codecs_need_few_modules_and_no_numpy() -> None:
    code = (
        "import sys, inferonnx.tensors as t; [getattr(t, n) for n in t.__all__]; "
        "import inferonnx.tensors.dlpack; "
        "print(*sorted({'numpy', 'onnx', 'pickle', 'zipfile', 'ast', 'json', 'dataclasses'}"
        " & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.split() == []


def test_the_door_knows_its_names() -> None:
    import inferonnx.tensors as door

    assert all(hasattr(door, name) for name in door.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = door.no_such_name
