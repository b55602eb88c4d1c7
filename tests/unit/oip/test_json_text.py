"""Tests of the cursor over a JSON text."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from inferonnx.oip.errors import InvalidRequestError
from inferonnx.oip.json_text import (
    MAX_ITEMS,
    MAX_VALUE_BYTES,
    JsonReader,
    parse_document,
)


def walk(text: bytes) -> Any:
    """Read a text with `members` and `elements` down to the leaves."""
    reader = JsonReader(memoryview(text))

    def read() -> Any:
        if reader.is_object():
            return {name: read() for name in reader.members()}
        if reader.is_array():
            return [read() for _ in reader.elements()]
        return reader.value()

    found = read()
    reader.finish()
    return found


GOOD = [
    "{}",
    "[]",
    " { } ",
    '{"a":1,"b":[1,2,{"c":null}],"d":{"e":"f"}}',
    '\t{ "a" : [ ] ,\r\n "b" : true }\n',
    '["\\"","\\\\","]}[{,","\\u00e9","é","\\ud83d\\ude00"]',
    '[{},[],[[]],{"a":{},"b":[]},1]',
    "-1.5e3",
    '"x"',
]
BAD = [
    "",
    " ",
    "{",
    "}",
    "[1",
    "[1,]",
    "[,1]",
    "[1 2]",
    '{"a"}',
    '{"a":}',
    '{"a" 1}',
    '{"a":1,}',
    '{,"a":1}',
    "{a:1}",
    "{1:1}",
    '{"a":1 "b":2}',
    '{"a":1}{}',
    "[1]]",
    "[1}",
    '{"a":1]',
    '"abc',
    '"abc\\"',
    '"a\nb"',
    "tru",
    "01",
    "+1",
    "1.",
    "'a'",
    "[1]/**/",
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '["\\ud800"]',
    '["\\udc80"]',
    '{"\\ud800":1}',
    '["\\x41"]',
]


@pytest.mark.parametrize("text", GOOD)
def test_good_texts_are_read_as_json_reads_them(text: str) -> None:
    assert walk(text.encode()) == json.loads(text)
    assert parse_document(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", BAD)
def test_bad_texts_are_refused(text: str) -> None:
    for read in (walk, parse_document):
        with pytest.raises(InvalidRequestError, match="failed to parse the request JSON buffer"):
            read(text.encode())


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"\xc3":1}',
        b'["\xed\xa0\x80"]',
    ],
    ids=["utf-16", "mark", "value", "name", "surrogate"],
)
def test_only_utf_8_is_read(body: bytes) -> None:
    for read in (walk, parse_document):
        with pytest.raises(InvalidRequestError):
            read(body)


def test_the_same_name_twice_is_refused_at_any_depth() -> None:
    with pytest.raises(InvalidRequestError, match="same name twice in an object at 7"):
        walk(b'{"a":1,"a":1}')
    with pytest.raises(InvalidRequestError):
        parse_document(b'{"p":{"a":[{"b":1,"b":1}]}}')


def test_depth_costs_no_stack() -> None:
    deep = b"[" * 1_000_000 + b"]" * 1_000_000
    reader = JsonReader(memoryview(deep))
    assert reader.skip() == (0, len(deep))
    with pytest.raises(InvalidRequestError, match="nesting depth exceeds maximum allowed limit"):
        parse_document(b"[" * 30_000 + b"]" * 30_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{" + b",".join(b'"%d":1' % i for i in range(MAX_ITEMS + 1)) + b"}", "many members"),
        (b"[" + b"1," * MAX_ITEMS + b"1]", "many elements"),
        (b'{"a":"' + b"x" * MAX_VALUE_BYTES + b'"}', "too long"),
        (b'{"' + b"x" * MAX_VALUE_BYTES + b'":1}', "too long"),
    ],
    ids=["members", "elements", "value", "name"],
)
def test_limits(text: bytes, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        walk(text)


def test_documents_are_small() -> None:
    body = b"[" + b"1," * 100 + b"1]"
    assert len(parse_document(body, most=len(body))) == 101
    with pytest.raises(InvalidRequestError, match="a value of 203 bytes is too long at 1"):
        parse_document(b" " + body, most=len(body) - 1)


def test_as_much_as_the_limits_is_read() -> None:
    members = b"{" + b",".join(b'"%d":1' % i for i in range(MAX_ITEMS)) + b"}"
    assert len(walk(members)) == MAX_ITEMS
    assert len(walk(b"[" + b"1," * (MAX_ITEMS - 1) + b"1]")) == MAX_ITEMS
    value = b'"' + b"x" * (MAX_VALUE_BYTES - 2) + b'"'
    assert len(walk(value)) == MAX_VALUE_BYTES - 2
    assert walk(b"[1,2," + value + b"]") == [1, 2, "x" * (MAX_VALUE_BYTES - 2)]


def test_numbers_of_many_digits_are_refused_not_computed() -> None:
    with pytest.raises(InvalidRequestError):
        parse_document(b"9" * 60_000)


def test_skipping_takes_no_memory() -> None:
    text = b"[" + b'[],{},"a\\n",' * 100_000 + b"1]"
    tracemalloc.start()
    JsonReader(memoryview(text)).skip()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000
