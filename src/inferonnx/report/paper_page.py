"""The report of the paper's results: one HTML file that needs nothing else.

It reads without its program: every figure stands there as a table too. Strings of models
and files are escaped, and the page's policy allows nothing but its own two inline blocks.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from inferonnx.report.joining import joined_page
from inferonnx.report.markup import embedded, escaped, sheet, tiles
from inferonnx.report.paper_charts import chart, figure_card, partition_strips
from inferonnx.report.paper_form import FIGURES, PANELS, runs_text, tee_text
from inferonnx.report.paper_tables import (
    count_text,
    every_run,
    fault_text,
    measured_models,
    peers_sheet,
    ratio_of,
    ratio_text,
    table_2,
    within_limits,
)
from inferonnx.report.results import limit_text, middle

if TYPE_CHECKING:
    from inferonnx.report.paper_tables import Sheet
    from inferonnx.report.results import Peers, Results

_STYLES = ("base.css", "sheet.css", "paper.css")
_PROGRAMS = ("numbers.js", "elements.js", "theme.js", "bars.js", "paper.js")


def paper_page(results: Results, peers: Peers | None = None) -> str:
    """Return the report as one self-contained HTML page, to be written as UTF-8.

    The same results give the same page.
    """
    slots = {
        "summary": escaped(_summary(results)),
        "tiles": tiles(_facts(results)),
        "figures": "\n".join(figure_card(results, number) for number in FIGURES),
        "table_2": _card("Table 2: from disk against from memory", _TABLE_2, table_2(results)),
        "limits": _card("Within the limit", _LIMITS, within_limits(results)),
        "partitions": partition_strips(results),
        "peers": _peers(peers),
        "runs": _card("Every run", _RUNS, every_run(results), style="runs"),
        "machine": _machine(results),
        "data": embedded([chart(results, n, panel) for n in FIGURES for panel in PANELS]),
    }
    title = "The paper's experiments, repeated"
    return joined_page(
        "paper.html", title=title, styles=_STYLES, programs=_PROGRAMS, slots=slots
    ).text


_TABLE_2 = (
    "Without TEE, TLS, encryption and server. On disk: all weights are read again "
    "on each inference. Caches dropped: so are the pages of the file before each."
)
_LIMITS = (
    "The same limit for both. Faults are major page faults of one inference, in the median: "
    "they are what carries over to other machines."
)
_RUNS = (
    "The first run of each configuration warms up and is not counted. "
    "Spread: (most - least) / median."
)


def _summary(results: Results) -> str:
    runs = runs_text({len(row.total_ms) for row in results.rows if row.total_ms})
    parts = [tee_text(results), f"{runs} of each configuration"]
    if results.seconds is not None:
        parts.append(f"{results.seconds / 60:.0f} minutes")
    return " · ".join([*parts, results.started] if results.started else parts)


def _facts(results: Results) -> list[tuple[str, str, str]]:
    """Return the tiles at the head: how far ahead, and what it takes."""
    facts = []
    for configuration, name in _AGAINST.items():
        ratio = _median_ratio(results, configuration, "stream-tee")
        if ratio is not None:
            facts.append((name, ratio_text(ratio), "the time of our stream, median over models"))
    entire, stream = (_most_faults(results, c) for c in ("entire-memory-tee", "stream-tee"))
    if entire is not None and stream is not None:
        remark = f"an inference at most; entire models up to {count_text(entire)}"
        facts.append(("Major faults of our stream", count_text(stream), remark))
    disk = _median_ratio(results, "disk-plain", "memory-plain")
    if disk is not None:
        facts.append(
            ("From disk, without TEE", ratio_text(disk), "the time of memory only, median")
        )
    if results.fault is not None:
        facts.append(_fault_tile(results))
    return facts


_AGAINST = {
    "entire-memory-tee": "Entire model in memory, with TEE",
    "partitions-disk-tee": "The paper's partitions, with TEE",
}


def _fault_tile(results: Results) -> tuple[str, str, str]:
    fault = results.fault or {}
    swap = f"swap: {fault['swap']}; " if fault["swap"] else ""
    published = ""
    if fault["sgx_cycles"] is not None:
        source = f" ({fault['sgx_source']})" if fault["sgx_source"] else ""
        published = f"an SGX page swap takes {fault['sgx_cycles']:,.0f} cycles{source}"
    return "A page fault here", fault_text(fault["here_ns"]), swap + published


def _most_faults(results: Results, configuration: str) -> float | None:
    """Return the faults of the model that has the most."""
    rows = [row for row in results.rows if row.configuration == configuration]
    found = [middle(row.major_faults) for row in rows]
    return max((faults for faults in found if faults is not None), default=None)


def _median_ratio(results: Results, configuration: str, to: str) -> float | None:
    models = measured_models(results)
    found = [ratio_of(results.row(m, configuration), results.row(m, to)) for m in models]
    ratios = [ratio for ratio in found if ratio is not None]
    return median(ratios) if ratios else None


def _card(head: str, note: str, table: Sheet, *, style: str = "") -> str:
    if not table.rows:
        return ""
    return (
        f'<section class="card {style}"><h2>{escaped(head)}</h2><p class="note">{escaped(note)}</p>'
        f"{sheet(table.heads, table.rows)}</section>"
    )


def _peers(peers: Peers | None) -> str:
    if peers is None:
        return ""
    held = limit_text(peers.label, peers.limit_bytes)
    note = (
        f"The same models in the same run, latency in the median, {held}. Below it: how many "
        "times ours that is, and the peak of memory."
    )
    return _card("Other engines beside us", note, peers_sheet(peers))


def _machine(results: Results) -> str:
    facts = [*results.machine.items(), ("limit", limit_text(results.label, results.limit_bytes))]
    if results.partitions_folder:
        facts.append(("partitions", results.partitions_folder))
    facts.append(("runs", str(results.runs)))
    return "".join(
        f"<div><dt>{escaped(name.replace('_bytes', ''))}</dt><dd>{escaped(fact)}</dd></div>"
        for name, fact in facts
    )
