"""`inferonnx VERB ...`: find the verb, run it, turn errors into a line and an exit code."""

from __future__ import annotations

import argparse
import errno
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from inferonnx import __version__
from inferonnx.cli import interrupts
from inferonnx.cli.printing import say, say_error
from inferonnx.cli.stdout import StandardError, StandardOutput
from inferonnx.cli.verbs import VERBS
from inferonnx.errors import (
    EXIT_MEANINGS,
    ExitCode,
    InferonnxError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, TypeAlias

    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

_OVERVIEW = """\
Run an encrypted ONNX model from disk inside a memory budget.

The model's owner seals it once; the host streams it from the encrypted file,
partition by partition, and never holds more of it in memory than was promised."""

_SESSION = """\
a first session:
  inferonnx keygen -o owner.key
  inferonnx seal model.onnx -o model.sealed --key owner.key --memory 85MiB
  inferonnx run model.sealed --key owner.key --input input.npz -o output.npz

exit codes:
"""

_DEBUG = "--debug"


class Parser(argparse.ArgumentParser):
    """Reads the command line, and says what is wrong with it in the house's form."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with its usage and exit on."""
        raise UsageError(message, hint=f"See {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The command; default: the one that the process was started with, and ends with.
    """
    finish = partial(interrupts.finish, is_process=argv is None)
    arguments, debug = _without_debug(list(sys.argv[1:] if argv is None else argv))
    interrupts.install()
    with StandardError(), StandardOutput() as output:
        try:
            code = _run(arguments)
            output.flush()
            finish()
        except BaseException as error:
            finish()
            if isinstance(error, SystemExit):
                raise
            if debug:
                _print_traceback()
            return _explain(error)
        return code


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out of the arguments, wherever it stands before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [word for word in arguments[:end] if word != _DEBUG]
    return kept + arguments[end:], len(kept) < end


def _run(arguments: list[str]) -> int:
    parser = Parser(
        prog="inferonnx",
        description=_OVERVIEW,
        epilog=_SESSION + "\n".join(f"  {code:>3}  {EXIT_MEANINGS[code]}" for code in ExitCode),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"inferonnx {__version__}")
    _add_debug(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, verb in VERBS.items():
        if name == chosen:
            import_module(f"inferonnx.cli.{verb.module}").add_parser(verbs, name)
            _add_debug(verbs.choices[name])
        else:
            verbs.add_parser(name, help=verb.overview, add_help=False)
    try:
        options = parser.parse_args(arguments)
    except SystemExit:  # after --help and --version
        sys.stdout.flush()
        raise
    return int(options.run(options))


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        _DEBUG, action="store_true", help="show a traceback when something fails (anywhere)"
    )


def _explain(error: BaseException) -> ExitCode:
    """Say what went wrong and return the exit code that means it."""
    if isinstance(error, KeyboardInterrupt) or interrupts.came():
        say("interrupted; nothing unfinished was left behind")
        return ExitCode.INTERRUPTED
    if isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    ):
        error = UnavailableError(
            "the system has no memory left", hint="Close something, or give less --memory."
        )
    if isinstance(error, InferonnxError):
        say_error(error.message, where=error.where, hint=error.hint)
        return error.exit_code
    # The text of an unforeseen error may hold anything, the model's names included.
    say_error(
        f"a bug of ours ({type(error).__name__})", hint="Run again with --debug and report it."
    )
    return ExitCode.BUG


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()
