"""A server's status as lines of a terminal: bars, figures, a table of models.

A line is never wider than it may be, whatever a server calls its models. Bars can be
read without colours: each kind of memory has a character of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.report.paint import (
    BOLD,
    DIM,
    MODELS,
    RED,
    REQUESTS,
    RESIDENT,
    REVERSE,
    SERVER,
    Look,
    Paint,
)
from inferonnx.report.text import clipped, format_duration, padded, printable
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferonnx.report.live import Activity, ModelStatus, Rates, ServerStatus

LEAST_WIDTH = 20
WIDEST_NAME = 48
NARROWEST_NAME = 24

ABOVE, DENSE = 10, 7
"""Lines above the table of models; without the empty ones, where there are few."""

SORTS = ("name", "requests", "p99", "memory")
"""By what models can be sorted; all but names from the largest down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is looked at.

    Attributes:
        title: Where the server is.
        width: Columns.
        height: Lines; None for as many as there are.
        first: Number of the first model that is shown.
        sort: One of `SORTS`.
        notice: A sentence at the bottom in the keys' place.
        look: What the terminal can show.
    """

    title: str
    width: int
    height: int | None = None
    first: int = 0
    sort: str = "name"
    notice: str = ""
    look: Look


_STATES = {"open": "32", "ready": "", "locked": "2", "unavailable": "31"}


class _Column(NamedTuple):
    """A column of figures.

    Attributes:
        head: In capitals, as the table's head has it.
        width: Its columns.
        rank: Where there is no room, the highest goes first; the state stays.
        text: Its cell.
    """

    head: str
    width: int
    rank: int
    text: Callable[[ModelStatus, Rates | None], str]


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _rate(value: float) -> str:
    return "0" if not value else f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


_COLUMNS = (
    _Column("STATE", 11, 0, lambda model, _: model.shown_state),
    _Column("MEMORY", 10, 4, lambda model, _: _size(model.share_bytes)),
    _Column("REQ/S", 6, 1, lambda _, rates: _rate(rates.requests) if rates else "-"),
    _Column("P50", 7, 3, lambda _, rates: _duration(rates.p50_s if rates else None)),
    _Column("P90", 7, 6, lambda _, rates: _duration(rates.p90_s if rates else None)),
    _Column("P99", 7, 2, lambda _, rates: _duration(rates.p99_s if rates else None)),
    _Column("BUSY", 4, 5, lambda model, _: str(model.pending)),
    _Column("ANSWERED", 9, 8, lambda model, _: str(model.requests)),
    _Column("FAILED", 6, 7, lambda model, _: str(model.failed)),
)


def _size(n_bytes: int) -> str:
    return format_size(n_bytes) if n_bytes else "-"


def screen(status: ServerStatus, activity: Activity | None, view: View) -> list[str]:
    """Return the lines of a server's status, none wider or more than the view allows."""
    paint = Paint(max(LEAST_WIDTH, view.width), view.look)
    above = _above(status, activity, paint, title=view.title)
    models = _sorted(status.models, activity, view.sort)
    if view.height is None:
        return above + _table(models, activity, paint)
    n_above, room = _divided(view.height)
    if n_above < len(above):
        above = [line for line in above if line][:n_above]
    first = clamp_first(len(models), view)
    shown = models[first : first + room]
    lines = above + _table(shown, activity, paint)
    lines = lines[: view.height - 1]
    lines += [""] * (view.height - 1 - len(lines))
    place = f"   up, down: {first + 1} to {first + len(shown)} of {len(models)}"
    return [*lines, _foot(view, "" if len(shown) == len(models) else place, paint)]


def clamp_first(n_models: int, view: View) -> int:
    """Return how far down the table of models is, no farther than there are models."""
    room = n_models if view.height is None else _divided(view.height)[1]
    return max(0, min(view.first, n_models - room))


def _divided(height: int) -> tuple[int, int]:
    """Return the lines above the table, and those of models: the rest but for head and foot."""
    n_above = ABOVE if height >= ABOVE + 6 else min(DENSE, max(0, height - 4))
    return n_above, max(0, height - n_above - 2)


