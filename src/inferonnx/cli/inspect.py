"""`inferonnx inspect` and `inferonnx check`: what a sealed file is, and whether it is whole."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from inferonnx.cli.keys import load_key
from inferonnx.cli.options import add_json, add_key, verb
from inferonnx.cli.printing import printable, say_error
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode
from inferonnx.sizes import MIB, format_size

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
        "Show the public header of a sealed file, its signature verified; with the key also\n"
        "what the encrypted manifest says: name, inputs, outputs, memory, partitions.",
        "  inferonnx inspect model.sealed\n  inferonnx inspect model.sealed --key owner.key --json",
    )
    parser.add_argument("model", metavar="MODEL.sealed")
    add_key(parser, required=False)
    add_json(parser)
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from inferonnx.app.host.checking import inspect

    facts = inspect(options.model, key=load_key(options) if options.key else None)
    if options.json:
        print(json.dumps({"schema": "inferonnx.inspect/1", **facts}))
        return ExitCode.DONE
    _show_header(facts)
    if options.key:
        _show_manifest(facts)
    else:
        print("note: --key shows name, inputs, outputs, memory and partitions", file=sys.stderr)
    return ExitCode.DONE


def _show_header(facts: dict[str, Any]) -> None:
    _line("model id", facts["model_id"])
    _line("owner", facts["owner"])
    _line("release", facts["release"])
    _line("key id", facts["key_id"])
    _line("format", f"version {facts['format_version']}, {facts['suite']}")
    _line(
        "file",
        f"{format_size(facts['file_bytes'])}: {format_size(facts['segments_bytes'])} of weights, "
        f"{format_size(facts['manifest_bytes'])} of manifest",
    )
    _line("root", facts["root"])


def _show_manifest(facts: dict[str, Any]) -> None:
    memory, target = facts["memory"], facts["target"]
    _line("name", facts["name"])
    _line("sealed by", f"{facts['producer']}, strategy {facts['strategy']}")
    _line("runs on", f"onnxruntime {target['onnxruntime']}, {target['arch']}, {target['layout']}")
    _line("least", f"{format_size(memory['least_bytes'])}: the least --memory it runs in")
    _line("budget", f"{format_size(memory['budget_bytes'])}: what it was sealed for")
    for name in ("inputs", "outputs"):
        for value in facts[name]:
            _line(name[:-1], _value(value))
    for name, shape in facts["planned_shapes"].items():
        _line("planned for", f"{name}: {list(shape)}")
    _line("batches", "yes, rows are independent" if facts["rows_independent"] else "no")
    for name, text in facts["metadata"].items():
        _line("metadata", f"{name}: {text}")
    _line("check vector", "yes" if facts["has_check"] else "none")
    for note in facts["notes"]:
        _line("note", note)
    _show_partitions(facts["partitions"])


def _show_partitions(partitions: list[dict[str, Any]]) -> None:
    from inferonnx.report import table

    rows = [
        [
            number,
            part["n_nodes"],
            part["n_weights"],
            f"{part['weight_bytes'] / MIB:.2f}",
            f"{part['activation_bytes'] / MIB:.2f}",
            f"{part['time_us'] / 1e3:.2f}",
        ]
        for number, part in enumerate(partitions)
    ]
    print(table(["partition", "nodes", "weights", "weights MiB", "activations MiB", "ms"], rows))


def _value(value: dict[str, Any]) -> str:
    """Return `image: tensor(float) [batch, 3, 16, 16]`."""
    if value["shape"] is None:
        return f"{value['name']}: {value['type']}"
    axes = ", ".join("?" if axis is None else str(axis) for axis in value["shape"])
    return f"{value['name']}: {value['type']} [{axes}]"


def _line(name: str, value: object) -> None:
    print(f"{name:<13} {printable(str(value))}")


def _add_check(verbs: Verbs) -> None:
    parser = verb(
        verbs,
        "check",
        "Verify the owner's signature and every byte of a sealed file against the signed root.\n"
        "With the key every segment is opened too; with --run the model's own check vector is\n"
        "run and its answer compared. Exit code 4 when it differs, or when the file has none.",
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
    from inferonnx.app.host.checking import NO_VECTOR, check

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
    else:
        _show_check(report)
        if not options.key:
            print("note: the owner is whoever holds the key above; compare it", file=sys.stderr)
    if report["check_vector"] == NO_VECTOR:
        say_error(
            "the file holds no check vector, so nothing was run",
            hint="Compare with the ONNX file: inferonnx verify.",
        )
        return ExitCode.REFUSED
    return ExitCode.DONE


def _show_check(report: dict[str, Any]) -> None:
    _line("model id", report["model_id"])
    _line("owner", report["owner"])
    _line("whole", f"signature and all {report['file_bytes']} bytes are the owner's")
    if report["segments_opened"] is not None:
        _line("opened", f"{report['segments_opened']} segments")
    if report["check_vector"] is not None:
        _line("check vector", report["check_vector"])
