"""`inferonnx plan`: show how a model would be cut for a memory budget."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferonnx.cli.options import add_json, add_memory, verb
from inferonnx.cli.progress import Progress
from inferonnx.cli.seal import add_planning, check_planning_output, planning_arguments
from inferonnx.errors import ExitCode
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `plan`."""
    parser = verb(
        verbs,
        name,
        "Measure a model on a sample input, find the cuts and what stays resident with the\n"
        "least predicted latency whose peak fits the budget, and try them on the real engine.",
        "  inferonnx plan resnet.onnx --memory 85MiB\n"
        "  inferonnx plan resnet.onnx --memory 85MiB --html plan.html\n"
        "  inferonnx plan resnet.onnx --least",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    add_memory(parser, "85MiB")
    add_planning(parser)
    parser.add_argument(
        "--least", action="store_true", help="print the least budget that works, and nothing else"
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write one self-contained page that shows the plan"
    )
    add_json(parser)
    parser.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    from inferonnx.app.owner.plan_report import plan_facts
    from inferonnx.app.owner.planning import least_memory, plan_model
    from inferonnx.app.owner.sealing import layout_for
    from inferonnx.model import prepare
    from inferonnx.report import plan_page, table
    from inferonnx.runtime.whole_files import whole_file

    check_planning_output(options.html, options)
    progress = Progress()
    arguments = planning_arguments(options)
    try:
        with prepare(
            options.model,
            dims=arguments["dims"],
            sample=arguments["sample"],
            layout=layout_for("native", options.strategy),
            progress=progress,
        ) as prepared:
            if options.least:
                least = least_memory(prepared, suite=options.suite, progress=progress)
            else:
                planned = plan_model(
                    prepared,
                    budget_bytes=options.memory,
                    suite=options.suite,
                    strategy=options.strategy,
                    memory_intensive=arguments["memory_intensive"],
                    enforce=options.strategy != "paper",
                    progress=progress,
                )
                name = Path(options.model).name
                facts = plan_facts(planned, model=name, suite=options.suite)
    finally:
        progress.done()
    if options.least:
        answer = {"schema": "inferonnx.least/1", "least_bytes": least}
        print(json.dumps(answer) if options.json else format_size(least))
        return ExitCode.DONE
    if options.html:
        with whole_file(options.html) as file:
            file.write(plan_page(facts).encode())
        print(f"wrote {options.html}", file=sys.stderr)
    if options.json:
        print(json.dumps(facts))
    else:
        _show(facts, table)
    return ExitCode.DONE


def _show(facts: dict[str, Any], table: Any) -> None:
    rows = [
        [
            i,
            f"{part['start']}-{part['stop'] - 1}",
            f"{part['weight_bytes'] / 2**20:.2f}",
            f"{part['activation_bytes'] / 2**20:.2f}",
            f"{part['time_s'] * 1e3:.2f}",
            "resident" if part["resident"] else "streamed",
            ", ".join(_kinds(part["operators"])),
        ]
        for i, part in enumerate(facts["partitions"])
    ]
    heads = ["partition", "nodes", "weights MiB", "activations MiB", "ms", "weights", "operators"]
    print(table(heads, rows))
    print(
        f"peak {format_size(facts['peak_bytes'])} of {format_size(facts['budget_bytes'])} "
        f"({_peak_parts(facts)}); least {format_size(facts['least_bytes'])}"
    )
    print(
        f"latency {facts['latency_s'] * 1e3:.1f} ms predicted, "
        f"{format_size(facts['streamed_bytes'])} streamed a pass"
    )
    for note in facts["notes"]:
        print(f"note: {note}", file=sys.stderr)


def _peak_parts(facts: dict[str, Any]) -> str:
    """Return what the peak is made of: opening where that takes the most, else the parts."""
    parts = {
        name: facts[f"{kind}_bytes"]
        for name, kind in (
            ("floor", "floor"),
            ("sessions", "session"),
            ("resident", "resident"),
            ("buffer", "buffer"),
            ("activations", "activation"),
        )
    }
    sums = ", ".join(f"{name} {format_size(n_bytes)}" for name, n_bytes in parts.items())
    in_a_pass = sum(parts.values())
    if in_a_pass >= facts["open_peak_bytes"]:
        return sums
    return f"while it is opened; in a pass {format_size(in_a_pass)}: {sums}"


def _kinds(operators: list[dict[str, Any]]) -> list[str]:
    counts: dict[str, int] = {}
    for operator in operators:
        counts[operator["op_type"]] = counts.get(operator["op_type"], 0) + 1
    ordered = sorted(counts.items(), key=lambda item: -item[1])[:4]
    return [f"{kind} {count}" if count > 1 else kind for kind, count in ordered]
