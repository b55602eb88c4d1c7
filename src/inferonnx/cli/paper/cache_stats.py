"""`inferonnx paper cache-stats N`: instructions per cycle of each model, or what stands for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.cli.options import positive, verb
from inferonnx.cli.paper.models import add_models, chosen
from inferonnx.cli.printing import say
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from inferonnx.cli.main import Verbs
    from inferonnx.paper.cache_stats import CacheRow

MINUTES = 60
OVERVIEW = "count instructions, cycles and cache misses of each model"


def add_parser(commands: Verbs, name: str) -> None:
    """Add `cache-stats`."""
    parser = verb(
        commands,
        name,
        "Instructions per cycle of an inference, by perf where the machine counts cycles;\n"
        "elsewhere instructions and cache misses of one inference by a simulator (valgrind),\n"
        "labelled so, a model on each core. Slow there: ten minutes for a large model. What the\n"
        "table has stays.",
        "  inferonnx paper cache-stats 10",
        overview=OVERVIEW,
    )
    parser.add_argument("runs", metavar="N", type=positive, help="inferences to count by perf")
    parser.add_argument(
        "--minutes",
        metavar="N",
        type=positive,
        default=MINUTES,
        help=f"begin no model after this; run again to go on (default: {MINUTES})",
    )
    add_models(parser)
    parser.add_argument(
        "-o", "--output", default="results", help="folder of table3.csv (default: results)"
    )
    parser.set_defaults(run=_count)


def _count(options: argparse.Namespace) -> int:
    from inferonnx.paper.cache_stats import TABLE, cache_stats, read_table
    from inferonnx.paper.counters import choose_counter

    models, path = chosen(options), os.path.join(options.output, TABLE)
    read_table(path)
    counter = choose_counter()
    progress = Progress()
    rows: list[CacheRow] = []
    try:
        for row, is_new in cache_stats(
            models,
            options.runs,
            counter=counter,
            folder=options.output,
            zoo=options.zoo,
            limit_s=60.0 * options.minutes,
            say=say,
            progress=progress,
        ):
            progress.done()
            say(f"{row.model}: {'counted' if is_new else 'unchanged'}")
            rows.append(row)
    finally:
        progress.done()
    print(f"{counter.label}; figures of one inference on one thread")
    print(_table(rows))
    left = [name for name in models if name not in {row.model for row in rows}]
    if left:
        say(f"not counted within {options.minutes} minutes: {', '.join(left)}; run again to go on")
    print(f"wrote {path}")
    return ExitCode.DONE


def _table(rows: Sequence[CacheRow]) -> str:
    from inferonnx.report import table

    heads = ["model", "instructions", "a cycle", "cache references", "cache misses", "miss rate"]
    return table(
        heads,
        [
            [
                row.model,
                f"{row.instructions:.0f}",
                "-" if row.instructions_per_cycle is None else f"{row.instructions_per_cycle:.2f}",
                f"{row.cache_references:.0f}",
                f"{row.cache_misses:.0f}",
                f"{row.miss_rate:.3f}",
            ]
            for row in rows
        ],
    )
