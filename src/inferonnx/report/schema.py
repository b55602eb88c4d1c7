"""The plan as data, `inferonnx.plan/1`: what the page is drawn from and `plan --json` prints.

One JSON object. Bytes are whole numbers from 0 up; times are seconds, finite, from 0 up.
Keys with a default may be missing; keys that are not listed are allowed and ignored.

    schema            "inferonnx.plan/1"
    model             name of the model
    strategy          "optimal" or "paper"
    suite             AEAD suite that the plan reckons with (default "")
    budget_bytes      what the process may hold at its peak
    peak_bytes        what it is predicted to hold: opening or a pass, whichever is more
    open_peak_bytes   what it is predicted to hold while it is opened (default 0: not known)
    floor_bytes       interpreter, libraries, runtime
    session_bytes     all partitions' sessions
    buffer_bytes      the buffer through which weights are streamed
    resident_bytes    weights that stay decrypted
    streamed_bytes    weights read and opened in each pass
    least_bytes       least budget that works for this model (default 0: not known)
    latency_s         predicted time of a pass
    notes             sentences for the reader (default none)
    partitions        in the order of a pass, at least one:
        start, stop       nodes of the graph, half-open
        weight_bytes      its block of weights
        activation_bytes  peak of live activations and workspace while it runs
        time_s            time that its operators take
        stream_s          time that reading and opening its weights takes (default 0)
        resident          whether its weights stay decrypted
        operators         (default none) in order: name, op_type, weight_bytes, time_s
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inferonnx.errors import UsageError

PLAN_SCHEMA = "inferonnx.plan/1"

MAX_PARTITIONS = 10_000
"""Rows that a browser still shows; plans have up to a few hundred."""

_MAX_BYTES = 2**53 - 1
"""Whole numbers above are not exact in the page's JavaScript."""

_REQUIRED: Any = object()

# Of each key: how it is checked, and what stands for it when it is missing.
_PLAN = {
    "model": ("text", _REQUIRED),
    "strategy": ("text", _REQUIRED),
    "suite": ("text", ""),
    "budget_bytes": ("bytes", _REQUIRED),
    "peak_bytes": ("bytes", _REQUIRED),
    "open_peak_bytes": ("bytes", 0),
    "floor_bytes": ("bytes", _REQUIRED),
    "session_bytes": ("bytes", _REQUIRED),
    "buffer_bytes": ("bytes", _REQUIRED),
    "resident_bytes": ("bytes", _REQUIRED),
    "streamed_bytes": ("bytes", _REQUIRED),
    "least_bytes": ("bytes", 0),
    "latency_s": ("time", _REQUIRED),
}
_PARTITION = {
    "start": ("bytes", _REQUIRED),
    "stop": ("bytes", _REQUIRED),
    "weight_bytes": ("bytes", _REQUIRED),
    "activation_bytes": ("bytes", _REQUIRED),
    "time_s": ("time", _REQUIRED),
    "stream_s": ("time", 0.0),
    "resident": ("flag", _REQUIRED),
}
_OPERATOR = {
    "name": ("text", _REQUIRED),
    "op_type": ("text", _REQUIRED),
    "weight_bytes": ("bytes", 0),
    "time_s": ("time", 0.0),
}


def checked_plan(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the schema in `data`, with defaults filled in and nothing else.

    Raises:
        UsageError: `data` is not such an object; the message names the place.
    """
    if not isinstance(data, Mapping) or data.get("schema") != PLAN_SCHEMA:
        raise UsageError(f"the plan is not an object with schema {PLAN_SCHEMA!r}")
    plan = _fields(data, _PLAN, "")
    plan["schema"] = PLAN_SCHEMA
    plan["notes"] = [_value("text", note, f"notes[{i}]") for i, note in _items(data, "notes", "")]
    plan["partitions"] = [_partition(row, i) for i, row in _items(data, "partitions", "")]
    if not 1 <= len(plan["partitions"]) <= MAX_PARTITIONS:
        raise UsageError(
            f"a plan has 1 to {MAX_PARTITIONS} partitions, not {len(plan['partitions'])}",
            where="partitions",
        )
    return plan


def _partition(row: Any, index: int) -> dict[str, Any]:
    place = f"partitions[{index}]."
    partition = _fields(row, _PARTITION, place)
    partition["operators"] = [
        _fields(operator, _OPERATOR, f"{place}operators[{i}].")
        for i, operator in _items(row, "operators", place)
    ]
    return partition


def _fields(row: Any, table: Mapping[str, tuple[str, Any]], place: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise UsageError(f"the plan's {place.rstrip('.')} is not an object", where=place)
    found = {}
    for key, (check, default) in table.items():
        if key not in row and default is _REQUIRED:
            raise UsageError(f"the plan has no {place}{key}", where=place + key)
        found[key] = _value(check, row.get(key, default), place + key)
    return found


def _items(row: Mapping[str, Any], key: str, place: str) -> enumerate[Any]:
    items = row.get(key, ())
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise UsageError(f"the plan's {place}{key} is not a list", where=place + key)
    return enumerate(items)


def _value(check: str, value: Any, place: str) -> Any:
    match check, value:
        case "flag", bool():
            return value
        case "text", str():
            return value
        case "bytes", int() if not isinstance(value, bool) and 0 <= value <= _MAX_BYTES:
            return value
        case "time", int() | float() if not isinstance(value, bool):
            if math.isfinite(value) and value >= 0:
                return float(value)
    wanted = {"flag": "true or false", "text": "text", "bytes": "a whole number from 0 up"}
    wanted["time"] = "a number of seconds from 0 up"
    raise UsageError(
        f"the plan's {place} is {str(value)!r:.60}, but must be {wanted[check]}", where=place
    )
