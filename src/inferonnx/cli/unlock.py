"""`inferonnx unlock` and `inferonnx delete`: what only a model's owner may do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from inferonnx.app.relying import operations
from inferonnx.app.relying.owned import ENDING
from inferonnx.cli.keys import load_key
from inferonnx.cli.options import add_key, positive, verb
from inferonnx.cli.printing import printable
from inferonnx.cli.servers import add_server, connect
from inferonnx.errors import ExitCode, UsageError

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `unlock` or `delete`."""
    (_add_unlock if name == "unlock" else _add_delete)(verbs, name)


def _add_unlock(verbs: Verbs, name: str) -> None:
    parser = verb(
        verbs,
        name,
        "Make a model ready: its data key is unwrapped here and handed over, for this server's\n"
        "TLS key alone. Neither the owner's key nor that of another model leaves this machine.\n"
        "The server keeps it in memory until the model is unloaded.",
        "  inferonnx unlock https://models:8443 resnet --key owner.key --ca server.pem\n"
        "  inferonnx unlock https://models:8443 resnet --model v7.sealed --version 7 \\\n"
        "      --key owner.key --ca server.pem",
    )
    add_server(parser, takes_token=False)
    parser.add_argument("name", metavar="NAME", help="what the server calls the model")
    add_key(parser)
    parser.add_argument(
        "--model",
        metavar="MODEL.sealed",
        help="your copy of the file (default: NAME.sealed, here)",
    )
    parser.add_argument(
        "--version",
        metavar="V",
        type=positive,
        help="default: its release, else the newest that is this very model",
    )
    parser.set_defaults(run=_unlock)


def _unlock(options: argparse.Namespace) -> int:
    path = options.model or f"{options.name}{ENDING}"
    if not os.path.exists(path):
        raise UsageError(
            f"there is no {path!r}",
            hint="Give your copy of the sealed file with --model: the key is unwrapped here.",
        )
    key = load_key(options)
    with connect(options) as client:
        steps = operations.unlock(options.name, path, key=key, version=options.version)
        model = client.perform(steps)
    print(printable(f"{model.name} {model.version} {model.state}"))
    if model.reason:
        print(printable(model.reason), file=sys.stderr)
    return ExitCode.DONE


def _add_delete(verbs: Verbs, name: str) -> None:
    parser = verb(
        verbs,
        name,
        "Delete a version of a model from a server, for good. The name stays its owner's.",
        "  inferonnx delete https://models:8443 resnet --version 7 --key owner.key \\\n"
        "      --ca server.pem",
    )
    add_server(parser, takes_token=False)
    parser.add_argument("name", metavar="NAME", help="what the server calls the model")
    parser.add_argument("--version", metavar="V", type=positive, required=True)
    add_key(parser)
    parser.add_argument(
        "--model",
        metavar="MODEL.sealed",
        help="your copy of the file, where no token lets you list the server's",
    )
    parser.set_defaults(run=_delete)


def _delete(options: argparse.Namespace) -> int:
    key = load_key(options)
    with connect(options) as client:
        steps = operations.delete(options.name, options.version, key=key, sealed=options.model)
        client.perform(steps)
    print(printable(f"{options.name} {options.version} deleted"))
    return ExitCode.DONE
