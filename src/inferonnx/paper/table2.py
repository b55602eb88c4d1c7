"""Table 2: memory only against on disk, both without TEE, TLS and encryption, as CSV.

A line a model: medians in milliseconds, on disk with the file in the page cache and with
its pages dropped before each run, and the ratios to memory only; then the medians of the
ratios over the models.
"""

from __future__ import annotations

import csv
import io
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.paper.artifact import TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEMORY, DISK, COLD = "memory-plain", "disk-plain", "disk-plain-cold"
HEAD = (
    "model",
    "memory only [ms]",
    "on disk [ms]",
    "on disk / memory only",
    "on disk, cold cache [ms]",
    "on disk, cold cache / memory only",
    "weights read [bytes]",
    "label",
)


def table2(rows: Sequence[Mapping[str, Any]], models: Sequence[str]) -> str:
    """Return the table's text.

    Args:
        rows: As results/paper.json has them.
        models: In the table's order; one that was not measured has empty fields.
    """
    found = {(row["model"], row["configuration"]): row for row in rows}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    ratios: list[tuple[float | None, float | None]] = []
    for model in models:
        memory, disk, cold = (found.get((model, one)) for one in (MEMORY, DISK, COLD))
        times = [_median(row) for row in (memory, disk, cold)]
        ratio = (_ratio(times[1], times[0]), _ratio(times[2], times[0]))
        ratios.append(ratio)
        writer.writerow(
            (
                TITLES.get(model, model),
                _text(times[0]),
                _text(times[1]),
                _text(ratio[0], 3),
                _text(times[2]),
                _text(ratio[1], 3),
                disk["streamed_bytes"] if disk else "",
                disk["label"] if disk else "",
            )
        )
    warm = [one for one, _ in ratios if one]
    cold_ = [one for _, one in ratios if one]
    middle = [_text(median(some) if some else None, 3) for some in (warm, cold_)]
    writer.writerow(("median", "", "", middle[0], "", middle[1], "", ""))
    return out.getvalue()


def _median(row: Mapping[str, Any] | None) -> float | None:
    return median(row["total_ms"]) if row and row["total_ms"] else None


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one and other else None


def _text(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"
