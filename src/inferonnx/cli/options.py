"""Options that several verbs share, so that they mean and read the same everywhere."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from inferonnx.errors import InferonnxError, UsageError
from inferonnx.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.cli.main import Verbs


def verb(
    verbs: Verbs, name: str, overview: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """Return the parser of one verb, its help in the house's form."""
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


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """Add `--passphrase-file`; a passphrase never comes from the command line itself."""
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="read the key file's passphrase from the first line of FILE "
        "(default: ask on the terminal when the key file has one)",
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
        if not name or not number.isdigit() or int(number) < 1:
            raise UsageError(f"--dim {word!r} is not NAME=N", hint="For example --dim batch=4.")
        found[name] = int(number)
    return found


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`: one documented object on stdout."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
