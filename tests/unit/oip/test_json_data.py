"""Tests of tensors as JSON, a slice at a time."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from inferonnx.oip import json_data
from inferonnx.oip.errors import InvalidRequestError, TooLargeError
from inferonnx.oip.json_data import (
    check_text,
    most_text_bytes,
    read_numbers,
    read_strings,
    write_elements,
)
from inferonnx.oip.requests import Allowance
from inferonnx.tensors import DType, Tensor, as_tensor

PLENTY = 1 << 30
FEW = "Failed to parse 'data' field: shape does not match true shape"
MANY = "Unable to parse 'data': Shape does not match true shape of 'data' field"
DEEP = "JSON nesting depth exceeds maximum allowed limit (100)"
INVALID = "failed to parse the request JSON buffer: Invalid value. at 0"


def access(what: str) -> str:
    return f"Unable to parse 'data': attempt to access JSON {what}"


@pytest.fixture(params=[16 << 10, 1, 2, 7])
def slice_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Cut the text at every comma, at every other, ...: it must make no difference."""
    monkeypatch.setattr(json_data, "_SLICE_BYTES", request.param)
    return int(request.param)


def numbers(text: str, dtype: DType, n: int, allowed: int = PLENTY) -> list[Any]:
    view = read_numbers(memoryview(text.encode()), dtype, n, Allowance(allowed))
    found: list[Any] = Tensor(dtype=dtype, shape=(n,), data=view).tolist()
    return found


def strings(text: str, n: int, allowed: int = PLENTY) -> list[str]:
    return read_strings(memoryview(text.encode()), n, Allowance(allowed))


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("[1]", DType.INT8, [1]),
        ("[1,2,3]", DType.INT64, [1, 2, 3]),
        (" [ 1 , 2 ] ".strip(), DType.INT64, [1, 2]),
        ("[[1,2],[3,4]]", DType.INT16, [1, 2, 3, 4]),
        ("[[[1],[2]],[[3],[4]]]", DType.UINT8, [1, 2, 3, 4]),
        ("[1,[2,[3]],[],4]", DType.UINT8, [1, 2, 3, 4]),
        ("[[],[[]],1]", DType.UINT8, [1]),
        ("[[ 1\n,2]\t,\r[3 ]]", DType.UINT16, [1, 2, 3]),
        ("[true,false]", DType.BOOL, [True, False]),
        ("[0.5,-1,1e2,2E-1]", DType.DOUBLE, [0.5, -1, 100, 0.2]),
        ("[Infinity,-Infinity,1e999]", DType.FLOAT, [np.inf, -np.inf, np.inf]),
        ("[1e39]", DType.FLOAT, [np.inf]),
        ("[-128,127]", DType.INT8, [-128, 127]),
        ("[255]", DType.UINT8, [255]),
        ("[18446744073709551615]", DType.UINT64, [2**64 - 1]),
        ("[-9223372036854775808]", DType.INT64, [-(2**63)]),
        ("[18446744073709551615]", DType.DOUBLE, [float(2**64)]),
        ("[" * 99 + "1" + "]" * 99, DType.INT8, [1]),
        ("[1," + "[" * 98 + "2,3" + "]" * 98 + ",4]", DType.INT8, [1, 2, 3, 4]),
        ("[" + "[1]," * 200 + "[[1]]]", DType.INT8, [1] * 201),
    ],
)
@pytest.mark.usefixtures("slice_bytes")
def test_numbers_are_read(text: str, dtype: DType, expected: list[Any]) -> None:
    assert numbers(text, dtype, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "dtype", "n", "message"),
    [
        ("[]", DType.FLOAT, 1, FEW),
        ("[1]", DType.FLOAT, 2, FEW),
        ("[1,2]", DType.FLOAT, 1, MANY),
        ("[[1],[2,3]]", DType.FLOAT, 2, MANY),
        ("[1]", DType.FLOAT, 2**62, FEW),
        ("[1.0]", DType.INT32, 1, access("non-signed-integer as signed-integer")),
        ("[true]", DType.INT32, 1, access("non-signed-integer as signed-integer")),
        ("[NaN]", DType.INT32, 1, access("non-signed-integer as signed-integer")),
        ('["1"]', DType.INT32, 1, access("non-signed-integer as signed-integer")),
        ("[-1]", DType.UINT8, 1, access("non-unsigned-integer as unsigned-integer")),
        ("[-1]", DType.UINT64, 1, access("non-unsigned-integer as unsigned-integer")),
        ("[1]", DType.BOOL, 1, access("non-boolean as boolean")),
        ("[null]", DType.FLOAT, 1, access("non-number as double")),
        ("[true]", DType.FLOAT, 1, access("non-number as double")),
        ('[{"a":1}]', DType.FLOAT, 1, access("non-number as double")),
        ("[256]", DType.UINT8, 1, "out of range for UINT8"),
        ("[-129]", DType.INT8, 1, "out of range for INT8"),
        ("[9223372036854775808]", DType.INT64, 1, "out of range for INT64"),
        ("[18446744073709551616]", DType.UINT64, 1, "out of range for UINT64"),
        (f"[1{'0' * 400}]", DType.FLOAT, 1, "out of range for FP32"),
        ("[" * 100 + "1" + "]" * 100, DType.INT8, 1, DEEP),
        ("[1," + "[" * 99 + "2" + "]" * 99 + "]", DType.INT8, 2, DEEP),
        ("[" + "[1]," * 50 + "[" * 99 + "2" + "]" * 99 + "]", DType.INT8, 51, DEEP),
    ],
)
@pytest.mark.usefixtures("slice_bytes")
def test_numbers_that_do_not_fit_are_refused(text: str, dtype: DType, n: int, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        numbers(text, dtype, n)
    assert message in caught.value.message


MALFORMED = [
    "[1,,2]",
    "[,1]",
    "[1,]",
    "[1, ,2]",
    "[[1,],2]",
    "[[1],,2]",
    "[[,1],2]",
    "[[1,2]3]",
    "[1 2,3]",
    "[01,2]",
    "[+1,2]",
    "[1_0,2]",
    "[1.,2]",
    "[.5,2]",
    "[0x1,2]",
    "[1,2}",
    "[1,nan]",
    "[1,Inf]",
    "[[1},2]",
    "[1,2:3]",
    "[1,\x00]",
    "[1,٣]",
    "[1,\xa02]",
]


@pytest.mark.parametrize("text", MALFORMED)
@pytest.mark.usefixtures("slice_bytes")
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="failed to parse the request JSON buffer"):
        numbers(text, DType.FLOAT, 2)
    with pytest.raises(InvalidRequestError, match="failed to parse the request JSON buffer"):
        check_text(memoryview(text.encode()))


