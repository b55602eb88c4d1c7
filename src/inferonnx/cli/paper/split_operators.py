"""`inferonnx paper split-operators`: one ONNX file an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.cli.options import verb
from inferonnx.cli.paper.models import (
    COMPARED_HEADS,
    TOLERANCE,
    add_models,
    chosen,
    compared_cells,
    tell,
)
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_DESCRIPTION = f"""\
Split each model into one ONNX file an operator, in its folder operators/, run them one
after another, and compare with the unsplit model: the same category, and values
{TOLERANCE}; exit code 4 otherwise.
Where no operator times are stored, those of the chain are, without a limit, in
memory_intensive_ops/<model>_operator_times.txt."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add the command."""
    parser = verb(
        verbs,
        name,
        _DESCRIPTION,
        "  inferonnx paper split-operators\n"
        "  inferonnx paper split-operators --models squeezenet1.0-7",
        overview="split models into one ONNX file an operator",
    )
    add_models(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from inferonnx.paper.accuracy import Accuracy, check_all
    from inferonnx.paper.operators import split_models
    from inferonnx.report import table

    progress = Progress()
    done = []
    try:
        for model in split_models(chosen(options), zoo=options.zoo, say=tell, progress=progress):
            progress.done()
            if model.is_timed:
                tell(f"{model.name}: operator times stored in {model.times}")
            done.append(model)
    finally:
        progress.done()
    rows = [[m.name, m.compared.n_partitions, *compared_cells(m.compared), m.folder] for m in done]
    print(table(["model", "operators", *COMPARED_HEADS, "folder"], rows))
    check_all(Accuracy(model.name, model.compared) for model in done)
    return ExitCode.DONE
