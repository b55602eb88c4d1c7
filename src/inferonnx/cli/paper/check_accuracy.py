"""`inferonnx paper check-accuracy`: models beside their partitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from inferonnx.cli.options import add_json, verb
from inferonnx.cli.paper.models import (
    COMPARED_HEADS,
    TOLERANCE,
    add_models,
    chosen,
    compared_cells,
    compared_facts,
    tell,
)
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_DESCRIPTION = f"""\
Run each model as a whole and from its partitions, on the same inputs: the same category,
and values {TOLERANCE}. Exit code 4 where that does not hold.
Missing models are built; a missing folder partitions/ is made by the paper's strategy."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add the command."""
    parser = verb(
        verbs,
        name,
        _DESCRIPTION,
        "  inferonnx paper check-accuracy partitions/\n"
        "  inferonnx paper check-accuracy new_partitions/ --models densenet-7",
        overview="compare models with their partitions",
    )
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of partitions in each model's folder"
    )
    add_models(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from inferonnx.paper.accuracy import check_accuracy, check_all
    from inferonnx.report import table

    progress = Progress()
    results = []
    try:
        for result in check_accuracy(
            options.folder, chosen(options), zoo=options.zoo, say=tell, progress=progress
        ):
            progress.done()
            results.append(result)
    finally:
        progress.done()
    if options.json:
        models = [{"model": name, **compared_facts(compared)} for name, compared in results]
        print(json.dumps({"schema": "inferonnx.accuracy/1", "models": models}))
    else:
        rows = [[name, c.n_partitions, c.n_samples, *compared_cells(c)] for name, c in results]
        print(table(["model", "partitions", "inputs", *COMPARED_HEADS], rows))
        print(f"tolerated: {TOLERANCE}")
    check_all(results)
    return ExitCode.DONE
