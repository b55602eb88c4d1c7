"""Tests of the plan's schema: what is filled in, and what is refused with its place."""

from __future__ import annotations

import copy

import pytest

from inferonnx.errors import UsageError
from inferonnx.report.schema import MAX_PARTITIONS, checked_plan

PARTITION = {
    "start": 0,
    "stop": 2,
    "weight_bytes": 10,
    "activation_bytes": 20,
    "time_s": 0.5,
    "resident": False,
}
PLAN = {
    "schema": "inferonnx.plan/1",
    "model": "m",
    "strategy": "optimal",
    "budget_bytes": 100,
    "peak_bytes": 90,
    "floor_bytes": 30,
    "session_bytes": 5,
    "buffer_bytes": 10,
    "resident_bytes": 0,
    "streamed_bytes": 10,
    "latency_s": 1,
    "partitions": [PARTITION],
}


def changed(path: str, value: object) -> dict:
    """Return PLAN with another value at `path`, as "partitions.0.start"."""
    plan = copy.deepcopy(PLAN)
    *way, last = path.split(".")
    place = plan
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, [])
    place[last] = value
    return plan


def test_defaults_are_filled_in() -> None:
    plan = checked_plan(PLAN)
    assert (plan["suite"], plan["least_bytes"], plan["notes"]) == ("", 0, [])
    assert plan["partitions"][0]["operators"] == []
    assert plan["partitions"][0]["stream_s"] == 0.0
    assert plan["latency_s"] == 1.0


def test_keys_that_are_not_listed_do_not_come_along() -> None:
    plan = checked_plan(changed("partitions.0.secret", 1) | {"secret": 1})
    assert "secret" not in plan
    assert "secret" not in plan["partitions"][0]


def test_checking_twice_changes_nothing() -> None:
    assert checked_plan(checked_plan(PLAN)) == checked_plan(PLAN)


@pytest.mark.parametrize("key", [key for key in PLAN if key not in ("schema", "partitions")])
def test_missing_keys_are_named(key: str) -> None:
    plan = {k: v for k, v in PLAN.items() if k != key}
    with pytest.raises(UsageError, match=f"has no {key}"):
        checked_plan(plan)


@pytest.mark.parametrize("key", list(PARTITION))
def test_missing_keys_of_partitions_are_named(key: str) -> None:
    plan = PLAN | {"partitions": [{k: v for k, v in PARTITION.items() if k != key}]}
    with pytest.raises(UsageError, match=rf"has no partitions\[0\]\.{key}"):
        checked_plan(plan)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("schema", "inferonnx.plan/2", "schema 'inferonnx.plan/1'"),
        ("model", 7, "model is '7', but must be text"),
        ("budget_bytes", -1, "whole number from 0 up"),
        ("budget_bytes", 1.5, "whole number from 0 up"),
        ("budget_bytes", True, "whole number from 0 up"),
        ("budget_bytes", 2**53, "whole number from 0 up"),
        ("latency_s", float("nan"), "number of seconds"),
        ("latency_s", float("inf"), "number of seconds"),
        ("latency_s", -0.1, "number of seconds"),
        ("latency_s", "1", "number of seconds"),
        ("latency_s", True, "number of seconds"),
        ("notes", "one", "notes is not a list"),
        ("notes", [1], r"notes\[0\] is '1', but must be text"),
        ("partitions", [], "1 to 10000 partitions, not 0"),
        ("partitions", [PARTITION] * (MAX_PARTITIONS + 1), "not 10001"),
        ("partitions", {}, "partitions is not a list"),
        ("partitions", [1], r"partitions\[0\] is not an object"),
        ("partitions.0.resident", 1, r"partitions\[0\].resident is '1', but must be true or"),
        ("partitions.0.operators", 1, r"partitions\[0\].operators is not a list"),
        ("partitions.0.operators", [{}], r"has no partitions\[0\].operators\[0\].name"),
    ],
)
def test_wrong_values_are_named(path: str, value: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        checked_plan(changed(path, value))


def test_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="not an object"):
        checked_plan([])
