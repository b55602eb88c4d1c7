"""`inferonnx paper cdf`: how the memory of models and their partitions is distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.cli.options import size, verb
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs


def add_parser(commands: Verbs, name: str) -> None:
    """Add `cdf`."""
    parser = verb(
        commands,
        name,
        "The later artifact's figure 3: the cumulative distribution of memory of each model and\n"
        "its partitions, by exact accounting, as figure3_cdf.pdf, .png and .csv.",
        "  inferonnx paper cdf partitions/",
        overview="distribution of memory over models and their partitions",
    )
    parser.add_argument("folder", metavar="FOLDER", help="of the partitions, in each model's own")
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help="models of the zoo (default: the paper's eight)"
    )
    parser.add_argument(
        "--epc",
        metavar="SIZE",
        type=size,
        default=85 * MIB,
        help="enclave page cache to draw beside (default: 85MiB)",
    )
    parser.add_argument("--zoo", default="models", help="folder of the models (default: models)")
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="results", help="folder for files (results)"
    )
    parser.set_defaults(run=_cdf)


def _cdf(options: argparse.Namespace) -> int:
    from statistics import median

    from inferonnx.paper.artifact import EIGHT
    from inferonnx.paper.cdf import make_cdf
    from inferonnx.report import table

    progress = Progress()
    try:
        needs, paths = make_cdf(
            options.folder,
            limit_bytes=options.epc,
            output=options.output,
            folder=options.zoo,
            names=options.models or EIGHT,
            progress=progress,
        )
    finally:
        progress.done()
    rows = []
    for one in needs:
        sizes = sorted(need.n_bytes for _, need in one.partitions)
        fitting = sum(n_bytes <= options.epc for n_bytes in sizes)
        figures = (one.entire.n_bytes, median(sizes), sizes[-1])
        cells = [f"{n_bytes / MIB:.1f}" for n_bytes in figures]
        rows.append([one.model, *cells, f"{fitting} of {len(sizes)}"])
    print(table(["model", "entire MiB", "median part", "largest part", "within the limit"], rows))
    print("by exact accounting: weights, and values that are alive at once")
    for path in paths:
        print(f"wrote {path}")
    return ExitCode.DONE
