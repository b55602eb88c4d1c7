"""A server's status as lines: what they say, and that they always fit."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.report.live import (
    Activity,
    MemoryStatus,
    ModelStatus,
    Rates,
    ServerStatus,
)
from inferonnx.report.paint import MODELS, SERVER, Look, Paint
from inferonnx.report.screen import SORTS, View, clamp_first, screen
from inferonnx.report.text import columns_of

MIB = 2**20
PLAIN = Look(has_colours=False, has_unicode=True)


def model(name="resnet", **changes):
    base = {
        "name": name,
        "version": 1,
        "model_id": name,
        "state": "ready",
        "reason": "",
        "is_open": True,
        "share_bytes": 40 * MIB,
        "pending": 2,
        "requests": 1234,
        "failed": 5,
        "opened_bytes": 0,
        "steps": (),
    }
    return ModelStatus(**base | changes)


MEMORY = MemoryStatus(
    budget_bytes=128 * MIB,
    resident_bytes=96 * MIB,
    peak_bytes=112 * MIB,
    server_bytes=32 * MIB,
    models_bytes=40 * MIB,
    models_limit_bytes=80 * MIB,
    requests_bytes=8 * MIB,
    requests_limit_bytes=16 * MIB,
)
RATES = Rates(12.34, 0.5, 250.0 * MIB, 0.0056, 0.03, 1.2)


def server(*models, **changes):
    base = {
        "version": "1.2.3",
        "uptime_s": 11_525.0,
        "cpu_s": 0.0,
        "connections": 1,
        "requests_waiting": 3,
        "memory": MEMORY,
        "models": models,
    }
    return ServerStatus(**base | changes)


def active(*models):
    return Activity(cores=0.75, all=RATES, models={each.key: RATES for each in models})


def view(width=80, height=None, **changes):
    return View(title="host:8443", width=width, height=height, **{"look": PLAIN, **changes})


def test_the_whole_picture_at_eighty_columns():
    models = (model(), model("locked", state="locked", reason="not unlocked", requests=0))
    lines = screen(server(*models), active(*models), view())
    left, right = "InferONNX 1.2.3  host:8443", "up 3 h 12 min, 1 connection"
    assert lines == [
        left + " " * (80 - len(left) - len(right)) + right,
        "",
        "Memory    96.0 MiB of 128.0 MiB, at most 112.0 MiB until now",
        "promised  " + 18 * "█" + 21 * "▓" + 5 * "▒" + 26 * "·",
        "resident  " + 52 * "█" + 8 * "·" + "|" + 9 * "·",
        "          █ server 32.0  ▓ models 40.0 of 80.0  ▒ requests 8.0 of 16.0 MiB",
        "",
        "Requests  12.3/s, 0.50 failed   p50 5.60 ms   p90 30.0 ms   p99 1.20 s",
        "Work      4 under way, 3 wait for memory   250.0 MiB/s streamed   0.75 cores",
        "",
        "MODEL                         STATE           MEMORY  REQ/S     P50     P99 BUSY",
        "locked 1                      locked      not unlocked",
        "resnet 1                      open          40.0 MiB   12.3 5.60 ms  1.20 s    2",
    ]


def test_before_the_second_answer_nothing_is_made_up():
    lines = screen(server(model()), None, view())
    assert lines[7] == "Requests  -/s   p50 -   p90 -   p99 -"
    assert lines[-1].split() == ["resnet", "1", "open", "40.0", "MiB", "-", "-", "-", "2"]


def test_more_columns_where_there_is_room():
    narrow, wide = (screen(server(model()), None, view(width)) for width in (60, 120))
    assert narrow[10].split() == ["MODEL", "STATE", "REQ/S", "P50", "P99"]
    tiny = screen(server(model()), None, view(20))
    assert tiny[10].split() == ["MODEL", "STATE"]
    assert tiny[11].split() == ["resnet", "1", "open"]
    assert wide[10].split() == [
        *("MODEL", "STATE", "MEMORY", "REQ/S", "P50", "P90", "P99", "BUSY", "ANSWERED", "FAILED"),
    ]


def test_a_long_name_keeps_its_version():
    lines = screen(server(model("n" * 200, version=12)), None, view())
    assert re.match(r"n{20,} 12 open ", lines[-1])


@pytest.mark.parametrize(
    ("sort", "order"),
    [("name", "abc"), ("requests", "bca"), ("p99", "cab"), ("memory", "cba")],
)
def test_models_are_sorted(sort, order):
    models = [model(name, share_bytes=ord(name)) for name in "abc"]
    rates = {"a": Rates(1.0, p99_s=2.0), "b": Rates(3.0, p99_s=1.0), "c": Rates(2.0, p99_s=3.0)}
    activity = Activity(cores=0.0, all=RATES, models={m.key: rates[m.name] for m in models})
    lines = screen(server(*models), activity, view(sort=sort))
    assert "".join(line[0] for line in lines[11:]) == order
    assert sort in SORTS


def test_a_table_that_is_too_long_is_scrolled():
    models = [model(f"m{i:02}") for i in range(40)]
    at_top, below = (
        screen(server(*models), None, view(height=24, first=first)) for first in (0, 1000)
    )
    assert [line.split()[0] for line in at_top[11:-1]] == [f"m{i:02}" for i in range(12)]
    assert at_top[-1].endswith("up, down: 1 to 12 of 40")
    assert [line.split()[0] for line in below[11:-1]] == [f"m{i:02}" for i in range(28, 40)]
    assert clamp_first(40, view(height=24, first=1000)) == 28
    assert clamp_first(40, view(height=24, first=-3)) == 0
    assert clamp_first(3, view(height=24, first=2)) == 0
    assert clamp_first(3, view(first=2)) == 0


def test_a_notice_takes_the_place_of_the_keys():
    lines = screen(server(), None, view(height=24, notice="since 12:00:00: gone\x1b[2J"))
    assert lines[-1] == "since 12:00:00: gone\\x1b[2J"
    assert "no models yet" in lines


def test_a_peak_above_the_budget_is_seen():
    over = dataclasses.replace(MEMORY, peak_bytes=140 * MIB)
    look = Look(has_colours=True, has_unicode=True)
    lines = screen(server(memory=over), None, view(look=look))
    assert "\x1b[31m, at most 140.0 MiB until now\x1b[0m" in lines[2]


TEXT = st.text(max_size=60)


@given(
    st.builds(
        model,
        name=TEXT,
        state=st.sampled_from(["ready", "locked", "unavailable"]) | TEXT,
        reason=TEXT,
        requests=st.integers(0, 10**12),
        share_bytes=st.integers(0, 10**14),
        pending=st.integers(0, 10**9),
    ),
    st.integers(1, 200),
    st.integers(1, 60),
    st.booleans(),
    st.booleans(),
)
def test_nothing_is_ever_wider_or_drives_the_terminal(one, width, height, colours, unicode):
    look = Look(has_colours=colours, has_unicode=unicode)
    lines = screen(
        server(one, model()), active(one), view(width, height, look=look, notice=one.reason)
    )
    assert len(lines) == height
    for line in lines:
        text = re.sub(r"\x1b\[\d+m", "", line) if colours else line
        assert text.isprintable()
        assert columns_of(text) <= max(width, 20)
        assert unicode or text.isascii()


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 3000), st.integers(1, 200))
def test_a_bar_is_as_wide_as_it_should_be(a, b, rest, width):
    whole = a + b + rest
    for mark in (None, a + b, whole):
        segments = Paint(300, PLAIN).bar([(SERVER, a), (MODELS, b)], whole, width, mark)
        text = "".join(text for text, _ in segments)
        assert len(text) == width
        assert abs(text.count("█") - a * width / whole) <= 1
