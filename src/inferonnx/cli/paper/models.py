"""What the paper's commands share: which models, and a table of models beside chains."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from inferonnx.app.host.comparing import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from inferonnx.cli.printing import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from inferonnx.paper.partitions import Compared

TOLERANCE = f"within {RELATIVE_TOLERANCE:g} of the largest value, or {ABSOLUTE_TOLERANCE:g}"

COMPARED_HEADS = ["category", "largest difference", "of the largest value", "verdict"]


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add `--models` and `--zoo`."""
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        default=[],
        help="models of the zoo (default: the paper's eight)",
    )
    parser.add_argument(
        "--zoo", metavar="DIR", default="models", help="folder of the models (default: models)"
    )


def chosen(options: argparse.Namespace) -> Sequence[str]:
    """Return the models that were asked for.

    Raises:
        UsageError: The zoo has no such model.
    """
    from inferonnx.paper.artifact import EIGHT
    from inferonnx.zoo import zoo_model

    for name in options.models:
        zoo_model(name)
    return tuple(dict.fromkeys(options.models)) or EIGHT


def tell(text: str) -> None:
    """Say on stderr what was made on the way."""
    print(printable(text), file=sys.stderr, flush=True)


def compared_cells(compared: Compared) -> list[object]:
    """Return the cells of `COMPARED_HEADS`."""
    difference = compared.difference
    exact = " (all bits)" if difference.exact else ""
    return [
        "same" if difference.same_largest else "another",
        f"{difference.absolute:.3g}",
        f"{difference.relative:.3g}",
        compared.problem or f"equal{exact}",
    ]


def compared_facts(compared: Compared) -> dict[str, Any]:
    """Return the same as JSON has it."""
    difference = compared.difference
    return {
        "partitions": compared.n_partitions,
        "samples": compared.n_samples,
        "same_category": difference.same_largest,
        "absolute": difference.absolute,
        "relative": difference.relative,
        "exact": difference.exact,
        "problem": compared.problem,
    }
