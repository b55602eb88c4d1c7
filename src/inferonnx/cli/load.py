"""`inferonnx load` and `inferonnx unload`: what is in a server's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.cli.options import verb
from inferonnx.cli.printing import printable
from inferonnx.cli.servers import add_server, connect
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_TEXTS = {
    "load": "Open a model that is unlocked now, rather than with its first request. Takes a\n"
    "token with the role manage.",
    "unload": "Close a model and forget its key: it is locked, and only its owner makes it ready\n"
    "again. Takes a token with the role manage.",
}


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `load` or `unload`."""
    parser = verb(
        verbs,
        name,
        _TEXTS[name],
        f"  inferonnx {name} https://models:8443 resnet --ca server.pem --token-file manage.token",
    )
    add_server(parser)
    parser.add_argument("name", metavar="NAME", help="what the server calls the model")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with connect(options) as client:
        (client.load if options.verb == "load" else client.unload)(options.name)
    print(printable(f"{options.name} {options.verb}ed"))
    return ExitCode.DONE
