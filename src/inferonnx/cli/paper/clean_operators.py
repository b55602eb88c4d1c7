"""`inferonnx paper clean-operators`: remove what split-operators made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.cli.options import verb
from inferonnx.cli.paper.models import add_models, chosen
from inferonnx.cli.printing import printable
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_SHOWN = 3


def add_parser(verbs: Verbs, name: str) -> None:
    """Add the command."""
    parser = verb(
        verbs,
        name,
        "Remove the files of each model's folder operators/ that split-operators made, and\n"
        "nothing else: a file that is not in its index, or was changed since, is kept.",
        "  inferonnx paper clean-operators",
        overview="remove the operators' files",
    )
    add_models(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from inferonnx.paper.operators import clean_operators

    for name, removed in clean_operators(chosen(options), zoo=options.zoo):
        if removed is None:
            print(f"{name}: nothing to remove")
            continue
        print(f"{name}: {removed.n_files} files removed")
        if removed.kept:
            more = len(removed.kept) - _SHOWN
            listed = ", ".join(removed.kept[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            print(printable(f"{name}: kept, since not made here or changed since: {listed}"))
    return ExitCode.DONE
