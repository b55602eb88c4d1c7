"""`inferonnx paper memory-intensive-ops`: operators timed outside and inside the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.cli.options import positive, size, verb
from inferonnx.cli.paper.models import add_models, chosen
from inferonnx.cli.printing import say
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode
from inferonnx.paper.artifact import OVERHEAD_FOLDER
from inferonnx.plan import OVERHEAD_LIMIT
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from inferonnx.cli.main import Verbs
    from inferonnx.paper.memory_intensive import Determined

RUNS = 3
SHOWN = 3
"""Of each model; the list has all of them."""

OVERVIEW = "find the operators that a memory limit slows most"


def add_parser(commands: Verbs, name: str) -> None:
    """Add `memory-intensive-ops`."""
    parser = verb(
        commands,
        name,
        "Time each operator outside and inside the limit, and list those whose overhead\n"
        f"(inside - outside) / outside is above {OVERHEAD_LIMIT:.0f}. Without SGX, inside is the "
        "whole chain of\noperators in one process under the limit. What is measured for this "
        "limit stays.",
        "  inferonnx paper memory-intensive-ops --epc 85MiB --allow-system-changes",
        overview=OVERVIEW,
    )
    parser.add_argument(
        "--epc", metavar="SIZE", type=size, default=85 * MIB, help="the limit (default: 85MiB)"
    )
    parser.add_argument(
        "--allow-system-changes",
        action="store_true",
        help="let --epc add swap and change settings of the machine, which are restored",
    )
    parser.add_argument(
        "--runs", metavar="N", type=positive, default=RUNS, help=f"(default: {RUNS})"
    )
    add_models(parser)
    parser.add_argument(
        "-o",
        "--output",
        default=OVERHEAD_FOLDER,
        help=f"folder for times and list (default: {OVERHEAD_FOLDER})",
    )
    parser.set_defaults(run=_determine)


def _determine(options: argparse.Namespace) -> int:
    from inferonnx.bench.limiting import limited
    from inferonnx.paper.memory_intensive import check_stored, determine
    from inferonnx.paper.overheads import overheads_path

    models = chosen(options)
    check_stored(models, zoo=options.zoo, overheads=options.output)
    progress = Progress()
    found: list[Determined] = []
    try:
        with limited(
            options.epc,
            allow_system_changes=options.allow_system_changes,
            progress=progress,
            say=say,
        ) as limit:
            for one in determine(
                models,
                limit=limit,
                limit_bytes=options.epc,
                runs=options.runs,
                zoo=options.zoo,
                overheads=options.output,
                say=say,
                progress=progress,
            ):
                found.append(one)
                progress.done()
                say(f"{one.name}: {'measured' if one.is_new else 'unchanged'}, {one.path}")
    finally:
        progress.done()
    print(_table(found))
    n_listed = sum(len(one.heaviest) for one in found)
    if not n_listed:
        print(f"no operator has an overhead above {OVERHEAD_LIMIT:.0f}: the list is empty")
    for one in found:
        for operator, overhead in list(one.heaviest.items())[:SHOWN]:
            print(f"{one.name}: {operator}: {overhead:.2f}x")
    print(f"wrote {overheads_path(options.output)}")
    return ExitCode.DONE


def _table(found: Sequence[Determined]) -> str:
    from inferonnx.report import table

    heads = ["model", "operators", "outside ms", "inside ms", "highest overhead", "above", "label"]
    rows = []
    for one in found:
        operators = one.times.operators
        overheads = [operator.overhead or 0.0 for operator in operators]
        rows.append(
            [
                one.name,
                len(operators),
                f"{sum(operator.outside_ms or 0 for operator in operators):.1f}",
                f"{sum(operator.inside_ms or 0 for operator in operators):.1f}",
                f"{max(overheads, default=0):.2f}",
                len(one.heaviest),
                operators[0].label if operators else "",
            ]
        )
    return table(heads, rows)
