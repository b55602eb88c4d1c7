"""What came of Triton's tests, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triton_qa_runs import NOT_RUN, PREFACE

from inferonnx import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triton_qa_runs import Run


class Outcome(NamedTuple):
    """What became of one test; no complaint is a pass."""

    run: Run
    test: str
    complaint: str


def report(commit: str, outcomes: Sequence[Outcome]) -> str:
    """Return the page: a table of files, and what does not pass with its reason."""
    passed = sum(not outcome.complaint for outcome in outcomes)
    lines = [
        "# Triton's own tests",
        "",
        f"`scripts/triton_qa.py CHECKOUT` runs {len({o.run.file for o in outcomes})} files of",
        "[Triton's QA](https://github.com/triton-inference-server/server/tree/main/qa),",
        f"unmodified, against `inferonnx serve`: {passed} of {len(outcomes)} pass. This table",
        f"is of commit `{commit}` and inferonnx {__version__}.",
        *PREFACE.splitlines(),
        "",
        "| file | tests | pass | do not |",
        "|---|---:|---:|---:|",
    ]
    for file in dict.fromkeys(outcome.run.file for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.run.file == file]
        good = sum(not outcome.complaint for outcome in mine)
        lines.append(f"| {file} | {len(mine)} | {good} | {len(mine) - good} |")
    lines += ["", "## What does not pass, and why", "", "| reason | tests |", "|---|---|"]
    whys: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.complaint:
            why = outcome.run.reason(outcome.test) or f"unknown: {outcome.complaint[:200]}"
            whys.setdefault(" ".join(why.split()), set()).add(outcome.test)
    lines += [f"| {why} | {', '.join(sorted(tests))} |" for why, tests in sorted(whys.items())]
    lines += ["", "## What is not run", "", "| files | reason |", "|---|---|"]
    lines += [f"| {files} | {why} |" for files, why in NOT_RUN.items()]
    return "\n".join(lines) + "\n"
