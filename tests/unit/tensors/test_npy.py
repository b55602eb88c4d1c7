"""Tests of .npy and .npz files against numpy, which wrote the format, and against broken ones."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inferonnx.errors import TensorError
from inferonnx.tensors import (
    DType,
    Tensor,
    as_tensor,
    encode_npy,
    encode_npz,
    parse_npy,
    parse_npz,
)
from inferonnx.tensors.header import MAX_HEADER_BYTES

NUMERIC = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "c8", "c16", "?"]
SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
TYPES = st.tuples(st.sampled_from("<>"), st.sampled_from(NUMERIC)).map("".join)
NUMBERS = TYPES.flatmap(lambda dtype: st_numpy.arrays(np.dtype(dtype), SHAPES))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
TEXTS = st_numpy.arrays(
    np.dtype("U4"), SHAPES, elements=TEXT.filter(lambda t: not t.endswith("\0"))
)


def saved(source: np.ndarray, **options: object) -> bytes:
    """Return what numpy.save writes."""
    file = io.BytesIO()
    np.save(file, source, **options)
    return file.getvalue()


def loaded(data: bytes) -> np.ndarray:
    """Return what numpy.load reads."""
    return np.load(io.BytesIO(data), allow_pickle=False)


@given(NUMBERS | TEXTS, st.booleans())
def test_reads_what_numpy_writes(source: np.ndarray, fortran: bool) -> None:
    array = np.asarray(source, order="F" if fortran else "C")
    tensor = parse_npy(saved(array))
    assert tensor.shape == array.shape
    native = array.astype(array.dtype.newbyteorder("<"), order="C")
    if tensor.strings is not None:
        assert tensor.tolist() == array.tolist()
    else:
        assert tensor.dtype.typestr == native.dtype.str
        assert tensor.data == native.tobytes()


@given(NUMBERS)
def test_writes_the_bytes_that_numpy_writes(source: np.ndarray) -> None:
    native = source.astype(source.dtype.newbyteorder("<"))
    assert encode_npy(as_tensor(native)) == saved(native)
    assert parse_npy(encode_npy(as_tensor(native))) == as_tensor(native)


@given(TEXTS)
def test_strings_go_both_ways(source: np.ndarray) -> None:
    tensor = as_tensor(source)
    written = encode_npy(tensor)
    assert parse_npy(written) == tensor
    np.testing.assert_array_equal(loaded(written), source)


def test_byte_strings_are_text() -> None:
    tensor = parse_npy(saved(np.array([b"a", "ß".encode()])))
    assert tensor.strings == ("a", "ß")


def test_big_endian_strings_are_read() -> None:
    assert parse_npy(saved(np.array(["a", "日本"], ">U2"))).strings == ("a", "日本")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_versions_are_read(version: tuple[int, int]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.arange(3), version=version)
    assert parse_npy(file.getvalue()).tolist() == [0, 1, 2]


def test_elements_are_a_view_of_the_file() -> None:
    data = bytearray(saved(np.zeros(4, np.uint8)))
    tensor = parse_npy(data)
    data[-1] = 7
    assert tensor.tolist() == [0, 0, 0, 7]


def test_fortran_order_of_one_row_is_c_order() -> None:
    header = "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 3)}"
    assert parse_npy(with_header(header, b"\1\2\3")).tolist() == [[1, 2, 3]]


def with_header(text: str, body: bytes = b"") -> bytes:
    """Return an .npy file with a header of our own."""
    raw = text.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + body


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"


@pytest.mark.parametrize(
    "header",
    [
        GOOD,
        GOOD + "   \n",
        "{'shape':(1,),'descr':'<f4','fortran_order':False}",
        '{"descr": "<f4", "fortran_order": True, "shape": (1L,)}',
        "{'descr': '=f4', 'fortran_order': False, 'shape': ( 1 , )}",
    ],
)
def test_headers_of_other_writers_are_read(header: str) -> None:
    assert parse_npy(with_header(header, bytes(4))).tolist() == [0.0]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not an npy file"),
        (b"PK\x03\x04", "not an npy file"),
        (b"\x93NUMPY", "format version"),
        (b"\x93NUMPY\x04\x00", "format version"),
        (b"\x93NUMPY\x01\x00\x10\x00{", "ends within its header"),
        (b"\x93NUMPY\x01\x00\x01", "ends within its header"),
        (with_header(" " * (MAX_HEADER_BYTES + 1)), "longer than"),
        (b"\x93NUMPY\x03\x00\x01\x00\x00\x00\xff", "not text"),
        (with_header(""), "'{' is missing"),
        (with_header("{}"), "lacks one of"),
        (with_header(GOOD + "x"), "something follows"),
        (with_header(GOOD.replace("descr", "other")), "key 'other'"),
        (with_header(GOOD[:-1] + "'descr': '<f4'}"), "key 'descr'"),
        (with_header(GOOD[:-3]), "'}' is missing"),
        (with_header("{'descr"), "does not end"),
        (with_header("{descr"), "a string is missing"),
        (with_header("{'descr' 1"), "':' is missing"),
        (with_header(GOOD.replace("False", "0")), "a string is missing"),
        (with_header(GOOD.replace("False", "'False'")), "lacks one of"),
        (with_header(GOOD.replace("1,", "-1,")), "whole numbers"),
        (with_header(GOOD.replace("1,", "1.5,")), "'\\)' is missing"),
        (with_header(GOOD.replace("1,", "1" * 20)), "whole numbers"),
        (with_header(GOOD.replace("1,", "9" * 19)), "takes"),
        (with_header(GOOD.replace("(1,)", "(" + "1," * 65 + ")"), bytes(4)), "rank 65"),
        (with_header(GOOD.replace("'<f4'", "[('a', '<f4')]")), "fields"),
        (with_header(GOOD.replace("<f4", "f4")), "type 'f4' is not known"),
        (with_header(GOOD.replace("<f4", "<f")), "type '<f' is not known"),
        (with_header(GOOD.replace("<f4", "<f²")), "type '<f²' is not known"),
        (with_header(GOOD.replace("<f4", "<f" + "9" * 99)), "is not known"),
        (with_header(GOOD.replace("<f4", "<f16")), "no ONNX type"),
        (with_header(GOOD.replace("<f4", "<M8[ns]")), "is not known"),
        (with_header(GOOD, bytes(3)), "takes 4 bytes of elements, but 3 follow"),
        (with_header(GOOD, bytes(5)), "takes 4 bytes of elements, but 5 follow"),
        (with_header(GOOD.replace("<f4", "|b1"), b"\2"), "other than 0 and 1"),
        (with_header(GOOD.replace("<f4", "<U1"), b"\0\0\xff\xff"), "not text"),
        (with_header(GOOD.replace("<f4", "|S1"), b"\xff"), "not text"),
        (with_header(GOOD.replace("<f4", "|S0").replace("1,", "9" * 18 + ",")), "too many"),
    ],
)
def test_broken_files_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(TensorError, match=sentence):
        parse_npy(data)


def test_pickles_are_never_read() -> None:
    with pytest.raises(TensorError, match="pickled"):
        parse_npy(saved(np.array([{}], object), allow_pickle=True))


def test_types_that_npy_forgets_are_refused() -> None:
    source = np.zeros(2, ml_dtypes.bfloat16)
    with pytest.raises(TensorError, match="no ONNX type") as caught:
        parse_npy(saved(source))
    assert ".pb" in caught.value.hint
    with pytest.raises(TensorError, match="can't hold bfloat16"):
        encode_npy(as_tensor(source))


def test_strings_that_npy_shortens_are_refused() -> None:
    with pytest.raises(TensorError, match="ends in NUL"):
        encode_npy(as_tensor(["a\0"]))
    assert parse_npy(encode_npy(as_tensor(["\0a"]))).strings == ("\0a",)


def test_strings_that_are_no_text_are_refused() -> None:
    with pytest.raises(TensorError, match="bytes that are no text"):
        encode_npy(as_tensor(np.array(b"\xff", object)))


@given(st.data(), NUMBERS | TEXTS)
def test_damaged_files_raise_nothing_else(data: st.DataObject, source: np.ndarray) -> None:
    file = bytearray(saved(source))
    for _ in range(data.draw(st.integers(1, 3))):
        file[data.draw(st.integers(6, len(file) - 1))] = data.draw(st.integers(0, 255))
    del file[data.draw(st.integers(0, len(file))) :]
    try:
        tensor = parse_npy(file)
    except TensorError:
        return
    assert tensor.dtype is DType.STRING or len(tensor.data) <= len(file)


@given(st.text(alphabet="{}()[]'\",: 0123456789LTrueFalsdchpifon_<|", max_size=80))
def test_any_header_raises_nothing_else(text: str) -> None:
    with suppress(TensorError):
        parse_npy(with_header(text))


@given(st.dictionaries(TEXT.filter(lambda t: t and "\0" not in t), NUMBERS, max_size=4))
def test_npz_goes_both_ways(arrays: dict[str, np.ndarray]) -> None:
    tensors = {name: as_tensor(array) for name, array in arrays.items()}
    data = encode_npz(tensors)
    assert parse_npz(data) == tensors
    assert list(parse_npz(data)) == list(tensors)
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        assert theirs.testzip() is None
        assert theirs.namelist() == [f"{name}.npy" for name in tensors]
        for name, tensor in tensors.items():
            assert loaded(theirs.read(f"{name}.npy")).tobytes() == tensor.data


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_reads_what_numpy_writes(save: object) -> None:
    arrays = {"a": np.arange(1000.0), "ü/b.c": np.array(["x"]), "empty": np.zeros((0, 2))}
    file = io.BytesIO()
    save(file, **arrays)
    got = parse_npz(file.getvalue())
    assert {name: tensor.tolist() for name, tensor in got.items()} == {
        name: array.tolist() for name, array in arrays.items()
    }


def test_numpy_reads_what_npz_writes() -> None:
    with np.load(io.BytesIO(encode_npz({"x": as_tensor(np.arange(3))}))) as theirs:
        assert theirs["x"].tolist() == [0, 1, 2]


def test_npz_of_equal_tensors_are_equal_bytes() -> None:
    assert encode_npz({"x": as_tensor(b"1")}) == encode_npz({"x": as_tensor(b"1")})


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a ZIP file that Python's own module wrote."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        for name, body in members:
            target.writestr(name, body)
    return file.getvalue()


ONE = saved(np.arange(3, dtype=np.uint8))


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return `data` with the one `old` replaced."""
    assert data.count(old) == 1
    return data.replace(old, new)


