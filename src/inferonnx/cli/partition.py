"""`inferonnx partition` and `verify-partitions`: a model as plain ONNX files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inferonnx.app.host.comparing import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from inferonnx.cli.differences import print_difference, yes_or_no
from inferonnx.cli.options import add_json, add_shapes, dims, positive, size, verb
from inferonnx.cli.progress import Progress
from inferonnx.cli.seal import OVERHEADS
from inferonnx.errors import ExitCode
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    import argparse

    from inferonnx.cli.main import Verbs

_STRATEGIES = ("paper", "optimal", "whole", "operators")

_CUT = """\
Cut a model's original graph into plain ONNX files that any ONNX runtime can run one
after another, and write index.json: their order and the values between them. Nothing
is optimised or encrypted. What is there and unchanged is kept; what was interrupted
goes on; no file that was not made here is replaced."""

_VERIFY = f"""\
Run the whole model and its partitions, one after another, on plain onnxruntime with the
same inputs, and compare. Exit code 4 when the largest element of an output is another one,
or a float differs by more than {RELATIVE_TOLERANCE:g} of its output's largest value and more \
than
{ABSOLUTE_TOLERANCE:g}, an 8-bit integer by more than one step, anything else at all."""


def add_parser(verbs: Verbs, name: str) -> None:
    """Add `partition` or `verify-partitions`."""
    if name == "partition":
        _add_partition(verbs, name)
    else:
        _add_verify(verbs, name)


def _add_partition(verbs: Verbs, name: str) -> None:
    parser = verb(
        verbs,
        name,
        _CUT,
        "  inferonnx partition resnet.onnx -o partitions\n"
        "  inferonnx partition resnet.onnx -o partitions --strategy optimal --memory 85MiB\n"
        "  inferonnx partition resnet.onnx -o whole --strategy whole",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("-o", "--output", metavar="DIR", required=True)
    parser.add_argument(
        "--strategy",
        choices=_STRATEGIES,
        metavar="STRATEGY",
        default="paper",
        help="paper: operators' own peaks added up from the last to the first; optimal: least "
        "predicted latency within a peak; whole: one file; operators: a file an operator "
        "(default: paper)",
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        type=size,
        help="what the operators of a partition add up to (paper, default: 85MB), or the peak "
        "of the process (optimal, default: 85MiB)",
    )
    add_shapes(parser)
    add_json(parser)
    parser.set_defaults(run=_partition)


def _add_verify(verbs: Verbs, name: str) -> None:
    parser = verb(
        verbs,
        name,
        _VERIFY,
        "  inferonnx verify-partitions resnet.onnx partitions\n"
        "  inferonnx verify-partitions resnet.onnx partitions --input samples/ --json",
    )
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument(
        "--samples", metavar="N", type=positive, default=3, help="inputs to make up (default: 3)"
    )
    add_shapes(parser)
    add_json(parser)
    parser.set_defaults(run=_verify)


def _partition(options: argparse.Namespace) -> int:
    from inferonnx.app.owner.partitioning import partition
    from inferonnx.app.owner.planning import memory_intensive_operators
    from inferonnx.app.owner.samples import load_arrays

    intensive: frozenset[str] = frozenset()
    if options.strategy == "paper":
        if OVERHEADS.exists():
            intensive = memory_intensive_operators(str(OVERHEADS), Path(options.model).stem)
        else:
            print(f"note: no {OVERHEADS}, so no operator stands alone", file=sys.stderr)
    progress = Progress()
    try:
        done = partition(
            options.model,
            options.output,
            strategy=options.strategy,
            limit_bytes=options.memory,
            memory_intensive=intensive,
            sample=load_arrays(options.model, options.input)[0] if options.input else None,
            dims=dims(options.dim),
            progress=progress,
        )
    finally:
        progress.done()
    chain = done.chain
    if options.json:
        facts = {
            "schema": "inferonnx.partition/1",
            "folder": chain.folder,
            "model_sha256": chain.model_sha256,
            "strategy": chain.strategy,
            "limit_bytes": chain.limit_bytes,
            "new": done.is_new,
            "partitions": [
                {"file": link.file, "operators": [link.start, link.stop]} for link in chain.links
            ],
        }
        print(json.dumps(facts))
        return ExitCode.DONE
    limit = f", limit {format_size(chain.limit_bytes)}" if chain.limit_bytes else ""
    state = "written" if done.is_new else "unchanged"
    print(f"{chain.folder}: {len(chain.links)} partitions ({chain.strategy}{limit}), {state}")
    return ExitCode.DONE


def _verify(options: argparse.Namespace) -> int:
    from inferonnx.app.owner.partitioning import check_partitions_agree, verify_partitions
    from inferonnx.app.owner.samples import load_arrays

    progress = Progress()
    try:
        _, difference = verify_partitions(
            options.model,
            options.folder,
            samples=load_arrays(options.model, options.input) if options.input else (),
            dims=dims(options.dim),
            n_samples=options.samples,
            progress=progress,
        )
    finally:
        progress.done()
    print_difference(
        difference,
        schema="inferonnx.verify-partitions/1",
        as_json=options.json,
        own={"same category": yes_or_no(difference.same_largest)},
    )
    check_partitions_agree(difference)
    return ExitCode.DONE
