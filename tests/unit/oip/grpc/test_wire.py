"""Tests of protobuf's wire format, as far as it is ours."""

from __future__ import annotations

import tracemalloc

import pytest

from inferonnx.oip.errors import InvalidRequestError
from inferonnx.oip.grpc.wire import bytes_field, parsed_bytes, split_fields
from inferonnx.oip.json_text import MAX_ITEMS

# field 1: varint 300, field 2: "ab", field 3: fixed32, field 4: fixed64, field 2: "", field 16: "x"
MESSAGE = b"\x08\xac\x02\x12\x02ab\x1d1234\x2112345678\x12\x00\x82\x01\x01x"


def test_fields_are_cut_out_in_order() -> None:
    rest, taken = split_fields(memoryview(MESSAGE), (2, 16))
    assert rest == b"\x08\xac\x02\x1d1234\x2112345678"
    assert taken == {2: [b"ab", b""], 16: [b"x"]}
    assert all(isinstance(part, memoryview) for part in taken[2])


def test_nothing_is_cut_out_of_nothing() -> None:
    assert split_fields(memoryview(b""), (2,)) == (b"", {2: []})
    assert split_fields(memoryview(MESSAGE), (1, 3, 4, 5)) == (
        MESSAGE,
        {1: [], 3: [], 4: [], 5: []},
    )


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x80",
        b"\x80" * 11,
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x12\x05abc",
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x1d123",
        b"\x211234567",
        b"\x0b",
        b"\x0c",
        b"\x0e",
        b"\x0f",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="malformed"):
        split_fields(memoryview(data), (2,))


def test_every_cut_is_refused_or_a_message() -> None:
    for stop in range(len(MESSAGE)):
        try:
            rest, taken = split_fields(memoryview(MESSAGE[:stop]), (2, 16))
        except InvalidRequestError:
            continue
        assert MESSAGE.startswith(rest[:3])
        assert sum(map(len, taken[2])) <= 2


def test_fields_are_limited_in_number() -> None:
    split_fields(memoryview(b"\x12\x00" * MAX_ITEMS), (2,))
    many = memoryview(b"\x12\x00" * 1_000_000)
    tracemalloc.start()
    with pytest.raises(InvalidRequestError, match="more than 1024 tensors"):
        split_fields(many, (2,))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("n", [0, 1, 127, 128, 300, 20_000, 2_100_000, 2**32])
def test_heads_of_fields(n: int) -> None:
    head = bytes_field(5, n)
    assert head[0] == 5 << 3 | 2
    number = sum((byte & 0x7F) << 7 * i for i, byte in enumerate(head[1:]))
    assert number == n
    if n < 2**32:
        assert split_fields(memoryview(head + bytes(n)), (5,))[1] == {5: [bytes(n)]}


def test_memory_is_estimated_field_by_field() -> None:
    assert parsed_bytes(memoryview(b"\x12\x02ab\x12\x00"), {2: 3}, 10) == 10 + 6 + 10
    assert parsed_bytes(memoryview(b"\x1d1234"), {2: 3}, 10) == 10 + 40
