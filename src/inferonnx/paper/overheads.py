"""What operators cost inside a memory limit: two text files, their lines and values.

`memory_intensive_ops/<model>_operator_times.txt` has a heading of three lines, which
name the model's bytes and what "inside" was, a line of column names, and a line an
operator, fields parted by tabs; "-" is what was not measured yet:

    # inferonnx.operator-times/1
    # model <sha256 of the ONNX file>
    # inside: <limit in bytes, or ->
    index  name  type  outside_ms  inside_ms  label

`memory_intensive_ops/operator_overhead.txt` is the artifact's own list
(`plan.overheads` has its form) of the operators whose overhead is above 12. Pure:
text in, values out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.paper.artifact import OVERHEAD_FILE, OVERHEAD_FOLDER
from inferonnx.plan import OVERHEAD_LIMIT, operator_names, parse_operator_overheads

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "OperatorTime",
    "OperatorTimes",
    "check_fresh",
    "encode_operator_overheads",
    "encode_operator_times",
    "heaviest",
    "operator_names",
    "overheads_path",
    "parse_operator_overheads",
    "parse_operator_times",
    "times_path",
]

MAGIC = "# inferonnx.operator-times/1"
_MODEL, _INSIDE = "# model ", "# inside: "
_COLUMNS = ("index", "name", "type", "outside_ms", "inside_ms", "label")
_UNKNOWN = "-"
_LEAST_MS = 1e-6
"""A nanosecond, which no clock here resolves: what took no time outside took this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """One operator of a model's original graph.

    Attributes:
        index: Its place in the order of the graph.
        name: As `operator_names` gives it: unique, in one line.
        type: Its operator, "Conv".
        outside_ms: Without a limit; None where not measured.
        inside_ms: Within the limit, its page faults included; None where not measured.
        label: What enforced the limit while `inside_ms` was measured; "" where it was not.
    """

    index: int
    name: str
    type: str
    outside_ms: float | None = None
    inside_ms: float | None = None
    label: str = ""

    @property
    def overhead(self) -> float | None:
        """(inside - outside) / outside; None unless both were measured."""
        if self.outside_ms is None or self.inside_ms is None:
            return None
        outside_ms = max(self.outside_ms, _LEAST_MS)
        return (self.inside_ms - outside_ms) / outside_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTimes:
    """The times of all operators of one model.

    Attributes:
        model_sha256: Of the ONNX file, in hex.
        limit_bytes: The limit of `inside_ms`; None where there was none.
        operators: In the graph's order.
    """

    model_sha256: str
    limit_bytes: int | None
    operators: tuple[OperatorTime, ...]


def times_path(model: str, folder: str = OVERHEAD_FOLDER) -> str:
    """Return where the operator times of a model lie."""
    return os.path.join(folder, f"{model}_operator_times.txt")


def overheads_path(folder: str = OVERHEAD_FOLDER) -> str:
    """Return where the list of memory-intensive operators lies."""
    return os.path.join(folder, OVERHEAD_FILE)


def heaviest(times: OperatorTimes, limit: float = OVERHEAD_LIMIT) -> dict[str, float]:
    """Return the overhead of the operators above the limit, by name, highest first."""
    found = {
        operator.name: operator.overhead
        for operator in times.operators
        if operator.overhead is not None and operator.overhead > limit
    }
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def encode_operator_overheads(models: Mapping[str, Mapping[str, float]]) -> str:
    """Return the text of `operator_overhead.txt`; models without operators do not appear."""
    blocks = []
    for model, overheads in models.items():
        ordered = sorted(overheads.items(), key=lambda entry: -entry[1])
        lines = [f"{operator}: {overhead:.2f}x\n" for operator, overhead in ordered]
        if lines:
            blocks.append(f"Heaviest operators for {model}:\n{''.join(lines)}\n")
    return "".join(blocks)


def encode_operator_times(times: OperatorTimes) -> str:
    """Return the text of an operator time file."""
    limit = _UNKNOWN if times.limit_bytes is None else str(times.limit_bytes)
    lines = [MAGIC, f"{_MODEL}{times.model_sha256}", f"{_INSIDE}{limit}", "\t".join(_COLUMNS)]
    for one in times.operators:
        shown = (_milliseconds(one.outside_ms), _milliseconds(one.inside_ms))
        fields = (str(one.index), one.name, one.type, *shown, one.label or _UNKNOWN)
        lines.append("\t".join(fields))
    return "\n".join(lines) + "\n"


def parse_operator_times(text: str) -> OperatorTimes:
    """Return the values of an operator time file.

    Raises:
        UsageError: It is no such file, or a line of it is none of its lines.
    """
    lines = text.splitlines()
    heading = [MAGIC, _MODEL, _INSIDE, "\t".join(_COLUMNS)]
    starts = [line.startswith(start) for line, start in zip(lines, heading, strict=False)]
    if len(starts) < len(heading) or not all(starts):
        raise _refusal(starts.index(False) + 1 if False in starts else len(lines) + 1)
    limit = lines[2].removeprefix(_INSIDE)
    if limit != _UNKNOWN and not limit.isdecimal():
        raise _refusal(3)
    operators = []
    for number, line in enumerate(lines[len(heading) :], start=len(heading) + 1):
        operators.append(_parse_operator(number, line))
        if operators[-1].index != len(operators) - 1:
            raise _refusal(number)
    return OperatorTimes(
        model_sha256=lines[1].removeprefix(_MODEL),
        limit_bytes=None if limit == _UNKNOWN else int(limit),
        operators=tuple(operators),
    )


def check_fresh(times: OperatorTimes, *, path: str, model_sha256: str, n_operators: int) -> None:
    """Refuse times of another model.

    Args:
        times: What the file says.
        path: The file.
        model_sha256: Of the ONNX file as it is now.
        n_operators: Of its graph.

    Raises:
        UsageError: The model's bytes or the number of its operators differ.
    """
    if times.model_sha256 != model_sha256:
        what = "is of another model: the SHA-256 differs"
    elif len(times.operators) != n_operators:
        what = f"lists {len(times.operators)} operators, and the model has {n_operators}"
    else:
        return
    raise UsageError(f"{path!r} {what}", hint="Move it elsewhere; nothing was changed.")


def _parse_operator(number: int, line: str) -> OperatorTime:
    fields = line.split("\t")
    if len(fields) != len(_COLUMNS) or not (fields[0].isascii() and fields[0].isdecimal()):
        raise _refusal(number)
    try:
        outside_ms, inside_ms = (
            None if field == _UNKNOWN else float(field) for field in fields[3:5]
        )
    except ValueError:
        raise _refusal(number) from None
    if not all(ms is None or 0 <= ms < float("inf") for ms in (outside_ms, inside_ms)):
        raise _refusal(number)
    return OperatorTime(
        index=int(fields[0]),
        name=fields[1],
        type=fields[2],
        outside_ms=outside_ms,
        inside_ms=inside_ms,
        label="" if fields[5] == _UNKNOWN else fields[5],
    )


def _milliseconds(ms: float | None) -> str:
    return _UNKNOWN if ms is None else f"{ms:.6f}"


def _refusal(number: int) -> UsageError:
    return UsageError(
        f"line {number} of the operator times is none of such a file",
        where=f"line {number}",
        hint="Move the file elsewhere and measure again; nothing was changed.",
    )
