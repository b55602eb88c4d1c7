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

from typing import TYPE_CHECKING, Any

from inferonnx.errors import UsageError
from inferonnx.report.checking import REQUIRED, Checker

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAN_SCHEMA = "inferonnx.plan/1"

MAX_PARTITIONS = 10_000
"""Rows that a browser still shows; plans have up to a few hundred."""

_CHECKER = Checker("the plan")

# Of each key: how it is checked, and what stands for it when it is missing.
_PLAN = {
    "model": ("text", REQUIRED),
    "strategy": ("text", REQUIRED),
    "suite": ("text", ""),
    "budget_bytes": ("bytes", REQUIRED),
    "peak_bytes": ("bytes", REQUIRED),
    "open_peak_bytes": ("bytes", 0),
    "floor_bytes": ("bytes", REQUIRED),
    "session_bytes": ("bytes", REQUIRED),
    "buffer_bytes": ("bytes", REQUIRED),
    "resident_bytes": ("bytes", REQUIRED),
    "streamed_bytes": ("bytes", REQUIRED),
    "least_bytes": ("bytes", 0),
    "latency_s": ("time", REQUIRED),
}
_PARTITION = {
    "start": ("bytes", REQUIRED),
    "stop": ("bytes", REQUIRED),
    "weight_bytes": ("bytes", REQUIRED),
    "activation_bytes": ("bytes", REQUIRED),
    "time_s": ("time", REQUIRED),
    "stream_s": ("time", 0.0),
    "resident": ("flag", REQUIRED),
}
_OPERATOR = {
    "name": ("text", REQUIRED),
    "op_type": ("text", REQUIRED),
    "weight_bytes": ("bytes", 0),
    "time_s": ("time", 0.0),
}


def checked_plan(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the schema in `data`, with defaults filled in and nothing else.

    Raises:
        UsageError: `data` is not such an object; the message names the place.
    """
    _CHECKER.schema(data, PLAN_SCHEMA)
    plan = _CHECKER.fields(data, _PLAN)
    plan["schema"] = PLAN_SCHEMA
    notes = _CHECKER.items(data, "notes")
    plan["notes"] = [_CHECKER.value("text", note, f"notes[{i}]") for i, note in notes]
    plan["partitions"] = [_partition(row, i) for i, row in _CHECKER.items(data, "partitions")]
    if not 1 <= len(plan["partitions"]) <= MAX_PARTITIONS:
        raise UsageError(
            f"a plan has 1 to {MAX_PARTITIONS} partitions, not {len(plan['partitions'])}",
            where="partitions",
        )
    return plan


def _partition(row: Any, index: int) -> dict[str, Any]:
    place = f"partitions[{index}]."
    partition = _CHECKER.fields(row, _PARTITION, place)
    partition["operators"] = [
        _CHECKER.fields(operator, _OPERATOR, f"{place}operators[{i}].")
        for i, operator in _CHECKER.items(row, "operators", place)
    ]
    return partition
