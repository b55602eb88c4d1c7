"""What a run has shown, in lines: the stream inside the limit, and reading against holding."""

from __future__ import annotations

import itertools
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.paper.table2 import DISK, MEMORY
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEAD = (
    "model",
    "limit",
    "entire in memory [ms]",
    "faults",
    "stream [ms]",
    "faults",
    "to its own without limit",
    "ahead",
)


def inside_table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return, for each model and limit, the stream beside the entire model in memory."""
    found = {(r["model"], r["configuration"], r["limit_bytes"]): r for r in rows if not r["error"]}
    places = dict.fromkeys(
        (r["model"], r["limit_bytes"]) for r in rows if r["configuration"] == "stream-tee"
    )
    lines = []
    for model, limit in places:
        entire = found.get((model, "entire-memory-tee", limit))
        stream = found.get((model, "stream-tee", limit))
        # Those without a limit were asked in turns with it: the nearest are of the same job.
        free = _free(rows, model, limit)
        lines.append(
            [
                model,
                "none" if limit is None else format_size(limit),
                _ms(entire),
                _faults(entire),
                _ms(stream),
                _faults(stream),
                _ratio(stream, free),
                _ratio(entire, stream),
            ]
        )
    return lines


def table2_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the median over the models of on disk to memory only, in a sentence."""
    by = {(r["model"], r["configuration"]): r for r in rows if r["total_ms"]}
    ratios = [
        median(by[model, DISK]["total_ms"]) / median(row["total_ms"])
        for (model, configuration), row in by.items()
        if configuration == MEMORY and (model, DISK) in by
    ]
    if not ratios:
        return "on disk against memory only, without TEE: not measured"
    return (
        f"on disk against memory only, without TEE, caches warm: {median(ratios):.2f} in the "
        f"median of {len(ratios)} models"
    )


def _free(
    rows: Sequence[Mapping[str, Any]], model: str, limit: int | None
) -> Mapping[str, Any] | None:
    """Return the row of the stream without a limit that was measured beside that of `limit`."""
    for one, other in itertools.pairwise(rows):
        pair = (one["configuration"], other["configuration"])
        if one["model"] == model and one["limit_bytes"] == limit and pair == _PAIR:
            return other
    return None


_PAIR = ("stream-tee", "stream-free")


def _ms(row: Mapping[str, Any] | None) -> str:
    return f"{median(row['total_ms']):.1f}" if row and row["total_ms"] else "-"


def _faults(row: Mapping[str, Any] | None) -> str:
    return f"{median(row['major_faults']):.0f}" if row and row["major_faults"] else "-"


def _ratio(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    if not one or not other or not one["total_ms"] or not other["total_ms"]:
        return "-"
    return f"{median(one['total_ms']) / median(other['total_ms']):.2f}"
