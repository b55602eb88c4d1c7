"""`inferonnx seal`: turn an ONNX model into one encrypted, signed file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferonnx.cli.keys import load_key
from inferonnx.cli.options import (
    add_json,
    add_key,
    add_memory,
    add_shapes,
    check_outputs,
    dims,
    natural,
    verb,
)
from inferonnx.cli.progress import Progress
from inferonnx.crypto import SUITES
from inferonnx.errors import ExitCode, UsageError
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.app.owner.sealing import SealReport
    from inferonnx.cli.main import Verbs


_MEMORY = "85MiB"

OVERHEADS = Path("memory_intensive_ops") / "operator_overhead.txt"


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `seal`."""
    parser = verb(
        verbs,
        name,
        "Optimise the model once, cut it for a memory budget, measure the plan on the real\n"
        "engine, compare its results with plain onnxruntime, and write one encrypted file.\n"
        "The sealed file runs at any budget from its least upwards.",
        "  inferonnx seal resnet.onnx -o resnet.sealed --key owner.key --memory 85MiB\n"
        "  inferonnx seal bert.onnx -o bert.sealed --key owner.key --memory 96MiB \\\n"
        "      --dim batch=1 --dim seq=128 --name bert --release 3\n"
        "  inferonnx seal --partitions partitions -o resnet.sealed --key owner.key",
    )
    parser.add_argument(
        "model",
        metavar="MODEL.onnx",
        nargs="?",
        help="the model; with --partitions it may be left out, and is compared with if not",
    )
    parser.add_argument("-o", "--output", metavar="MODEL.sealed", required=True)
    add_key(parser)
    add_memory(parser, None, f"default: {_MEMORY}; with --partitions what they need")
    add_planning(parser)
    parser.add_argument(
        "--partitions",
        metavar="DIR",
        help="seal exactly the partitions in DIR, made by `partition`, each optimised on its own",
    )
    parser.add_argument("--name", help="the model's sealed name (default: the stem of the output)")
    parser.add_argument(
        "--release",
        metavar="N",
        type=natural,
        default=0,
        help="your count of releases, signed, so that clients can refuse older ones (default: 0)",
    )
    parser.add_argument(
        "--target",
        choices=("native", "generic", "avx2"),
        metavar="TARGET",
        default="native",
        help="native: machines with this one's CPU layout; generic: any machine, no "
        "layout of one CPU; avx2: the 8-channel layout, which only a machine with AVX2 and without "
        "AVX-512 can make: others are refused (default: native)",
    )
    add_json(parser)
    parser.set_defaults(run=_seal)


def add_planning(parser: argparse.ArgumentParser) -> None:
    """Add the options that shape a plan, which `seal` and `plan` share."""
    add_shapes(parser)
    parser.add_argument(
        "--suite",
        choices=tuple(SUITES),
        metavar="SUITE",
        default="aes-256-gcm",
        help="aes-256-gcm, or aegis-256x2 where its library is installed (default: aes-256-gcm)",
    )
    parser.add_argument(
        "--strategy",
        choices=("optimal", "paper"),
        metavar="STRATEGY",
        default="optimal",
        help="optimal: least predicted latency; paper: the InferONNX paper's greedy walk from "
        "the last operator to the first (default: optimal)",
    )


def check_planning_output(output: str | None, options: argparse.Namespace) -> None:
    """Refuse an output that can't be written, or is a file that `seal` and `plan` read.

    Raises:
        UsageError, UnavailableError: As `check_outputs`.
    """
    from inferonnx.app.host.inputs import sample_files
    from inferonnx.app.owner.samples import model_files

    read = [*sample_files(options.input), str(OVERHEADS)]
    if output and options.model and os.path.exists(output):  # a new file is none of the model's
        read += model_files(options.model)
    check_outputs([output], options=options, inputs=read)


def planning_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_planning` say, as arguments of `seal` and `plan`."""
    from inferonnx.app.owner.planning import memory_intensive_operators, suite_named

    suite_named(options.suite)  # whether its library is there
    intensive: frozenset[str] = frozenset()
    if options.strategy == "paper" and not getattr(options, "partitions", None):
        if OVERHEADS.exists():
            intensive = memory_intensive_operators(str(OVERHEADS), Path(options.model).stem)
        else:
            print(f"note: no {OVERHEADS}, so no operator stands alone", file=sys.stderr)
    return {
        "memory_intensive": intensive,
        "suite": options.suite,
        "strategy": options.strategy,
        "dims": dims(options.dim),
        "sample": _sample(options),
    }


def _sample(options: argparse.Namespace) -> Any:
    """Return the sample of `--input` as arrays by name; None without one."""
    from inferonnx.app.owner.samples import load_arrays, load_chain_arrays

    if not options.input:
        return None
    if options.model is None:
        return load_chain_arrays(options.partitions, options.input)[0]
    return load_arrays(options.model, options.input)[0]


def _seal(options: argparse.Namespace) -> int:
    from inferonnx.app.owner.sealing import seal

    if options.model is None and options.partitions is None:
        raise UsageError("there is no model to seal", hint="Give MODEL.onnx, or --partitions DIR.")
    check_planning_output(options.output, options)
    progress = Progress()
    try:
        report = seal(
            options.model,
            options.output,
            key=load_key(options),
            memory=options.memory or (None if options.partitions else _MEMORY),
            name=options.name,
            partitions=options.partitions,
            release=options.release,
            target=options.target,
            progress=progress,
            **planning_arguments(options),
        )
    finally:
        progress.done()
    if options.json:
        print(json.dumps(_facts(report, options)))
        return ExitCode.DONE
    plan, planned = report.planned.plan, report.planned
    print(f"model id     {report.model_id}")
    print(f"file         {format_size(report.file_bytes)}, {len(plan.partitions)} partitions")
    print(f"peak         {format_size(planned.peak_bytes)} of {format_size(plan.budget_bytes)}")
    print(f"least        {format_size(planned.least_bytes)}")
    print(
        f"a pass       {planned.latency_s * 1e3:.1f} ms predicted, "
        f"{format_size(plan.streamed_bytes)} streamed"
    )
    print(f"difference   {_difference(report)}")
    for note in planned.prepared.notes:
        print(f"note: {note}", file=sys.stderr)
    return ExitCode.DONE


def _difference(report: SealReport) -> str:
    if not report.planned.prepared.repeatable:
        return "not judged: the model draws random numbers"
    if report.difference.exact:
        return "none: bit for bit what plain onnxruntime computes"
    return f"{report.difference.absolute:.3g} at most from plain onnxruntime"


def _facts(report: SealReport, options: argparse.Namespace) -> dict[str, object]:
    plan = report.planned.plan
    return {
        "schema": "inferonnx.seal/1",
        "model_id": report.model_id,
        "name": Path(report.path).stem if options.name is None else options.name,
        "file_bytes": report.file_bytes,
        "partitions": len(plan.partitions),
        "budget_bytes": plan.budget_bytes,
        "predicted_peak_bytes": report.planned.peak_bytes,
        "least_bytes": report.planned.least_bytes,
        "predicted_latency_ms": report.planned.latency_s * 1e3,
        "streamed_bytes": plan.streamed_bytes,
        "largest_difference": report.difference.absolute,
        "exact": report.difference.exact,
        "notes": list(report.planned.prepared.notes),
    }
