"""The conformance suite as a command: `python -m inferonnx.backend.report -o docs/conformance.md`.

Runs each case on plain onnxruntime and on the sealed stream, and writes what came
of it as a page, or as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from inferonnx.backend.cases import KINDS, VARIANTS, load_cases
from inferonnx.backend.workers import judge_all
from inferonnx.errors import ExitCode
from inferonnx.report import markdown_table
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.backend.workers import Verdict

SCHEMA = "inferonnx.conformance/1"

_HEAD = """\
# Conformance

Does a model compute the same from a sealed file, however it is cut? The ONNX
standard has a suite of test cases with inputs and answers, which comes with the
`onnx` package. Every case runs twice in one go, with the same inputs, and the
standard's own comparison and tolerances:

- on plain onnxruntime, its Python package with its defaults;
- on the sealed stream through `inferonnx.backend`, a backend in the sense of
  `onnx.backend.base`: the model is cut at every place where values can cross, one
  node a partition, sealed with AES-256-GCM, and streamed with nothing resident; no
  initializer is too small to be streamed.

The suite's node models hold no weights. So a case with several inputs also runs
with *constants*: all its inputs but the first are initializers. Sequences and
optional values can't be initializers and stay inputs. What plain onnxruntime passes
must be what the sealed stream passes.
"""

_LEGEND = """\
*streamed*: passes with at least one block of weights that was read and opened. *cut*:
passes in more than one partition. *same bits*: passes with answers that equal plain
onnxruntime's to the last bit.
"""

_COMMANDS = """\
## Again

    python -m inferonnx.backend.report -o docs/conformance.md    # this page, in minutes
    python -m pytest tests/conformance                           # every twelfth case
    python -m pytest tests/conformance -m slow                   # all, held against this page

Cases run in processes of their own; one that died would be counted as failed.
Types that numpy lacks (bfloat16, float8, four and two bits) enter plain onnxruntime
as OrtValues, and are compared as float32 once the types are seen to agree.
"""

_CAUSES = (
    ("the operator is none of onnxruntime's", ("is not a registered function/op",)),
    (
        "no kernel for these types on the CPU",
        ("Could not find an impl", "find kernel", "Kernel not"),
    ),
    ("an answer outside the standard's tolerance", ("AssertionError",)),
    ("the standard's comparison can't compare the answer", ("TypeError",)),
    ("StringNormalizer's locale is not installed here", ("string_normalizer",)),
    ("onnxruntime refuses the model, or fails on it", ("Fail:", "RuntimeException:")),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite and return the exit code: 4 where results differ."""
    parser = argparse.ArgumentParser(
        prog="python -m inferonnx.backend.report",
        description="Run the standard's conformance suite on plain onnxruntime and on the sealed "
        "stream, and report how they did.",
    )
    parser.add_argument("-o", metavar="FILE", help="write the page there (default: stdout)")
    parser.add_argument("--json", action="store_true", help="write JSON to stdout, no page")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one case of so many")
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=KINDS, help="(default: all)")
    parser.add_argument(
        "--layout", choices=("native", "generic", "original"), default="native", help="of sealing"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at a time"
    )
    options = parser.parse_args(arguments)
    verdicts = judge_all(
        load_cases(options.kind, every=options.every),
        n_workers=options.workers,
        layout=options.layout,
        progress=_progress,
    )
    if options.json:
        sys.stdout.write(json.dumps(summary(verdicts)) + "\n")
    elif options.o:
        with whole_file(options.o) as file:
            file.write(page(verdicts).encode())
    else:
        sys.stdout.write(page(verdicts))
    return ExitCode.REFUSED if any(map(differs, verdicts)) else ExitCode.DONE


