"""The bars of the report: figures as cards, their data, and the strips of partitions.

The bars themselves are drawn by the page's program; what stands here reads without it.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.report.markup import escaped, sheet
from inferonnx.report.paper_form import FIGURES, PANELS, caption, figure_head, figure_name, tee_text
from inferonnx.report.paper_tables import (
    count_text,
    figure_values,
    measured_models,
    ms_text,
    title,
)
from inferonnx.report.results import limit_text, middle
from inferonnx.report.text import format_duration

if TYPE_CHECKING:
    from inferonnx.report.results import Results, Row


def figure_card(results: Results, number: int) -> str:
    """Return a figure's card: its legend, both panels, and what it shows as a table."""
    keys = "".join(
        f'<li><span class="swatch bar-{bar.configuration}"></span>{escaped(bar.name)}</li>'
        for bar in FIGURES[number]
    )
    panels = "".join(
        f'<figure><div class="bars" id="{figure_name(number, panel)}" role="img" '
        f'aria-label="{escaped(f"Figure {number}, {panel} models, as bars")}"></div>'
        f"<figcaption>{panel.capitalize()} models</figcaption></figure>"
        for panel in PANELS
    )
    values = figure_values(results, number)
    return (
        f'<section class="card figure" aria-labelledby="figure{number}-heading"><div class="bar">'
        f'<h2 id="figure{number}-heading">Figure {number}. {escaped(figure_head(number))}</h2>'
        f'<div class="controls">{_scale_choice(number)}</div></div>'
        f'<p class="held">{escaped(tee_text(results))}</p>'
        f'<ul class="legend">{keys}</ul><div class="panels">{panels}</div>'
        f'<p class="caption">{escaped(caption(results, number))}</p>'
        f"<details><summary>As a table</summary>{sheet(values.heads, values.rows)}</details>"
        "</section>"
    )


def _scale_choice(number: int) -> str:
    kinds = (("linear", "Linear", " checked"), ("log", "Logarithmic", ""))
    return (
        '<fieldset class="choice"><legend class="hidden">Scale</legend>'
        + "".join(
            f'<label><input type="radio" name="scale{number}" value="{kind}"{state}>'
            f"<span>{name}</span></label>"
            for kind, name, state in kinds
        )
        + "</fieldset>"
    )


def chart(results: Results, number: int, panel: str) -> dict[str, Any]:
    """Return one panel as the page's program draws it."""
    bars = FIGURES[number]
    return {
        "id": figure_name(number, panel),
        "scale": f"scale{number}",
        "groups": [title(model) for model in PANELS[panel]],
        "bars": [{"kind": b.configuration, "name": b.name, "ours": b.is_ours} for b in bars],
        "values": [
            [_bar(results.row(model, bar.configuration)) for bar in bars] for model in PANELS[panel]
        ],
    }


def _bar(row: Row | None) -> dict[str, Any] | None:
    if row is None or row.ms is None:
        return None
    return {
        "ms": row.ms,
        "runs": list(row.total_ms),
        "facts": [
            [name, text]
            for name, text in (
                ("In the server", _ms(row.server_ms)),
                ("Inference", _ms(row.inference_ms)),
                ("Major faults", count_text(middle(row.major_faults)) if row.major_faults else ""),
                ("Peak", f"{row.peak_bytes / 2**20:.1f} MiB" if row.peak_bytes else ""),
                ("Limit", limit_text(row.label, row.limit_bytes)),
            )
            if text
        ],
    }


def _ms(values: tuple[float, ...] | None) -> str:
    return f"{ms_text(middle(values))} ms" if values else ""


def partition_strips(results: Results) -> str:
    """Return the time of each partition as strips, a model each."""
    strips = []
    for model in measured_models(results):
        row = results.row(model, "partitions-disk-tee")
        runs = row.partition_ms if row is not None else None
        if runs and len({len(run) for run in runs}) == 1:
            parts = [median(run[i] for run in runs) for i in range(len(runs[0]))]
            strips.append(_strip(title(model), parts))
    if not strips:
        return ""
    return (
        '<section class="card"><h2>Time of each partition</h2><p class="note">'
        "The paper's partitions on disk, with TEE; the median of each, in the order of a pass."
        f'</p><dl class="strips">{"".join(strips)}</dl></section>'
    )


def _strip(name: str, parts: list[float]) -> str:
    total = sum(parts)
    at, shapes = 0.0, []
    for i, ms in enumerate(parts):
        width = 1000 * ms / total if total else 0.0
        words = escaped(f"Partition {i + 1}: {format_duration(ms / 1e3)}")
        shapes.append(
            f'<rect class="odd{i % 2}" x="{at:.2f}" width="{width:.2f}" height="20">'
            f"<title>{words}</title></rect>"
        )
        at += width
    count = "1 partition" if len(parts) == 1 else f"{len(parts)} partitions"
    return (
        f"<dt>{escaped(name)}<span>{count}, {format_duration(total / 1e3)}</span></dt><dd>"
        f'<svg viewBox="0 0 1000 20" preserveAspectRatio="none" role="img" '
        f'aria-label="{escaped(count)}">{"".join(shapes)}</svg></dd>'
    )
