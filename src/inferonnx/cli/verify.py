"""`inferonnx verify`: compare a sealed model with plain onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.app.host.comparing import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from inferonnx.cli.differences import print_difference, yes_or_no
from inferonnx.cli.keys import load_key
from inferonnx.cli.options import add_json, add_key, positive, verb
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `verify`."""
    parser = verb(
        verbs,
        name,
        "Run the whole ONNX model on plain onnxruntime and the sealed model as a stream, on the\n"
        "same inputs, and compare each output. Exit code 4 when one differs: floats by more than\n"
        f"{RELATIVE_TOLERANCE:g} of the output's largest value and more than "
        f"{ABSOLUTE_TOLERANCE:g}, 8-bit integers by\nmore than one step, anything else at all.",
        "  inferonnx verify model.onnx model.sealed --key owner.key\n"
        "  inferonnx verify model.onnx model.sealed --key owner.key --input samples/ --json",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("sealed", metavar="MODEL.sealed")
    add_key(parser)
    parser.add_argument("--input", metavar="FILE", help="inputs (default: made up)")
    parser.add_argument(
        "--samples", metavar="N", type=positive, default=3, help="inputs to make up (default: 3)"
    )
    add_json(parser)
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from inferonnx.app.host.comparing import check_agreement
    from inferonnx.app.owner.samples import load_arrays
    from inferonnx.app.owner.verifying import verify

    progress = Progress()
    try:
        difference = verify(
            options.model,
            options.sealed,
            key=load_key(options),
            samples=load_arrays(options.model, options.input) if options.input else (),
            n_samples=options.samples,
            progress=progress,
        )
    finally:
        progress.done()
    print_difference(
        difference,
        schema="inferonnx.verify/1",
        as_json=options.json,
        own={
            "units in last place": difference.ulps,
            "same largest output": yes_or_no(difference.same_largest),
        },
    )
    check_agreement(difference)
    return ExitCode.DONE
