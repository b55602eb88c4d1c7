"""The tables of the paper's results: heads and cells, of which pages and terminals make theirs."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.report.paper_form import FIGURES, NAMES, PANELS, TITLES
from inferonnx.report.results import limit_text, middle, size_text
from inferonnx.report.text import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inferonnx.report.results import Peer, Peers, Results, Row

Cell = str | tuple[str, ...]

NOTHING = "–"


class Sheet(NamedTuple):
    """A table; of a cell that is a tuple, the first text counts and the others go with it."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def table_2(results: Results) -> Sheet:
    """Return table 2: from disk against from memory, without TEE, TLS and encryption."""
    rows: list[tuple[Cell, ...]] = []
    ratios: dict[str, list[float]] = {"disk-plain": [], "disk-plain-cold": []}
    for model in measured_models(results):
        memory = results.row(model, "memory-plain")
        if memory is None or memory.ms is None:
            continue
        cells: list[Cell] = [title(model), ms_text(memory.ms)]
        for configuration, above in ratios.items():
            row = results.row(model, configuration)
            ratio = ratio_of(row, memory)
            if ratio is not None:
                above.append(ratio)
            cells += [ms_text(row.ms) if row else NOTHING, ratio_text(ratio)]
        rows.append(tuple(cells))
    if rows:
        warm, cold = (ratio_text(median(found) if found else None) for found in ratios.values())
        rows.append(("Median", "", "", warm, "", cold))
    heads = ("Model", "Memory only, ms", "On disk, ms", "ratio", "Caches dropped, ms", "ratio")
    return Sheet(heads, tuple(rows))


def figure_values(results: Results, number: int) -> Sheet:
    """Return what the bars of a figure show."""
    bars = FIGURES[number]
    rows = []
    for model in (model for models in PANELS.values() for model in models):
        found = [results.row(model, bar.configuration) for bar in bars]
        rows.append((title(model), *(ms_text(row.ms if row else None) for row in found)))
    return Sheet(("Median, ms", *(bar.name for bar in bars)), tuple(rows))


def within_limits(results: Results) -> Sheet:
    """Return the entire model in memory against the stream, under each limit measured."""
    limits = {r.limit_bytes for r in results.rows if r.configuration in _LIMITED}
    rows: list[tuple[Cell, ...]] = []
    for limit in sorted(limits, key=lambda n_bytes: -(n_bytes or 0)):
        for model in measured_models(results):
            entire, stream = (results.row(model, c, limit_bytes=limit) for c in _LIMITED)
            if stream is None or stream.limit_bytes != limit:
                continue
            free = results.row(model, "stream-free")
            rows.append(
                (
                    title(model),
                    size_text(limit) if limit else "none",
                    _with_faults(entire),
                    _with_faults(stream),
                    ratio_text(ratio_of(entire, stream)),
                    ms_text(free.ms) if free else NOTHING,
                    ratio_text(ratio_of(stream, free)),
                )
            )
    heads = ("Model", "Limit", "Entire model, in memory", "Our stream", "entire / stream")
    return Sheet((*heads, "Our stream without limit, ms", "stream / itself"), tuple(rows))


_LIMITED = ("entire-memory-tee", "stream-tee")


def peers_sheet(peers: Peers) -> Sheet:
    """Return other engines beside us: a row for each model, a column for each way to run it."""
    ways = list(dict.fromkeys((p.engine, p.form, p.storage) for p in peers.rows))
    ways.sort(key=lambda way: way[0] != _OURS)  # ours first, the others as they were measured
    found = {(p.model, p.engine, p.form, p.storage): p for p in peers.rows}
    models = _in_order(p.model for p in peers.rows)
    rows = []
    for model in models:
        ours = next((p for p in peers.rows if (p.model, p.engine) == (model, _OURS)), None)
        cells = [_peer_cell(found.get((model, *way)), ours) for way in ways]
        rows.append((title(model), *cells))
    return Sheet(
        ("Model", *(f"{e}: {', '.join(filter(None, how))}" for e, *how in ways)), tuple(rows)
    )


