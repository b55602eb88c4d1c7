"""`inferonnx keygen` and `inferonnx rewrap`: the owner's key."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from inferonnx.app.host.keys import Key
from inferonnx.cli.options import add_passphrase, check_outputs, verb
from inferonnx.cli.printing import printable
from inferonnx.errors import ExitCode, KeyFileError, UsageError
from inferonnx.runtime.files import read_file, read_key_file
from inferonnx.runtime.whole_files import check_output
from inferonnx.sealed import is_protected

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

MAX_PASSPHRASE_BYTES = 4096


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `keygen` or `rewrap`."""
    (_add_keygen if name == "keygen" else _add_rewrap)(verbs)


def load_key(options: argparse.Namespace) -> Key:
    """Return the key of `--key`, asking for its passphrase when it has one."""
    return _load(options.key, options.passphrase_file)


def _load(path: str, passphrase_file: str | None) -> Key:
    return Key.load(path, passphrase=lambda: _passphrase(path, passphrase_file))


def _add_keygen(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "keygen",
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
        "--passphrase",
        action="store_true",
        help="protect the new file by a passphrase, asked for on the terminal",
    )
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        help="protect it by the first line of FILE",
    )
    add_passphrase(parser, "--from-passphrase-file", "OLD")
    parser.set_defaults(run=_keygen)


def _keygen(options: argparse.Namespace) -> int:
    check_output(options.output, replace=False)
    key = Key.generate()
    if options.old:
        key = _load(options.old, options.from_passphrase_file).renewed()
    passphrase = None
    if options.passphrase or options.passphrase_file:
        passphrase = _passphrase(options.output, options.passphrase_file, is_new=True)
    key.save(options.output, passphrase=passphrase)
    print(f"public key  {key.public_key}")
    print(f"key id      {key.public_id}")
    print(
        f"wrote {options.output}. Back it up: without it, models sealed with it can never be "
        "opened again.\nNever give it away: who has it opens and signs as you. Others need only "
        "the public key.",
        file=sys.stderr,
    )
    if options.old and passphrase is None and is_protected(read_key_file(options.old)):
        print(
            f"note: {printable(options.old)} has a passphrase, and {printable(options.output)} has "
            "none: --passphrase gives it one",
            file=sys.stderr,
        )
    return ExitCode.DONE


def _add_rewrap(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "rewrap",
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
    add_passphrase(parser, whose="OLD")
    add_passphrase(parser, "--new-passphrase-file", "NEW")
    parser.set_defaults(run=_rewrap)


def _rewrap(options: argparse.Namespace) -> int:
    from inferonnx.app.owner.rewrapping import rewrap_file

    check_outputs(
        [options.model], options=options, inputs=[options.new_key, options.new_passphrase_file]
    )
    rewrap_file(
        options.model,
        key=load_key(options),
        new_key=_load(options.new_key, options.new_passphrase_file),
    )
    print(f"{options.model} opens with {options.new_key} now")
    return ExitCode.DONE


def _passphrase(key_path: str, file: str | None, *, is_new: bool = False) -> str:
    """Return the passphrase of a key file: from a file, or asked for; twice when it is new."""
    if file:
        return _first_line(file)
    if not sys.stdin.isatty():
        raise KeyFileError(
            f"there is no terminal to ask on for the passphrase of {key_path!r}",
            hint="Give it in a file: see the options of this command with --help.",
        )
    answer = _ask(f"Passphrase of {printable(key_path)}: ")
    if is_new and _ask("Once more: ") != answer:
        raise UsageError("the two passphrases differ", hint="Try again.")
    return answer


def _first_line(path: str) -> str:
    try:
        text = read_file(path, limit_bytes=MAX_PASSPHRASE_BYTES).decode()
    except UnicodeDecodeError as error:
        raise KeyFileError(
            f"the passphrase in {path!r} is not text", hint="Save it as UTF-8."
        ) from error
    return text.split("\n")[0].removesuffix("\r")


def _ask(prompt: str) -> str:
    try:
        return getpass.getpass(prompt)
    except EOFError as error:
        raise KeyFileError("no passphrase was given", hint="Try again.") from error
