"""`inferonnx paper generate-partitions`: the paper's walk, its counts beside the artifact's."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from inferonnx.cli.options import size, verb
from inferonnx.cli.paper.models import COMPARED_HEADS, add_models, chosen, compared_cells, tell
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_DESCRIPTION = """\
From the last operator of each model to the first, add up what operators hold by
themselves; where that passes the limit, a new partition begins. Operators of
memory_intensive_ops/operator_overhead.txt stand alone; a model whose sum is below the
limit is split in half. The files go to its folder new_partitions/ and are compared with
the entire model: exit code 4 where the category or a value differs."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add the command."""
    parser = verb(
        verbs,
        name,
        _DESCRIPTION,
        "  inferonnx paper generate-partitions\n"
        "  inferonnx paper generate-partitions --epc 85MiB --models densenet-7",
        overview="partition models as the paper does",
    )
    parser.add_argument(
        "--epc",
        metavar="SIZE",
        type=size,
        help="what operators of a partition add up to (default: 85MB, the artifact's)",
    )
    add_models(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from inferonnx.app.owner.partitioning import PAPER_LIMIT_BYTES
    from inferonnx.paper.accuracy import Accuracy, check_all
    from inferonnx.paper.artifact import OVERHEAD_FOLDER
    from inferonnx.paper.generating import generate_partitions
    from inferonnx.paper.overheads import overheads_path
    from inferonnx.report import table

    if not os.path.exists(overheads_path(OVERHEAD_FOLDER)):
        print(
            f"note: no {overheads_path(OVERHEAD_FOLDER)}, so no operator stands alone",
            file=sys.stderr,
        )
    progress = Progress()
    done = []
    try:
        for model in generate_partitions(
            chosen(options),
            limit_bytes=options.epc or PAPER_LIMIT_BYTES,
            zoo=options.zoo,
            say=tell,
            progress=progress,
        ):
            progress.done()
            tell(f"{model.name}: {'written' if model.is_new else 'unchanged'}, {model.folder}")
            done.append(model)
    finally:
        progress.done()
    heads = ["model", "operators", "alone", "own peaks MB", "partitions", "artifact's"]
    rows = [
        [
            model.name,
            model.n_operators,
            model.n_alone,
            f"{model.peaks_bytes / 1e6:.1f}",
            model.compared.n_partitions,
            "-" if model.published is None else model.published,
            *compared_cells(model.compared),
        ]
        for model in done
    ]
    print(table([*heads, *COMPARED_HEADS], rows))
    check_all(Accuracy(model.name, model.compared) for model in done)
    return ExitCode.DONE
