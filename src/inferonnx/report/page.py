"""The plan's page: one HTML file that needs nothing else.

The page's text, style and programs live in `assets/`; this file joins them with
the data. Three things keep a model's strings from becoming markup or code:
they are escaped here wherever they stand in HTML, the data is embedded as JSON
without a single `<`, and the page's programs set text, never markup. Should
all of that fail, the page's own policy (CSP) allows two inline blocks by their
hashes, and no connection at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferonnx.report.joining import joined_page
from inferonnx.report.markup import embedded, escaped, tiles
from inferonnx.report.schema import checked_plan
from inferonnx.report.text import format_duration
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLES = ("base.css", "plan.css")
_PROGRAMS = (
    "numbers.js",
    "elements.js",
    "theme.js",
    "scale.js",
    "plot.js",
    "timeline.js",
    "table.js",
    "plan.js",
)
"""In the order in which they build on each other."""


def plan_page(data: Mapping[str, Any]) -> str:
    """Return a plan as one self-contained HTML page.

    Args:
        data: An object of the schema "inferonnx.plan/1" (`report/schema.py` describes it).

    Returns:
        The page; to be written as UTF-8. The same data gives the same page.

    Raises:
        UsageError: `data` does not follow the schema.
    """
    plan = checked_plan(data)
    slots = {
        "model": escaped(plan["model"]),
        "summary": escaped(_summary(plan)),
        "peak": escaped(format_size(plan["peak_bytes"])),
        "verdict": escaped(_verdict(plan)),
        "state": "over" if plan["peak_bytes"] > plan["budget_bytes"] else "within",
        "tiles": _tiles(plan),
        "notes": _notes(plan["notes"]),
        "data": embedded(plan),
    }
    title = escaped(f"{plan['model']}: plan for {format_size(plan['budget_bytes'])}")
    return joined_page(
        "plan.html", title=title, styles=_STYLES, programs=_PROGRAMS, slots=slots
    ).text


def _summary(plan: Mapping[str, Any]) -> str:
    parts = plan["partitions"]
    n_streamed = sum(part["weight_bytes"] > 0 and not part["resident"] for part in parts)
    facts = [
        f"{plan['strategy']} plan",
        "1 partition" if len(parts) == 1 else f"{len(parts)} partitions",
        f"{n_streamed} streamed" if n_streamed else "all resident",
    ]
    if plan["suite"]:
        facts.append(plan["suite"])
    return " · ".join(facts)


def _verdict(plan: Mapping[str, Any]) -> str:
    budget, room = plan["budget_bytes"], plan["budget_bytes"] - plan["peak_bytes"]
    if room < 0:
        return f"{format_size(-room)} above the budget of {format_size(budget)}"
    return f"of {format_size(budget)}, {format_size(room)} to spare"


def _tiles(plan: Mapping[str, Any]) -> str:
    weights = plan["resident_bytes"] + plan["streamed_bytes"]
    share = f"{plan['resident_bytes'] / weights:.0%} of the weights" if weights else "no weights"
    facts = [
        ("Budget", format_size(plan["budget_bytes"]), "whole process, at its peak"),
        ("Predicted latency", format_duration(plan["latency_s"]), "one pass"),
        ("Streamed", format_size(plan["streamed_bytes"]), "read and opened each pass"),
        ("Resident", format_size(plan["resident_bytes"]), share),
    ]
    if plan["least_bytes"]:
        facts.append(("Least budget", format_size(plan["least_bytes"]), "that still works"))
    return tiles(facts)


def _notes(notes: list[str]) -> str:
    if not notes:
        return ""
    items = "".join(f"<li><bdi>{escaped(note)}</bdi></li>" for note in notes)
    return (
        f'<section class="card notes" aria-label="Notes"><h2>Notes</h2><ul>{items}</ul></section>'
    )
