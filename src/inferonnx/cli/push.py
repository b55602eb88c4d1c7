"""`inferonnx push`: send a sealed model to a server."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from inferonnx.app.relying import operations
from inferonnx.app.relying.upload_book import UploadFolder
from inferonnx.cli.keys import load_key
from inferonnx.cli.options import add_json, add_key, positive, verb
from inferonnx.cli.printing import printable, say
from inferonnx.cli.progress import Progress
from inferonnx.cli.servers import add_server, connect
from inferonnx.errors import ExitCode, UnavailableError
from inferonnx.oip import BusyError
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from inferonnx.cli.main import Verbs

_AGAIN = "Push it again: what the server has is not sent twice."


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `push`."""
    parser = verb(
        verbs,
        name,
        "Send a sealed model to a server, signed with its owner's key. The file is checked\n"
        "first, and goes on from where it was after any break, also in the next push of the\n"
        "same file. A version is never replaced. The model is locked until `unlock`.",
        "  inferonnx push https://models:8443 resnet.sealed --key owner.key --ca server.pem\n"
        "  inferonnx push https://models:8443 v7.sealed --name resnet --version 7 \\\n"
        "      --key owner.key --ca server.pem",
    )
    add_server(parser, takes_token=False)
    parser.add_argument("model", metavar="MODEL.sealed")
    add_key(parser)
    add_name(parser)
    parser.add_argument(
        "--version", metavar="V", type=positive, help="default: its release, else the next"
    )
    add_json(parser)
    parser.set_defaults(run=_run)


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add `--name`."""
    parser.add_argument(
        "--name",
        metavar="N",
        help="to be served by, and sealed with (default: the file's name without .sealed)",
    )


def _run(options: argparse.Namespace) -> int:
    key = load_key(options)
    progress = Progress()
    with connect(options) as client:
        steps = operations.push(
            options.model,
            key=key,
            name=options.name,
            version=options.version,
            url=str(client.address),
            book=UploadFolder(),
            checking=_shown(progress, "checked"),
            progress=_shown(progress, "sent"),
        )
        try:
            name, version = client.perform(steps, math.inf)
        except KeyboardInterrupt:
            say(f"interrupted. {_AGAIN}")
            return ExitCode.INTERRUPTED
        except (UnavailableError, BusyError) as error:
            error.hint = f"{error.hint} {_AGAIN}".strip()
            raise
        finally:
            progress.done()
    if options.json:
        print(json.dumps({"schema": "inferonnx.push/1", "name": name, "version": version}))
    else:
        print(printable(f"{name} {version or ''}".strip()))
        say("it is locked: `inferonnx unlock` makes it ready")
    return ExitCode.DONE


def _shown(progress: Progress, done: str) -> Callable[[int, int], None]:
    def tell(n_bytes: int, total: int) -> None:
        progress(f"{done} {n_bytes * 100 // max(total, 1)} % of {format_size(total)}")

    return tell