def patched(data: bytes, mark: bytes, offset: int, raw: bytes) -> bytes:
    """Return `data` with `raw` written `offset` bytes after `mark`."""
    at = data.rindex(mark) + offset
    return data[:at] + raw + data[at + len(raw) :]


GOOD_ZIP = zipped(("x.npy", ONE))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "end of a ZIP file is missing"),
        (ONE, "end of a ZIP file is missing"),
        (GOOD_ZIP[:-1], "end of a ZIP file is missing"),
        (GOOD_ZIP + b"x", "last record is malformed"),
        (b"x" + GOOD_ZIP, "not where it should be"),
        (zipped(("x.txt", ONE)), "'x.txt', which is not an .npy file"),
        (zipped(("x.npy", b"hello")), "tensor 'x' in the npz file: the file is not an npy"),
        (zipped(("x.npy", ONE), method=zipfile.ZIP_BZIP2), "packed in a way"),
        (patched(GOOD_ZIP, b"PK\1\2", 8, b"\1"), "encrypted"),
        (patched(GOOD_ZIP, b"PK\1\2", 16, b"1234"), "damaged"),
        (patched(GOOD_ZIP, b"PK\1\2", 24, b"\x03"), "damaged"),
        (patched(GOOD_ZIP, b"PK\1\2", 20, b"\xff\xff\xff\x7f"), "does not describe"),
        (patched(GOOD_ZIP, b"PK\1\2", 42, b"\1"), "not where the directory says"),
        (patched(GOOD_ZIP, b"PK\1\2", 42, b"\xff\xff\xff\xff"), "not where the directory says"),
        (patched(GOOD_ZIP, b"PK\3\4", 28, b"\xff\x00"), "cut short"),
        (patched(GOOD_ZIP, b"PK\1\2", 28, b"\xff"), "malformed"),
        (patched(GOOD_ZIP, b"PK\1\2", 0, b"QQ"), "malformed"),
        (patched(GOOD_ZIP, b"PK\5\6", 10, b"\2"), "malformed"),
        (patched(GOOD_ZIP, b"PK\5\6", 8, b"\2\0\2\0"), "cut short"),
        (patched(GOOD_ZIP, b"PK\5\6", 8, b"\0\0\0\0"), "does not describe"),
        (patched(GOOD_ZIP, b"PK\5\6", 8, b"\xff\xff\xff\xff"), "too long"),
        (patched(zipped(("ü.npy", ONE)), b"PK\1\2", 46, b"\xff"), "name is not text"),
    ],
)
def test_broken_npz_files_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(TensorError, match=sentence):
        parse_npz(data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_npz_with_one_name_twice_is_refused() -> None:
    with pytest.raises(TensorError, match="'x' twice"):
        parse_npz(zipped(("x.npy", ONE), ("x.npy", ONE)))


def test_npz_with_a_name_in_an_old_code_page_is_read() -> None:
    data = GOOD_ZIP.replace(b"x.npy", b"\x81.npy")
    assert list(parse_npz(data)) == ["ü"]


def test_npz_that_unpacks_to_more_than_it_says_is_refused() -> None:
    big = saved(np.zeros(100_000, np.uint8))
    data = zipped(("x.npy", big), method=zipfile.ZIP_DEFLATED)
    assert parse_npz(data)["x"].shape == (100_000,)
    size = len(big).to_bytes(4, "little")
    with pytest.raises(TensorError, match="damaged"):
        parse_npz(patched(data, b"PK\1\2", 24, (len(big) - 1).to_bytes(4, "little")))
    with pytest.raises(TensorError, match="can't unpack to what it claims"):
        parse_npz(patched(data, b"PK\1\2", 24, b"\xff\xff\xff\xff"))
    broken = bytearray(data)
    broken[data.index(b"x.npy") + 5] ^= 0xFF
    assert size in data
    with pytest.raises(TensorError, match="damaged"):
        parse_npz(bytes(broken))


def test_npz_members_that_overlap_are_refused() -> None:
    """Forty entries for one body: each is fine, together they claim more than the file holds."""
    end = GOOD_ZIP.index(b"PK\5\6")
    start = GOOD_ZIP.index(b"PK\1\2")
    entries = b"".join(
        changed(GOOD_ZIP[start:end], b"x.npy", f"{i:c}.npy".encode()) for i in range(65, 105)
    )
    tail = bytearray(GOOD_ZIP[end:])
    tail[8:12] = (40).to_bytes(2, "little") * 2
    tail[12:16] = len(entries).to_bytes(4, "little")
    with pytest.raises(TensorError, match="does not describe the file"):
        parse_npz(GOOD_ZIP[:start] + entries + bytes(tail))


def test_npz_of_more_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"x": as_tensor(bytes(5000)), "y": as_tensor(bytes(5000))}
    data = encode_npz(two)
    monkeypatch.setattr("inferonnx.tensors.npz.MAX_TOTAL_BYTES", 10_000)
    with pytest.raises(TensorError, match="unpacks to more than 10000 bytes"):
        parse_npz(data)
    with pytest.raises(TensorError, match="too large for one npz file"):
        encode_npz(two)
    assert parse_npz(encode_npz({"x": two["x"]})) == {"x": two["x"]}


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 65532])
def test_names_that_zip_can_not_hold_are_refused(name: str) -> None:
    with pytest.raises(TensorError, match="can't name a tensor"):
        encode_npz({name: as_tensor(b"1")})


def test_npz_holds_many_tensors_but_not_any_number() -> None:
    one = as_tensor(b"1")
    assert len(parse_npz(encode_npz({str(i): one for i in range(4096)}))) == 4096
    with pytest.raises(TensorError, match="up to 4096"):
        encode_npz({str(i): one for i in range(4097)})


@given(st.data())
def test_damaged_npz_files_raise_nothing_else(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    file = bytearray(zipped(("x.npy", ONE), ("y.npy", ONE), method=method))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    with suppress(TensorError):
        parse_npz(file)


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_else(data: bytes) -> None:
    for parse in (parse_npy, parse_npz):
        for raw in (data, b"\x93NUMPY\x01\x00" + data, data + b"PK\5\6" + bytes(18)):
            with suppress(TensorError):
                parse(raw)


def test_a_scalar_tensor_of_no_elements_and_empty_strings() -> None:
    for tensor in (
        Tensor(dtype=DType.FLOAT, shape=(2, 0)),
        Tensor(dtype=DType.STRING, shape=(0,), strings=()),
        Tensor(dtype=DType.STRING, shape=(), strings=("",)),
    ):
        assert parse_npy(encode_npy(tensor)) == tensor
        assert parse_npz(encode_npz({"x": tensor})) == {"x": tensor}
