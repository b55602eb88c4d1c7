"""`inferonnx token new`: a token for a client of a server."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.cli.options import verb
from inferonnx.control import (
    TOKEN_RANDOM_BYTES,
    Role,
    config_lines,
    new_token,
    parse_expiry,
    parse_roles,
)
from inferonnx.errors import ExitCode
from inferonnx.runtime.whole_files import check_output, whole_file

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_DESCRIPTION = """\
Make a token, by which a server knows a client and what it may do.

It is shown once. The server's configuration gets only its hash, so who reads that
can't use it; who loses the token makes another and takes the old lines out."""

_EXAMPLES = """\
  inferonnx token new --role infer -o client.token >> serve.toml
  inferonnx token new --role manage --role metrics --expires 30d
  inferonnx token new --role infer --expires 2027-01-31"""


def add_parser(verbs: Verbs, name: str = "token") -> None:
    """Register the verb and its one command."""
    parser = verb(verbs, name, _DESCRIPTION, _EXAMPLES)
    commands = parser.add_subparsers(dest="token_command", metavar="COMMAND", required=True)
    making = verb(commands, "new", _DESCRIPTION, _EXAMPLES, overview="make a token")
    making.add_argument(
        "--role",
        action="append",
        required=True,
        choices=[role.value for role in Role],
        help="what it allows; may be given again",
    )
    making.add_argument(
        "--expires",
        metavar="WHEN",
        default="90d",  # as certificates of public CAs: long enough to forget, short enough to heal
        help="30d, 12h, a date (its first second, UTC), 2027-01-31T12:00:00Z, or never "
        "(default: %(default)s)",
    )
    making.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the token to a new file that only you can read, and the lines for the "
        "configuration to stdout (default: the token to stdout, the lines to stderr)",
    )
    making.set_defaults(run=_new)


def _new(options: argparse.Namespace) -> int:
    now_s = int(time.time())
    roles = parse_roles(options.role)
    expires_s = parse_expiry(options.expires, now_s=now_s)
    if options.output:
        check_output(options.output, replace=False)
    token, entry = new_token(os.urandom(TOKEN_RANDOM_BYTES), roles=roles, expires_s=expires_s)
    lines = config_lines(entry)
    if options.output:
        with whole_file(options.output, mode=0o600, replace=False) as file:
            file.write(f"{token}\n".encode())
        print(lines, end="")
        _say(f"wrote {options.output}. Add the lines to the server's configuration.")
    else:
        print(token)
        _say(f"Add these lines to the server's configuration:\n\n{lines}")
    return ExitCode.DONE


def _say(text: str) -> None:
    with suppress(OSError):  # where stderr is gone, nobody listens
        print(text, file=sys.stderr)
