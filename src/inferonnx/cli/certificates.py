"""`inferonnx csr` and `inferonnx install-cert`: a CA's certificate for a server's own key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.cli.options import verb
from inferonnx.cli.servers import add_server, connect
from inferonnx.errors import ExitCode
from inferonnx.runtime.files import read_file
from inferonnx.runtime.whole_files import check_output, whole_file

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

MAX_CHAIN_BYTES = 1 << 16
"""A chain of certificates; real ones have 2 to 8 KiB, and servers take no more."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `csr` or `install-cert`."""
    (_add_csr if name == "csr" else _add_install)(verbs, name)


def _add_csr(verbs: Verbs, name: str) -> None:
    parser = verb(
        verbs,
        name,
        "Ask a server for a certificate signing request (PKCS #10, PEM) for its live TLS key,\n"
        "which was born in it and ends with it. Takes a token with the role manage.",
        "  inferonnx csr https://models:8443 --ca server.pem --token-file manage.token -o s.csr",
    )
    add_server(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="default: stdout")
    parser.set_defaults(run=_csr)


def _csr(options: argparse.Namespace) -> int:
    if options.output:
        check_output(options.output)
    with connect(options) as client:
        pem = client.csr()
    if options.output:
        with whole_file(options.output) as file:
            file.write(pem)
    else:
        print(pem.decode("ascii", "replace"), end="")
    return ExitCode.DONE


def _add_install(verbs: Verbs, name: str) -> None:
    parser = verb(
        verbs,
        name,
        "Give a server the certificate that a CA has signed for its live TLS key, and the\n"
        "chain behind it (PEM). New connections get it at once. Takes the role manage.",
        "  inferonnx install-cert https://models:8443 chain.pem --ca server.pem \\\n"
        "      --token-file manage.token",
    )
    add_server(parser)
    parser.add_argument("certificate", metavar="CERT", help="the certificate first, then its CAs")
    parser.set_defaults(run=_install)


def _install(options: argparse.Namespace) -> int:
    chain = read_file(options.certificate, limit_bytes=MAX_CHAIN_BYTES)
    with connect(options) as client:
        client.install_certificate(chain)
    print(f"{options.certificate} is shown to new connections")
    return ExitCode.DONE
