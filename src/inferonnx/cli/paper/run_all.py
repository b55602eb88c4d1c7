"""`inferonnx paper run-all`: everything of the paper's evaluation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from inferonnx.cli.options import add_json, positive, size, verb
from inferonnx.cli.paper.models import add_models, chosen, tell
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_DESCRIPTION = """\
Measure the paper's configurations and our own: figures 4 and 5, table 2, the report, and
the times of all operators. Missing models are built, missing partitions made. What is done
and unchanged is not measured again, so an interrupted run goes on where it was."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add the command."""
    parser = verb(
        verbs,
        name,
        _DESCRIPTION,
        "  inferonnx paper run-all partitions/ 3\n"
        "  inferonnx paper run-all partitions/ 3 --allow-system-changes\n"
        "  inferonnx paper run-all partitions/ 1 --models squeezenet1.0-7 --epc 64MiB",
        overview="measure everything, and draw the figures and the table",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of partitions in each model's folder"
    )
    parser.add_argument("runs", metavar="RUNS", type=positive, help="runs that count, of each")
    add_models(parser)
    parser.add_argument(
        "--epc",
        metavar="SIZE",
        type=size,
        default="85MiB",
        help="the limit that is enforced (default: 85MiB)",
    )
    parser.add_argument(
        "--allow-system-changes",
        action="store_true",
        help="make swap and set vm.page-cluster meanwhile; both are put back",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="results", help="folder (default: results)"
    )
    parser.add_argument(
        "--operators",
        metavar="DIR",
        default="memory_intensive_ops",
        help="folder for operators' times (default: memory_intensive_ops)",
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from inferonnx.paper.running import Plan, run_all
    from inferonnx.paper.summary import HEAD, inside_table, table2_line
    from inferonnx.report import table

    plan = Plan(
        partitions=options.folder,
        n_runs=options.runs,
        names=tuple(chosen(options)),
        zoo=options.zoo,
        results=options.output,
        limit_bytes=options.epc,
        allow_system_changes=options.allow_system_changes,
        overheads=options.operators,
    )
    progress = Progress()

    def say(text: str) -> None:
        progress.done()
        tell(text)

    try:
        found = run_all(plan, say=say, progress=progress)
    finally:
        progress.done()
    if options.json:
        print(json.dumps(found))
    else:
        print(table(list(HEAD), inside_table(found["rows"])))
        print(table2_line(found["rows"]))
        print(f"limit: {found['label']}")
    return ExitCode.DONE
