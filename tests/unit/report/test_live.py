"""What a server's answers say, and what two of them say together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.oip import BadReplyError
from inferonnx.report.live import WINDOW_S, Rates, Window, compare, parse_status
from inferonnx.server.statistics import ModelStatistics, Timing


def model(name="m", **changes):
    base = {
        "name": name,
        "version": 1,
        "model_id": "ab",
        "state": "ready",
        "reason": "",
        "is_open": True,
        "share_bytes": 100,
        "pending": 0,
        "requests": 0,
        "failures": {"REJECTED": 0, "OTHER": 0},
        "opened_bytes": 0,
        "latency_steps": [],
    }
    return base | changes


def status(uptime_s=10.0, models=(), **changes):
    memory = ("budget", "resident", "peak", "server", "models", "models_limit", "requests")
    base = {
        "schema": "inferonnx.status/1",
        "version": "1",
        "uptime_s": uptime_s,
        "cpu_s": uptime_s / 4,
        "connections": 1,
        "requests_waiting": 0,
        "memory": {f"{word}_bytes": 7 for word in (*memory, "requests_limit")},
        "models": list(models),
    }
    return base | changes


def seen(*arguments, **changes):
    return parse_status(status(*arguments, **changes))


def test_an_answer_becomes_a_value():
    found = seen(3, [model(failures={"A": 2, "B": 3}, latency_steps=[[1.5, 4]], extra=1)], new=[])
    assert (found.uptime_s, found.memory.peak_bytes) == (3.0, 7)
    (only,) = found.models
    assert (only.failed, only.steps, only.key) == (5, ((1.5, 4),), ("m", 1, "ab"))


@pytest.mark.parametrize(
    ("model_is", "word"),
    [
        ({"is_open": True}, "open"),
        ({"is_open": False}, "ready"),
        ({"state": "locked", "is_open": False}, "locked"),
        ({"state": "unavailable"}, "unavailable"),
    ],
)
def test_a_state_says_whether_it_holds_memory(model_is, word):
    assert seen(1, [model(**model_is)]).models[0].shown_state == word


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"schema": "inferonnx.status/2"},
        status(cpu_s="3"),
        status(cpu_s=float("nan")),
        status(connections=-1),
        status(connections=1.5),
        status(version=None),
        status(memory={}),
        status(memory=[]),
        status() | {"models": [[]]},
        status() | {"models": 7},
        status(models=[model(name=5)]),
        status(models=[model(failures=[1])]),
        status(models=[model(latency_steps=[[1]])]),
        status(models=[model(latency_steps=[["1", 1]])]),
        {k: v for k, v in status().items() if k != "cpu_s"},
    ],
)
def test_anything_else_is_refused(broken):
    with pytest.raises(BadReplyError, match="describes itself in"):
        parse_status(broken)


def test_rates_are_differences():
    before = seen(10, [model(requests=50, latency_steps=[[10, 50]]), model("other")])
    after = seen(
        20,
        [
            model(
                requests=150,
                opened_bytes=1000,
                failures={"REJECTED": 4, "OTHER": 1},
                latency_steps=[[10, 100], [20, 45], [5000, 5]],
            ),
            model("other", requests=20, latency_steps=[[40, 20]]),
        ],
    )
    found = compare(before, after)
    assert found.cores == 0.25
    assert found.models["m", 1, "ab"] == Rates(10.0, 0.5, 100.0, 0.01, 0.02, 5.0)
    assert found.models["other", 1, "ab"] == Rates(2.0, 0.0, 0.0, 0.04, 0.04, 0.04)
    assert found.all == Rates(12.0, 0.5, 100.0, 0.02, 0.04, 5.0)


def test_what_is_new_or_was_replaced_counts_from_zero():
    before = seen(10, [model(requests=50, latency_steps=[[10, 50]])])
    again = model(requests=30, latency_steps=[[7, 30]])
    after = seen(20, [again, model("new", requests=10, latency_steps=[[7, 10]])])
    found = compare(before, after).models
    assert found["m", 1, "ab"].requests == 3.0
    assert found["m", 1, "ab"].p50_s == 0.007
    assert found["new", 1, "ab"].requests == 1.0


def test_a_moment_has_no_rates():
    assert compare(seen(5), seen(5)) is None
    assert Window().add(seen(5)) is None


def test_a_window_reaches_ten_seconds_back():
    window = Window()
    rates = []
    for second in range(60):
        # One a second for half a minute, then three.
        requests = second if second < 30 else 30 + 3 * (second - 30)
        found = window.add(seen(100 + second, [model(requests=requests)]))
        rates.append(found.all.requests if found else None)
    assert rates[0] is None
    assert rates[1:30] == [1.0] * 29
    assert rates[35] == pytest.approx((30 + 15 - 25) / WINDOW_S)
    assert rates[45:] == [3.0] * 15


def test_a_server_that_began_anew_has_no_past():
    window = Window()
    window.add(seen(1000, [model(requests=500)]))
    assert window.add(seen(2, [model(requests=3)])) is None
    assert window.add(seen(4, [model(requests=5)])).all.requests == 1.0


@given(st.lists(st.integers(1, 10**11), min_size=1, max_size=300))
def test_percentiles_are_the_servers(times_ns):
    statistics = ModelStatistics()
    for ns in times_ns:
        statistics.succeeded(Timing(ns, 0, 0, 0, 1), rows=1, now_ms=0)
    steps = [[ns / 1e6, n] for ns, n in statistics.histogram_ns()]
    found = compare(seen(1, [model()]), seen(2, [model(requests=1, latency_steps=steps)])).all
    for share, value in ((0.5, found.p50_s), (0.9, found.p90_s), (0.99, found.p99_s)):
        assert value == pytest.approx(statistics.percentile_ns(share) / 1e9)