@pytest.mark.parametrize("text", ["[]", "[[],[]]", "[1,[null,true]]", '["a,]",-1e5]'])
@pytest.mark.usefixtures("slice_bytes")
def test_elements_of_an_empty_tensor_only_have_to_be_json(text: str) -> None:
    check_text(memoryview(text.encode()))


def test_objects_are_no_elements_even_there() -> None:
    with pytest.raises(InvalidRequestError, match="object as element"):
        check_text(memoryview(b'[{"a":1}]'))


STRINGS = ["", "a", "a,b", "[", "]]", '"', "\\", '\\"', "{}", "é", "𝕏", "\0\n", "x" * 40]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.usefixtures("slice_bytes")
def test_strings_are_read(ascii_only: bool) -> None:
    text = json.dumps([STRINGS, [STRINGS]], ensure_ascii=ascii_only)
    assert strings(text, 2 * len(STRINGS)) == STRINGS * 2


@pytest.mark.parametrize(
    ("text", "n", "message"),
    [
        ("[1]", 1, access("non-string as string")),
        ("[null]", 1, access("non-string as string")),
        ('["a",{"b":"c"}]', 2, access("non-string as string")),
        ('["a"]', 2, FEW),
        ('["a","b"]', 1, MANY),
        ('["a",]', 1, "Invalid value"),
        ('["a",,"b"]', 2, "Invalid value"),
        ('["a" "b"]', 2, "Invalid value"),
        ('["\n"]', 1, "Invalid value"),
        ('["\\x"]', 1, "Invalid value"),
        ('["\\ud800"]', 1, "Invalid value"),
        ('["\\udc80"]', 1, "Invalid value"),
        ('["\\ud83d","\\ude00"]', 2, "Invalid value"),
        ("[" * 100 + '"a"' + "]" * 100, 1, DEEP),
        (f"[{'1,' * 40_000}1]", 1, access("non-string as string")),
        ('["a"]', 2**62, FEW),
    ],
)
@pytest.mark.usefixtures("slice_bytes")
def test_strings_that_do_not_fit_are_refused(text: str, n: int, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        strings(text, n)
    assert message in caught.value.message


def test_strings_of_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Invalid value"):
        read_strings(memoryview(b'["\xff"]'), 1, Allowance(PLENTY))


def test_memory_is_counted_before_it_is_taken() -> None:
    with pytest.raises(TooLargeError):
        numbers("[1,2,3]", DType.DOUBLE, 3, allowed=23)
    assert numbers("[1,2,3]", DType.DOUBLE, 3, allowed=24) == [1, 2, 3]
    with pytest.raises(TooLargeError):
        strings('["ab","cd"]', 2, allowed=117)
    assert strings('["ab","cd"]', 2, allowed=118) == ["ab", "cd"]


BOMBS = {
    "empty arrays": ("[" + "[]," * 500_000 + "1]", DType.INT8, 1),
    "one deep array": ("[" * 700_000 + "]" * 700_000, DType.INT8, 1),
    "one long number": ("[" + "9" * 1_500_000 + "]", DType.INT8, 1),
    "white space": ("[1" + " " * 1_500_000 + ",2]", DType.INT8, 2),
    "small arrays": ("[" + "[1]," * 400_000 + "1]", DType.INT8, 400_001),
    "floats": ("[" + "0.1," * 400_000 + "1]", DType.FLOAT, 400_001),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_text_takes_much_more_memory_than_its_length(name: str) -> None:
    text, dtype, n = BOMBS[name]
    body = text.encode()
    tracemalloc.start()
    with contextlib.suppress(InvalidRequestError):
        read_numbers(memoryview(body), dtype, n, Allowance(PLENTY))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * len(body)


@pytest.mark.parametrize("n", [0, 1, 2047, 2048, 2049, 5000])
def test_elements_are_written_as_json_writes_them(n: int) -> None:
    source = (np.arange(n) / 7).astype(np.float32)
    text = b"".join(write_elements(as_tensor(source), "y"))
    assert text == json.dumps(source.tolist(), separators=(",", ":"))[1:-1].encode()
    texts = [f'é"{i}' for i in range(n)]
    tensor = Tensor(dtype=DType.STRING, shape=(n,), strings=texts)
    written = b"[" + b"".join(write_elements(tensor, "y")) + b"]"
    assert json.loads(written) == texts
    assert b"\\u" not in written


def test_strings_that_json_can_not_carry_are_refused() -> None:
    tensor = as_tensor(np.array([b"\xff"], object))
    with pytest.raises(InvalidRequestError, match="'y' holds strings that are not UTF-8"):
        list(write_elements(tensor, "y"))


def test_writing_holds_one_slice_at_a_time() -> None:
    tensor = as_tensor(np.random.default_rng(1).standard_normal(200_000).astype(np.float32))
    tracemalloc.start()
    n_bytes = sum(map(len, write_elements(tensor, "y")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_bytes > 3_000_000
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "values",
    [
        np.array([-2.2250738585072014e-308, -np.inf, np.nan]),
        np.array([-1.1754943508222875e-38, 0.1], np.float32),
        np.array([np.iinfo(np.int64).min]),
        np.array([np.iinfo(np.uint64).max]),
        np.array([True, False]),
        np.array(["", "\x01\x02", '"', "\U0001f600\u00e4", "a" * 1000], object),
        np.zeros(0, np.float32),
    ],
    ids=str,
)
def test_no_text_is_longer_than_the_most(values: Any) -> None:
    tensor = as_tensor(values)
    assert sum(map(len, write_elements(tensor, "x"))) <= most_text_bytes(tensor)