def differs(verdict: Verdict) -> bool:
    """Return whether one side passes, or answers at all, and the other does not."""
    plain, sealed = verdict.plain, verdict.sealed
    return (plain.passed, plain.answered) != (sealed.passed, sealed.answered)


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many cases there are, and how many pass, stream, are cut, agree to the bit.

    Partitions and blocks are those of all passes of the sealed stream together.
    """
    passed = [verdict for verdict in verdicts if verdict.sealed.passed]
    return {
        "cases": len(verdicts),
        "plain_passes": sum(verdict.plain.passed for verdict in verdicts),
        "sealed_passes": len(passed),
        "streamed": sum(verdict.sealed.n_streamed > 0 for verdict in passed),
        "cut": sum(verdict.sealed.n_partitions > 1 for verdict in passed),
        "same_bits": sum(verdict.sealed.same_bits for verdict in passed),
        "partitions": sum(verdict.sealed.n_partitions for verdict in passed),
        "blocks": sum(verdict.sealed.n_streamed for verdict in passed),
        "differences": sum(map(differs, verdicts)),
    }


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the result as a JSON-able object."""
    return {
        "schema": SCHEMA,
        "versions": _versions(),
        "total": counts(verdicts),
        "groups": [
            {"kind": kind, "variant": variant, **counts(group)}
            for kind, variant, group in _groups(verdicts)
        ],
        "differences": [
            {
                "name": verdict.name,
                "variant": verdict.variant,
                "plain": verdict.plain.why or "passes",
                "sealed": verdict.sealed.why or "passes",
            }
            for verdict in verdicts
            if differs(verdict)
        ],
    }


def page(verdicts: Sequence[Verdict]) -> str:
    """Return the result as a page in Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
    total = counts(verdicts)
    parts = [
        _HEAD,
        "## Result\n",
        _table(verdicts) + "\n",
        _LEGEND,
        f"{total['partitions']:,} partitions ran, and {total['blocks']:,} blocks were opened.\n",
        f"Measured with {versions}, on {os.uname().machine}.\n",
        "## Differences\n",
        _differences(verdicts) + "\n",
        "## What plain onnxruntime does not pass\n",
        "Nor does the sealed stream. Counted by cause:\n",
        _causes(verdicts) + "\n",
        _COMMANDS,
    ]
    return "\n".join(parts)


def _table(verdicts: Sequence[Verdict]) -> str:
    headers = (
        "suite",
        "inputs",
        "cases",
        "plain passes",
        "sealed passes",
        "streamed",
        "cut",
        "same bits",
    )
    keys = ("cases", "plain_passes", "sealed_passes", "streamed", "cut", "same_bits")
    groups = [*_groups(verdicts), ("all", "", list(verdicts))]
    rows = []
    for kind, variant, group in groups:
        figures = counts(group)
        rows.append([kind, variant, *(f"{figures[key]:,}" for key in keys)])
    return markdown_table(headers, rows)


def _groups(verdicts: Sequence[Verdict]) -> list[tuple[str, str, list[Verdict]]]:
    groups = []
    for kind in KINDS:
        for variant in VARIANTS:
            group = [v for v in verdicts if (v.kind, v.variant) == (kind, variant)]
            if group:
                groups.append((kind, variant, group))
    return groups


def _differences(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (v.name, v.variant, v.plain.why or "passes", v.sealed.why or "passes")
        for v in verdicts
        if differs(v)
    ]
    if not rows:
        return "None: the same cases pass on both sides."
    return markdown_table(("case", "inputs", "plain", "sealed"), rows)


def _causes(verdicts: Sequence[Verdict]) -> str:
    found: Counter[str] = Counter()
    for verdict in verdicts:
        if not verdict.plain.passed and not differs(verdict):
            why = verdict.plain.why
            found[
                next((name for name, texts in _CAUSES if any(t in why for t in texts)), "other")
            ] += 1
    return markdown_table(("cause", "cases"), found.most_common())


def _versions() -> dict[str, str]:
    names = ("inferonnx", "onnxruntime", "onnx", "numpy", "cryptography")
    return {**{name: version(name) for name in names}, "Python": platform.python_version()}


def _progress(n_done: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{n_done} cases")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
