"""`inferonnx paper report`: figures and report again, from what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.cli.options import verb
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs


def add_parser(commands: Verbs, name: str) -> None:
    """Add `report`."""
    parser = verb(
        commands,
        name,
        "Draw figures 4 and 5 and the report from the results of `run-all`, without measuring\n"
        "again. The same results give the same files.",
        "  inferonnx paper report\n  inferonnx paper report results/reference/paper.json -o again",
        overview="draw figures and report again, from what was measured",
    )
    parser.add_argument(
        "results",
        metavar="RESULTS.json",
        nargs="?",
        default="results/paper.json",
        help="(default: results/paper.json)",
    )
    parser.add_argument(
        "--peers",
        metavar="FILE",
        help="other engines' results (default: peers.json beside the results, where it is)",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="folder for the files (default: beside the results)"
    )
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from inferonnx.paper.reporting import redraw

    for path in redraw(options.results, peers=options.peers, folder=options.output):
        print(f"wrote {path}")
    return ExitCode.DONE
