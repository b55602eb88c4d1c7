"""`inferonnx keygen` and `inferonnx rewrap`: the owner's key."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

from inferonnx.app.keys import Key
from inferonnx.cli.options import add_passphrase, verb
from inferonnx.errors import ExitCode, KeyFileError, UsageError
from inferonnx.runtime.files import FileSource, read_file, whole_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from inferonnx.cli.main import Verbs


COPY_BYTES = 1 << 20


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `keygen` or `rewrap`."""
    (_add_keygen if name == "keygen" else _add_rewrap)(verbs)


def load_key(options: argparse.Namespace, path: str | None = None) -> Key:
    """Return the key of `--key`, asking for its passphrase when it has one."""
    return Key.load(path or options.key, passphrase=_passphrase(options))


def _add_keygen(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "keygen",
        "make the owner's key file",
        "Make the key that seals, opens and signs your models. It holds two independent\n"
        "secrets: one wraps the data keys of models, one signs. It never leaves you.",
        "  inferonnx keygen -o owner.key\n"
        "  inferonnx keygen -o owner.key --passphrase\n"
        "  inferonnx keygen -o new.key --from owner.key    # then: inferonnx rewrap",
    )
    parser.add_argument("-o", "--output", metavar="KEY", required=True, help="the new key file")
    parser.add_argument(
        "--from",
        dest="old",
        metavar="OLD",
        help="keep the signing key of OLD and draw a new wrapping secret",
    )
    parser.add_argument(
        "--passphrase", action="store_true", help="protect the file by a passphrase (asked for)"
    )
    add_passphrase(parser)
    parser.set_defaults(run=_keygen)


def _keygen(options: argparse.Namespace) -> int:
    key = load_key(options, options.old).renewed() if options.old else Key.generate()
    passphrase = None
    if options.passphrase:
        passphrase = _passphrase(options, twice=True)()
    key.save(options.output, passphrase=passphrase)
    print(f"public key  {key.public_key}")
    print(f"key id      {key.public_id}")
    print(
        f"wrote {options.output}. Back it up: without it, models sealed with it can never be "
        "opened again.\nNever give it away: who has it opens and signs as you. Others need only "
        "the public key.",
        file=sys.stderr,
    )
    return ExitCode.DONE


def _add_rewrap(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "rewrap",
        "give a sealed file to a new wrapping key",
        "Wrap a model's data key for a new key, made with `keygen --from`. The weights are\n"
        "not sealed again; model id and signature stay. A new signing key means sealing again.",
        "  inferonnx keygen -o new.key --from owner.key\n"
        "  inferonnx rewrap model.sealed --key owner.key --new-key new.key",
    )
    parser.add_argument("model", metavar="MODEL.sealed")
    parser.add_argument("--key", metavar="OLD", required=True, help="the key that opens it now")
    parser.add_argument(
        "--new-key", metavar="NEW", required=True, help="the key that shall open it"
    )
    add_passphrase(parser)
    parser.set_defaults(run=_rewrap)


def _rewrap(options: argparse.Namespace) -> int:
    from inferonnx.sealed import HEADER_BYTES, WRAP_SALT_BYTES, rewrap

    source = FileSource(options.model)
    new_header = rewrap(
        bytes(source.read(0, min(HEADER_BYTES, source.size))),
        key=load_key(options).owner,
        new_key=load_key(options, options.new_key).owner,
        salt=os.urandom(WRAP_SALT_BYTES),
    )
    with whole_file(options.model) as copy:
        copy.write(new_header)
        for offset in range(HEADER_BYTES, source.size, COPY_BYTES):
            copy.write(source.read(offset, min(COPY_BYTES, source.size - offset)))
    source.close()
    print(f"{options.model} opens with {options.new_key} now")
    return ExitCode.DONE


def _passphrase(options: argparse.Namespace, *, twice: bool = False) -> Callable[[], str]:
    def ask() -> str:
        if options.passphrase_file:
            return read_file(options.passphrase_file, limit_bytes=4096).decode().split("\n")[0]
        if not sys.stdin.isatty():
            raise KeyFileError(
                "the key file has a passphrase, and there is no terminal to ask on",
                hint="Give it with --passphrase-file.",
            )
        answer = getpass.getpass("Passphrase: ")
        if twice and getpass.getpass("Once more: ") != answer:
            raise UsageError("the two passphrases differ")
        return answer

    return ask
