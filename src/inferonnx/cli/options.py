"""Options that several verbs share, so that they mean and read the same everywhere."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from inferonnx.cli.verbs import VERBS
from inferonnx.errors import InferonnxError, UsageError
from inferonnx.runtime.whole_files import check_output
from inferonnx.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.cli.main import Verbs


def verb(
    verbs: Verbs, name: str, description: str, examples: str, *, overview: str = ""
) -> argparse.ArgumentParser:
    """Return the parser of one verb, its help in the house's form.

    Args:
        verbs: Where it is added.
        name: What is typed.
        description: What it does, in lines of its help.
        examples: Whole commands, a line each.
        overview: Its line in the list of verbs; of `VERBS` when it is one of those.
    """
    overview = overview or VERBS[name].overview
    return verbs.add_parser(
        name,
        help=overview,
        description=description,
        epilog=f"examples:\n{examples}" if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def size(text: str) -> int:
    """Read a size for argparse, which shows the message of an ArgumentTypeError."""
    try:
        return parse_size(text)
    except InferonnxError as error:
        raise argparse.ArgumentTypeError(f"{error.message}. {error.hint}".strip()) from error


def positive(text: str) -> int:
    """Read a whole number from 1 up for argparse."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """Read a whole number from 0 up for argparse."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
    if number < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} up")
    return number


def check_outputs(
    outputs: Sequence[str | None], *, options: argparse.Namespace, inputs: Sequence[str | None]
) -> None:
    """Refuse outputs that can't be written or are inputs, before any work is done.

    Args:
        outputs: Files to be written; None where there is none.
        options: Their key and passphrase files are inputs too.
        inputs: The other files that are read.

    Raises:
        UsageError, UnavailableError: As `runtime.whole_files.check_output`.
    """
    named = [getattr(options, name, None) for name in ("key", "passphrase_file")]
    files = [path for path in (*inputs, *named) if path]
    wanted = [path for path in outputs if path]
    for path in wanted:
        check_output(path, inputs=files)
    if len({os.path.realpath(path) for path in wanted}) < len(wanted):
        raise UsageError(f"two outputs have the name {wanted[0]!r}", hint="Choose another name.")


def add_memory(parser: argparse.ArgumentParser, default: str | None, what: str = "") -> None:
    """Add `--memory`: everywhere the peak resident memory of the whole process."""
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        type=size,
        default=parse_size(default) if default else None,
        help="peak resident memory of the whole process, interpreter and libraries included: "
        f"85MiB, 90MB, ... ({what or 'default: ' + str(default)})",
    )


def add_key(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add `--key`, and where its passphrase comes from."""
    parser.add_argument(
        "--key", metavar="KEY", required=required, help="the owner's key file, from keygen"
    )
    add_passphrase(parser)


def add_passphrase(
    parser: argparse.ArgumentParser, option: str = "--passphrase-file", whose: str = "the key file"
) -> None:
    """Add `--passphrase-file`; a passphrase never comes from the command line itself."""
    parser.add_argument(
        option,
        metavar="FILE",
        help=f"read the passphrase of {whose} from the first line of FILE "
        "(default: ask on the terminal when it has one)",
    )


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add `--input` and `--output`: files of arrays."""
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="inputs: .npz, .npy, TensorProto .pb, or a folder with input_0.pb, ... or with "
        "several samples; a model without inputs needs none",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write outputs: .npz; .npy or .pb for one output; of several samples a new "
        "folder of .npz",
    )


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """Add `--dim` and `--input`, which fix what a dynamic model is measured on."""
    parser.add_argument(
        "--dim",
        metavar="NAME=N",
        action="append",
        default=[],
        help="size of a dynamic dimension to plan for, for example batch=4 (default: 1)",
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="sample input to measure on: .npz, .npy, .pb or a folder (default: made up from "
        "the model's signature)",
    )


def dims(words: Sequence[str]) -> dict[str, int]:
    """Return what the `--dim` options say."""
    found = {}
    for word in words:
        name, _, number = word.rpartition("=")
        if not name or not number.isascii() or not number.isdigit() or int(number) < 1:
            raise UsageError(f"--dim {word!r} is not NAME=N", hint="For example --dim batch=4.")
        found[name] = int(number)
    return found


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`: one documented object on stdout."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
