"""Options of the verbs that speak to a server, and the client that they make."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from inferonnx.app.relying.token_file import find_token
from inferonnx.client.client import TIMEOUT_S, Client, make_target

if TYPE_CHECKING:
    from inferonnx.client.connections import Target


def add_server(parser: argparse.ArgumentParser, *, takes_token: bool = True) -> None:
    """Add the URL of the server and what decides whether it is spoken to.

    Args:
        parser: Of the verb.
        takes_token: It asks for what a role allows; else the owner's signature is enough,
            and a token only helps to look a version up.
    """
    parser.add_argument("url", metavar="URL", help="https://HOST:PORT of the server")
    add_trust(parser)
    use = "" if takes_token else "; only to look up what is not given"
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="first line: the token of `token new`, in a file that only its owner can read "
        f"(default: the environment's INFERONNX_TOKEN{use})",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=TIMEOUT_S,
        help="for a whole operation; 0 for no end (default: 60)",
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add what decides whether a server is spoken to."""
    parser.add_argument(
        "--ca",
        metavar="FILE",
        help="trust servers with a certificate that stands in FILE, or is signed by one that "
        "does (default: the system's CAs)",
    )
    parser.add_argument(
        "--insecure-no-attestation",
        action="store_true",
        help="speak to a server although nothing proves what runs there: whoever controls that "
        "machine may read along",
    )
    parser.add_argument(
        "--client-cert", metavar="FILE", help="our certificate, for servers that want one"
    )
    parser.add_argument("--client-key", metavar="FILE", help="its key (default: in the same file)")
    parser.add_argument(
        "--tls-min",
        choices=("1.3", "1.2"),
        default="1.3",
        help="least version of TLS (default: 1.3)",
    )


def seconds(text: str) -> float:
    """Read a number of seconds for argparse; 0 means no end."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return number or math.inf


def connect(options: argparse.Namespace) -> Client:
    """Return the client that the options of `add_server` mean; its tensors are ours."""
    return Client(
        options.url,
        ca=options.ca,
        token=find_token(options.token_file),
        insecure_no_attestation=options.insecure_no_attestation,
        certificate=options.client_cert,
        key=options.client_key,
        tls_min=options.tls_min,
        timeout=options.timeout,
    )


def target(options: argparse.Namespace, url: str, token: str | None) -> Target:
    """Return whom the options of `add_trust` allow to speak to."""
    return make_target(
        url,
        ca=options.ca,
        token=token,
        insecure_no_attestation=options.insecure_no_attestation,
        certificate=options.client_cert,
        key=options.client_key,
        tls_min=options.tls_min,
    )
