"""Tests of the model repository extension."""

from __future__ import annotations

import json

import pytest

from inferonnx.oip.errors import InvalidRequestError, UnsupportedError
from inferonnx.oip.repository import (
    READY,
    UNAVAILABLE,
    IndexEntry,
    parse_index_request,
    parse_load_request,
    parse_unload_request,
    repository_index,
)

ENTRIES = [
    IndexEntry(name="a", version="1", state=READY),
    IndexEntry(name="a", version="2", state=UNAVAILABLE, reason="locked"),
    IndexEntry(name="b"),
]


def test_the_index() -> None:
    assert repository_index(ENTRIES) == [
        {"name": "a", "version": "1", "state": "READY"},
        {"name": "a", "version": "2", "state": "UNAVAILABLE", "reason": "locked"},
        {"name": "b"},
    ]
    assert repository_index(ENTRIES, ready=True) == [
        {"name": "a", "version": "1", "state": "READY"}
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", False),
        (b"{}", False),
        (b'{"ready":false}', False),
        (b' { "ready" : true } ', True),
        (b'{"x":[{}],"ready":true}', True),
    ],
)
def test_requests_for_the_index(body: bytes, expected: bool) -> None:
    assert parse_index_request(body) is expected


@pytest.mark.parametrize(
    "value", ["1", "null", '"true"', "[true]", "{}", "[" * 250_000 + "]" * 250_000]
)
def test_ready_is_true_or_false(value: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_index_request(f'{{"ready":{value}}}'.encode())
    assert caught.value.message == "Invalid value for 'ready': expected a boolean"


BODIES = [b"[]", b"7", b"{", b"{}x", b'{"ready":}', b"\xff", b'{"a":1,"a":2}']


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("parse", [parse_index_request, parse_load_request, parse_unload_request])
def test_bodies_that_are_wrong(parse: object, body: bytes) -> None:
    assert callable(parse)
    with pytest.raises(InvalidRequestError):
        parse(body)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters":{}}', b'{"parameters":{"x":[1]}}'])
def test_loading_as_it_is(body: bytes) -> None:
    parse_load_request(body)


@pytest.mark.parametrize("name", ["config", "file:1/model.onnx"])
def test_loading_something_else_is_refused(name: str) -> None:
    body = json.dumps({"parameters": {"x": 1, name: "e" * 1_000_000}}).encode()
    with pytest.raises(UnsupportedError, match="as its owner signed it"):
        parse_load_request(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", False),
        (b"{}", False),
        (b'{"parameters":null}', False),
        (b'{"parameters":{"unload_dependents":true}}', True),
    ],
)
def test_unloading(body: bytes, expected: bool) -> None:
    assert parse_unload_request(body) is expected


def test_dependents_are_unloaded_or_not() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_unload_request(b'{"parameters":{"unload_dependents":"yes"}}')
    assert caught.value.message == (
        "Unable to parse 'unload_dependents': attempt to access JSON non-boolean as boolean"
    )