def _above(
    status: ServerStatus, activity: Activity | None, paint: Paint, *, title: str
) -> list[str]:
    memory = status.memory
    bars = paint.width - 10
    over = memory.peak_bytes > memory.budget_bytes
    whole = max(memory.budget_bytes, memory.peak_bytes, 1)
    parts = [
        (SERVER, memory.server_bytes),
        (MODELS, memory.models_bytes),
        (REQUESTS, memory.requests_bytes),
    ]
    pending = sum(model.pending for model in status.models)
    rates = activity.all if activity else None
    failed = f", {_rate(rates.failed)} failed" if rates and rates.failed else ""
    return [
        paint.ends(
            (f"InferONNX {status.version}  ", BOLD, title),
            f"up {_span(status.uptime_s)}, {_counted(status.connections, 'connection')}",
        ),
        "",
        paint.line(
            ("Memory    ", BOLD),
            (f"{format_size(memory.resident_bytes)} of {format_size(memory.budget_bytes)}", ""),
            (f", at most {format_size(memory.peak_bytes)} until now", RED if over else ""),
        ),
        paint.line(("promised  ", DIM), *paint.bar(parts, whole, bars)),
        paint.line(
            ("resident  ", DIM),
            *paint.bar([(RESIDENT, memory.resident_bytes)], whole, bars, memory.peak_bytes),
        ),
        paint.line(("          ", ""), *_legend(status, paint)),
        "",
        paint.line(
            ("Requests  ", BOLD),
            (f"{_rate(rates.requests) if rates else '-'}/s{failed}", ""),
            (f"   p50 {_duration(rates.p50_s if rates else None)}", ""),
            (f"   p90 {_duration(rates.p90_s if rates else None)}", ""),
            (f"   p99 {_duration(rates.p99_s if rates else None)}", ""),
        ),
        paint.line(
            ("Work      ", BOLD),
            (f"{pending} under way, {status.requests_waiting} wait for memory", ""),
            (f"   {format_size(round(rates.streamed_bytes)) if rates else '-'}/s streamed", ""),
            (f"   {f'{activity.cores:.2f}' if activity else '-'} cores", ""),
        ),
        "",
    ]


def _legend(status: ServerStatus, paint: Paint) -> list[tuple[str, str]]:
    memory = status.memory
    words = (
        (SERVER, f"server {memory.server_bytes / MIB:.1f}"),
        (MODELS, f"models {_of(memory.models_bytes, memory.models_limit_bytes)}"),
        (REQUESTS, f"requests {_of(memory.requests_bytes, memory.requests_limit_bytes)} MiB"),
    )
    return [
        segment
        for kind, text in words
        for segment in ((paint.block(kind), kind.colour), (f" {text}  ", DIM))
    ]


def _of(n_bytes: int, limit_bytes: int) -> str:
    return f"{n_bytes / MIB:.1f} of {limit_bytes / MIB:.1f}"


def _table(models: Sequence[ModelStatus], activity: Activity | None, paint: Paint) -> list[str]:
    columns = _fitting(paint.width)
    left = paint.width - sum(column.width + 1 for column in columns)
    name_width = min(left, WIDEST_NAME)
    head = "".join(
        f" {padded(column.head, column.width, to_right=column.head != 'STATE')}"
        for column in columns
    )
    lines = [paint.line((padded("MODEL", name_width) + head, REVERSE), fills=True)]
    for model in models:
        rates = activity.models.get(model.key) if activity else None
        name = padded(_title(model, name_width), name_width)
        state, *others = columns
        word = padded(clipped(printable(state.text(model, rates)), state.width), state.width)
        segments = [(f"{name} ", ""), (word, _STATES.get(model.shown_state, ""))]
        if model.reason and not model.requests:  # there are no figures to show
            segments.append((f" {printable(model.reason)}", DIM))
        else:
            cells = (padded(c.text(model, rates), c.width, to_right=True) for c in others)
            segments.append(("".join(f" {cell}" for cell in cells), ""))
        lines.append(paint.line(*segments))
    return lines if models else [*lines, paint.line(("no models yet", DIM))]


def _title(model: ModelStatus, width: int) -> str:
    """Return name and version; where there is no room, the name is cut."""
    version = f" {model.version}"
    return clipped(printable(model.name), max(0, width - len(version))) + version


def _fitting(width: int) -> list[_Column]:
    """Return the columns that leave a name its room."""
    columns = list(_COLUMNS)
    while len(columns) > 1 and width - sum(c.width + 1 for c in columns) < NARROWEST_NAME:
        columns.remove(max(columns, key=lambda column: column.rank))
    return columns


def _sorted(
    models: Sequence[ModelStatus], activity: Activity | None, sort: str
) -> list[ModelStatus]:
    def figure(model: ModelStatus) -> float:
        rates = activity.models.get(model.key) if activity else None
        if sort == "memory":
            return -model.share_bytes
        if rates is None or sort == "name":
            return 0.0
        return -rates.requests if sort == "requests" else -(rates.p99_s or 0.0)

    return sorted(models, key=lambda model: (figure(model), model.name, model.version))


def _foot(view: View, place: str, paint: Paint) -> str:
    if view.notice:
        return paint.line((printable(view.notice), RED))
    return paint.line((f"q quit   s sort: {view.sort}{place}", DIM))


def _span(seconds: float) -> str:
    """Return a time in its two largest units: "3 h 12 min"."""
    whole = int(seconds)
    found: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if whole >= size or found:
            found.append(f"{whole // size} {unit}")
            whole %= size
    return " ".join(found[:2]) or "0 s"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
