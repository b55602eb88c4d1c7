"""`inferonnx VERB ...`: find the verb, run it, turn errors into a line and an exit code."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from inferonnx import __version__
from inferonnx.errors import ExitCode, InferonnxError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import TypeAlias

    Verbs: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

# Verb: (its module in this package, what the overview says). Only the module of
# the verb that is called gets imported: `run` has a budget to keep.
VERBS = {
    "demo": ("demo", "seal a trained model, run it in little memory, watch a forgery fail"),
    "keygen": ("keys", "make the owner's key file"),
    "plan": ("plan", "show how a model would be cut for a memory budget"),
    "seal": ("seal", "turn an ONNX model into one encrypted, signed file"),
    "run": ("run", "run a sealed model inside a memory budget"),
    "inspect": ("inspect", "say what a sealed file is"),
    "check": ("inspect", "check every byte of a sealed file"),
    "rewrap": ("keys", "give a sealed file to a new wrapping key"),
    "verify": ("verify", "compare a sealed model with plain onnxruntime"),
    "zoo": ("zoo", "build published models, fetch trained ones"),
    "bench": ("bench", "measure the sealed stream against plain onnxruntime"),
}

_OVERVIEW = """\
Run an encrypted ONNX model from disk inside a memory budget.

The model's owner seals it once; the host streams it from the encrypted file,
partition by partition, and never holds more of it in memory than was promised."""

_EPILOG = """\
a first session:
  inferonnx keygen -o owner.key
  inferonnx seal model.onnx -o model.sealed --key owner.key --memory 85MiB
  inferonnx run model.sealed --key owner.key --input input.npz -o output.npz

exit codes: 0 done, 1 a bug of ours, 2 bad input, 3 not authentic, 4 refused or
different, 5 unavailable (disk full, no rights), 6 no plan fits, 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(arguments)
    except InferonnxError as error:
        if debug:
            raise
        _say_error(error.message, error.where, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted; nothing was left behind")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as error:
        if debug:
            raise
        # The text of an unforeseen error may hold anything, the model's names included.
        _say_error(
            f"a bug of ours ({type(error).__name__})", "", "Run again with --debug and report it."
        )
        return ExitCode.BUG


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="inferonnx",
        description=_OVERVIEW,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"inferonnx {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for verb, (module, overview) in VERBS.items():
        if verb == chosen:
            import_module(f"inferonnx.cli.{module}").add_parser(verbs, verb)
            verbs.choices[verb].add_argument(
                "--debug", action="store_true", help="show a traceback when something fails"
            )
        else:
            verbs.add_parser(verb, help=overview, add_help=False)
    options = parser.parse_args(arguments)
    return int(options.run(options))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(f"inferonnx: {printable(text)}", file=sys.stderr)


def _say_error(message: str, where: str, hint: str) -> None:
    place = f" ({where})" if where and where not in message else ""
    _say(f"error: {message}{place}")
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)


def printable(text: str) -> str:
    """Return `text` in one line, control characters escaped: names come from strangers' files."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
