"""`inferonnx profile`: where a model's memory and time go, operator by operator."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from inferonnx.cli.options import add_json, add_shapes, check_outputs, dims, size, verb
from inferonnx.cli.printing import say
from inferonnx.cli.progress import Progress
from inferonnx.errors import ExitCode
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from inferonnx.cli.main import Verbs

_DEFAULT_EPC = 85 * MIB
_SHOWN = 12
"""Operators that a terminal is shown; the page has them all."""

_DESCRIPTION = """\
Weights, activations and own peak of every operator of the original graph, by exact
accounting, and the time that it takes. With --epc also inside a memory limit that the
kernel enforces, each fault charged to the operator that caused it; where none can be
enforced it says what to run, and measures outside alone."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `profile`."""
    parser = verb(
        verbs,
        name,
        _DESCRIPTION,
        "  inferonnx profile resnet.onnx --html profile.html\n"
        "  sudo inferonnx profile resnet.onnx --epc 85MiB --allow-system-changes",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument(
        "--epc",
        metavar="SIZE",
        type=size,
        help="measure inside a limit of this size too (default: compare sizes with 85MiB)",
    )
    parser.add_argument(
        "--allow-system-changes",
        action="store_true",
        help="make swap and set vm.page-cluster meanwhile; both are put back",
    )
    parser.add_argument(
        "--html", metavar="FILE", help="write one self-contained page that shows the profile"
    )
    add_shapes(parser)
    add_json(parser)
    parser.set_defaults(run=_profile)


def _profile(options: argparse.Namespace) -> int:
    from inferonnx.app.owner.samples import load_arrays
    from inferonnx.bench.limiting import limited
    from inferonnx.bench.profile import profile_model
    from inferonnx.report import profile_page
    from inferonnx.runtime.whole_files import whole_file

    check_outputs([options.html], options=options, inputs=[options.model, options.input])
    progress = Progress()
    sample = load_arrays(options.model, options.input)[0] if options.input else None
    limit = (
        nullcontext(None)
        if options.epc is None
        else limited(
            options.epc,
            allow_system_changes=options.allow_system_changes,
            progress=progress,
            say=say,
        )
    )
    try:
        with limit as held:
            facts = profile_model(
                options.model,
                epc_bytes=options.epc or _DEFAULT_EPC,
                limit=held,
                sample=sample,
                dims=dims(options.dim),
                progress=progress,
            )
    finally:
        progress.done()
    if options.html:
        with whole_file(options.html, inputs=[options.model]) as file:
            file.write(profile_page(facts).encode())
        print(f"wrote {options.html}", file=sys.stderr)
    if options.json:
        print(json.dumps(facts))
    else:
        _show(facts)
    return ExitCode.DONE


def _show(facts: Mapping[str, Any]) -> None:
    from inferonnx.report import table

    operators = facts["operators"]
    largest = sorted(operators, key=lambda one: -one["peak_bytes"])[:_SHOWN]
    rows = [
        [
            one["index"],
            one["type"],
            *(f"{one[f'{kind}_bytes'] / MIB:.2f}" for kind in ("weights", "activation", "peak")),
            f"{one['outside_ms']:.2f}",
            "–" if one["inside_ms"] is None else f"{one['inside_ms']:.2f}",
            "–" if one["faults"] is None else f"{one['faults']:.0f}",
            one["name"],
        ]
        for one in largest
    ]
    heads = ["operator", "type", "weights MiB", "activations MiB", "own peak MiB"]
    print(table([*heads, "outside ms", "inside ms", "faults", "name"], rows))
    if len(operators) > len(rows):
        print(f"the {len(rows)} that need the most of {len(operators)} operators")
    print(f"entire model at once: {format_size(facts['entire_peak_bytes'])}", end=" ")
    print(
        f"(weights {format_size(facts['weights_bytes'])}, "
        f"activations {format_size(facts['activation_bytes'])})"
    )
    fitting = sum(one["peak_bytes"] <= facts["epc_bytes"] for one in operators)
    print(
        f"{fitting} of {len(operators)} operators fit by themselves into an EPC of "
        f"{format_size(facts['epc_bytes'])}"
    )
    outside = sum(one["outside_ms"] for one in operators)
    print(f"outside {outside:.1f} ms", end="")
    if facts["limit_bytes"] is not None:
        inside = sum(one["inside_ms"] for one in operators)
        faults = sum(one["faults"] for one in operators)
        print(f", inside {inside:.1f} ms with {faults:.0f} major faults", end="")
    print(f"; {facts['label']}")
