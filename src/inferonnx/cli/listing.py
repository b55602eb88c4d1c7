"""`inferonnx list`: the models of a server."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from inferonnx.cli.options import add_json, verb
from inferonnx.cli.printing import printable
from inferonnx.cli.servers import add_server, connect
from inferonnx.errors import ExitCode
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from inferonnx.cli.main import Verbs
    from inferonnx.client.manage import ServedModel

_HEADS = (
    "name",
    "sealed as",
    "version",
    "state",
    "release",
    "file",
    "resident",
    "owner",
    "model id",
)
_SHORT = 8
"""Digits of keys and ids that are shown; --json has them all."""

_SAME = "same"
"""Stands for a sealed name that is the name: nearly all are, and a line has 100 columns."""

_MOST = 60
"""Characters of what a server says; it may say anything."""

_MOST_OF_A_REASON = 500


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `list`."""
    parser = verb(
        verbs,
        name,
        "List the models of a server: sealed names, versions, whether they are locked or ready\n"
        "and why, release, owner, model id, memory. Takes a token of any role.",
        "  inferonnx list https://models:8443 --ca server.pem --token-file client.token\n"
        "  inferonnx list https://models:8443 --ca server.pem --json",
    )
    add_server(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with connect(options) as client:
        models = client.models()
    if options.json:
        entries = [dataclasses.asdict(model) for model in models]
        print(json.dumps({"schema": "inferonnx.list/1", "models": entries}))
    elif models:
        _show(models)
    else:
        print("no models yet")
    return ExitCode.DONE


def _show(models: Iterable[ServedModel]) -> None:
    rows = [(_row(model), printable(model.reason[:_MOST_OF_A_REASON])) for model in models]
    widths = [
        max(map(len, column)) for column in zip(_HEADS, *(row for row, _ in rows), strict=True)
    ]
    print(_line(_HEADS, widths))
    for row, reason in rows:
        print(_line(row, widths))
        if reason:
            print(f"  {reason}")


def _row(model: ServedModel) -> tuple[str, ...]:
    return tuple(
        _clipped(text)
        for text in (
            model.name,
            _SAME if model.sealed_name == model.name else model.sealed_name or "-",
            str(model.version),
            model.state,
            str(model.release or "-"),
            format_size(model.file_bytes),
            format_size(model.resident_bytes),
            model.owner[:_SHORT] or "-",
            model.model_id[:_SHORT] or "-",
        )
    )


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _clipped(text: str) -> str:
    return printable(text if len(text) <= _MOST else text[:_MOST] + "...")
