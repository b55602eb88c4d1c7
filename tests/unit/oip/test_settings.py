"""Tests of the trace and logging extensions, which only tell."""

from __future__ import annotations

import pytest

from inferonnx.oip.errors import InvalidRequestError, UnsupportedError
from inferonnx.oip.settings import (
    check_settings,
    log_settings,
    parse_settings,
    trace_settings,
)


def test_tracing_is_off() -> None:
    assert trace_settings()["trace_level"] == ["OFF"]
    assert all(isinstance(value, str | list) for value in trace_settings().values())


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"null", b'{"trace_level":["OFF"]}', b'{"trace_level":null,"trace_rate":"1000"}'],
)
def test_asking_for_what_is_set_changes_nothing(body: bytes) -> None:
    check_settings(parse_settings(body), trace_settings())


@pytest.mark.parametrize(
    "body",
    [b'{"trace_level":["TENSORS"]}', b'{"trace_rate":1000}', b'{"x":1}', b'{"log_info":true}'],
)
def test_nothing_can_be_changed(body: bytes) -> None:
    with pytest.raises(UnsupportedError, match="can't be changed"):
        check_settings(parse_settings(body), trace_settings())


def test_the_log() -> None:
    check_settings({"log_verbose_level": 0, "log_info": True}, log_settings())
    with pytest.raises(UnsupportedError):
        check_settings({"log_file": "/tmp/x"}, log_settings())


@pytest.mark.parametrize("body", [b"[]", b"7", b"{", b"[" * 50_000])
def test_settings_are_an_object(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_settings(body)