_OURS = "inferonnx"


def every_run(results: Results) -> Sheet:
    """Return every run that was counted, and how far apart they are."""
    heads = ("Model", "Configuration", "Total at the client, ms, each run", "spread")
    inner = ("in the server, ms", "inference, ms", "faults", "peak, MiB", "streamed, MB")
    return Sheet((*heads, *inner), tuple(_run_cells(row) for row in results.rows))


def _run_cells(row: Row) -> tuple[Cell, ...]:
    runs = " · ".join(map(ms_text, row.total_ms)) or NOTHING
    total: Cell = (runs, row.error) if row.error else runs
    return (
        title(row.model),
        (NAMES.get(row.configuration, row.configuration), limit_text(row.label, row.limit_bytes)),
        total,
        spread_text(row.total_ms),
        ms_text(middle(row.server_ms)),
        ms_text(middle(row.inference_ms)),
        count_text(middle(row.major_faults)),
        NOTHING if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.1f}",
        NOTHING if row.streamed_bytes is None else f"{row.streamed_bytes / 1e6:.0f}",
    )


def measured_models(results: Results) -> list[str]:
    """Return the models in the paper's order, others behind them."""
    return _in_order(row.model for row in results.rows)


def _in_order(models: Iterable[str]) -> list[str]:
    seen = dict.fromkeys(models)
    return [m for m in TITLES if m in seen] + [m for m in seen if m not in TITLES]


def title(model: str) -> str:
    """Return a model's title, its name where the paper has none."""
    return TITLES.get(model, model)


def ratio_of(row: Row | None, to: Row | None) -> float | None:
    """Return how many times longer one takes than the other."""
    if row is None or to is None or row.ms is None or not to.ms:
        return None
    return row.ms / to.ms


def ms_text(ms: float | None) -> str:
    """Return milliseconds with three digits that count."""
    if ms is None:
        return NOTHING
    return f"{ms:.2f}" if ms < 9.995 else f"{ms:.1f}" if ms < 99.95 else f"{ms:,.0f}"


def ratio_text(ratio: float | None) -> str:
    """Return a ratio with its sign of times."""
    if ratio is None:
        return NOTHING
    return (
        f"{ratio:.2f}×" if ratio < 9.995 else f"{ratio:.1f}×" if ratio < 99.95 else f"{ratio:,.0f}×"
    )


def count_text(count: float | None) -> str:
    """Return a count; a fraction where it is one of a median."""
    if count is None:
        return NOTHING
    return f"{count:,.0f}" if count == int(count) else f"{count:,.1f}"


def spread_text(values: Sequence[float]) -> str:
    """Return how far apart runs are, as a part of their median."""
    if len(values) < 2 or not median(values):
        return NOTHING
    return f"{(max(values) - min(values)) / median(values):.0%}"


def _with_faults(row: Row | None) -> Cell:
    if row is None or row.ms is None:
        return NOTHING if row is None or not row.error else ("failed", row.error)
    faults = middle(row.major_faults)
    return ms_text(row.ms) + " ms", "" if faults is None else f"{count_text(faults)} faults"


def _peer_cell(peer: Peer | None, ours: Peer | None) -> Cell:
    ms = middle(peer.latency_ms) if peer else None
    if peer is None or ms is None:
        return NOTHING if peer is None or not peer.error else ("failed", peer.error)
    mine = middle(ours.latency_ms) if ours else None
    ratio = "" if peer is ours or not mine else ratio_text(ms / mine)
    peak = "" if peer.peak_bytes is None else f"{peer.peak_bytes / 2**20:.0f} MiB"
    return f"{ms_text(ms)} ms", ratio, peak


def fault_text(here_ns: float | None) -> str:
    """Return what a fault costs here."""
    return NOTHING if here_ns is None else format_duration(here_ns / 1e9)
