"""Lines that an operator reads, and what can't get into them."""

import json

import pytest

from inferonnx.server.log import Log


@pytest.fixture
def lines() -> list[str]:
    return []


def test_json_lines_hold_event_and_fields(lines: list[str]) -> None:
    Log(as_json=True, write=lines.append).event("request", status=200, ms=1.23456, model="m")
    found = json.loads(lines[0])
    assert (found["event"], found["status"], found["ms"], found["model"]) == (
        "request",
        200,
        1.235,
        "m",
    )


def test_text_is_one_line_whatever_a_client_sends(lines: list[str]) -> None:
    Log(write=lines.append).event("request", request='a"b\n\x1b[31m c', status=1)
    assert lines[0].count("\n") == 1
    assert "\x1b" not in lines[0]
    assert "status=1" in lines[0]


def test_nothing_below_the_level_is_written(lines: list[str]) -> None:
    log = Log(level="warning", write=lines.append)
    log.event("quiet")
    log.event("loud", level="error")
    assert len(lines) == 1


@pytest.mark.parametrize("fields", [{"tensor": "x"}, {"status": "200"}, {"error": b"key"}])
def test_a_field_that_is_not_listed_is_a_bug(lines: list[str], fields: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="no field"):
        Log(write=lines.append).event("request", **fields)
    assert not lines


def test_long_text_is_clipped(lines: list[str]) -> None:
    Log(as_json=True, write=lines.append).event("request", path="x" * 5000)
    assert len(json.loads(lines[0])["path"]) == 300
