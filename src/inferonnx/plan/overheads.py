"""The list of operators that are slow inside an enclave: text to values.

The paper's artifact keeps it in `operator_overhead.txt`. For each model:

    Heaviest operators for <model>:
    <operator>: <overhead>x
    ...

highest overhead first, an empty line after each model. The overhead is
(time inside - time outside) / time outside.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from inferonnx.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OVERHEAD_LIMIT = 12.0
"""An operator whose overhead is above this is memory-intensive, and stands alone (the paper's)."""

_HEADING = "Heaviest operators for "


def parse_operator_overheads(text: str) -> Mapping[str, Mapping[str, float]]:
    """Return the overhead of each listed operator of each model.

    Both mappings keep the order of the text; a model without operators is kept too.

    Raises:
        PlanError: A line is neither heading nor entry, an entry comes before any
            heading, a number is not one, or a name is given twice.
    """
    models: dict[str, dict[str, float]] = {}
    current: dict[str, float] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            current = None
        elif line.startswith(_HEADING) and line.rstrip().endswith(":"):
            model = line.rstrip()[len(_HEADING) : -1]
            if model in models:
                raise _refusal(number, f"model {model!r} is listed twice")
            current = models[model] = {}
        elif current is None:
            raise _refusal(number, f"{line[:80]!r} stands under no model")
        else:
            operator, overhead = _parse_entry(number, line.rstrip())
            if operator in current:
                raise _refusal(number, f"operator {operator!r} is listed twice")
            current[operator] = overhead
    return models


def _parse_entry(number: int, line: str) -> tuple[str, float]:
    """Return the operator and the overhead of one line; names may hold ": "."""
    operator, colon, amount = line.rpartition(": ")
    try:
        overhead = float(amount.removesuffix("x"))
    except ValueError:
        overhead = math.nan
    if not colon or not operator or not amount.endswith("x") or not math.isfinite(overhead):
        raise _refusal(number, f"{line[:80]!r} is not '<operator>: <overhead>x'")
    return operator, overhead


def _refusal(number: int, problem: str) -> PlanError:
    return PlanError(f"line {number} of the operator overheads: {problem}", where=f"line {number}")


def operator_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return what the operators of a graph are called in that list, and beside their times.

    ONNX lets a node's name be empty, repeated, or of several lines. Such a one is made
    printable and gets its index behind it: "conv", "#1", "conv#2".
    """
    found: list[str] = []
    taken = set(names)
    seen: set[str] = set()
    for index, name in enumerate(names):
        shown = _printable(name)
        if not shown.strip() or shown in seen or (shown != name and shown in taken):
            shown = f"{shown.strip()}#{index}"
            while shown in taken or shown in seen:
                shown += "#"
        seen.add(shown)
        found.append(shown)
    return tuple(found)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
