"""`inferonnx inspect` and `inferonnx check`: what a sealed file is, and whether it is whole."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from inferonnx.cli.keys import load_key
from inferonnx.cli.main import printable
from inferonnx.cli.options import add_json, add_key, verb
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `inspect` or `check`."""
    (_add_inspect if name == "inspect" else _add_check)(verbs)


def _add_inspect(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "inspect",
        "say what a sealed file is",
        "Show the public header of a sealed file, its signature verified; with the key also\n"
        "what the encrypted manifest says: name, inputs, outputs, partitions, memory.",
        "  inferonnx inspect model.sealed\n  inferonnx inspect model.sealed --key owner.key --json",
    )
    parser.add_argument("model", metavar="MODEL.sealed")
    add_key(parser, required=False)
    add_json(parser)
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from inferonnx.app.checking import inspect

    facts = inspect(options.model, key=load_key(options) if options.key else None)
    if options.json:
        print(json.dumps({"schema": "inferonnx.inspect/1", **facts}))
        return ExitCode.DONE
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):<18} {_shown(name, value)}")
    return ExitCode.DONE


def _add_check(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "check",
        "check every byte of a sealed file",
        "Verify the owner's signature and every byte of a sealed file against the signed root.\n"
        "With the key every segment is opened too; with --run the model's own check vector is\n"
        "run and its answer compared.",
        "  inferonnx check model.sealed\n  inferonnx check model.sealed --key owner.key --run",
    )
    parser.add_argument("model", metavar="MODEL.sealed")
    add_key(parser, required=False)
    parser.add_argument(
        "--run", dest="vector", action="store_true", help="run the check vector (needs --key)"
    )
    add_json(parser)
    parser.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from inferonnx.app.checking import check

    progress = Progress()
    try:
        report = check(
            options.model,
            key=load_key(options) if options.key else None,
            run=options.vector,
            progress=progress,
        )
    finally:
        progress.done()
    if options.json:
        print(json.dumps({"schema": "inferonnx.check/1", **report}))
        return ExitCode.DONE
    print(f"model id  {report['model_id']}")
    print(f"owner     {report['owner']}")
    print(f"whole     signature and all {report['file_bytes']} bytes are the owner's")
    if report["segments_opened"] is not None:
        print(f"opened    {report['segments_opened']} segments")
    if report["check_vector"] is not None:
        print(f"ran       check vector: {report['check_vector']}")
    if not options.key:
        print("note: the owner is whoever holds the key above; compare it", file=sys.stderr)
    return ExitCode.DONE


def _shown(name: str, value: Any) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{format_size(value)} ({value} bytes)"
    if isinstance(value, list | dict):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))
