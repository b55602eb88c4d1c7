"""One case, run on plain onnxruntime and on the sealed stream, both held against the standard.

The comparison is that of the suite's own runner, with the case's tolerances. What
the two sides answer is also compared bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from inferonnx.backend.plain import run_plain
from inferonnx.backend.standard import SealedBackend
from inferonnx.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.backend.cases import Case

    Answers = list[Sequence[Any]]
    """Outputs of a model, for each set of inputs."""

_CLIP = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one side of a case did.

    Attributes:
        passed: Its answers are those of the standard.
        answered: It gave answers, right or wrong.
        why: Why it did not pass: one line, clipped.
        n_partitions: Partitions of the sealed model; 0 for plain onnxruntime.
        n_streamed: Blocks that were read and opened for the last answer; likewise.
        same_bits: The answers equal those of plain onnxruntime to the bit; likewise.
    """

    passed: bool
    answered: bool
    why: str = ""
    n_partitions: int = 0
    n_streamed: int = 0
    same_bits: bool = False


def judge_plain(case: Case) -> tuple[Outcome, Answers]:
    """Return how plain onnxruntime does, and its answers."""
    try:
        answers: Answers = [*run_plain(case.model, [inputs for inputs, _ in case.data_sets])]
    except Exception as error:  # onnxruntime's classes have no common base but this
        return Outcome(passed=False, answered=False, why=_line(error)), []
    why = _held_against(case, answers)
    return Outcome(passed=not why, answered=True, why=why), answers


def judge_sealed(case: Case, plain: Answers, *, layout: str = "native") -> Outcome:
    """Return how the sealed stream does.

    Args:
        case: What to run.
        plain: Answers of plain onnxruntime, empty where it has none.
        layout: As for `model.prepare`.
    """
    model = onnx.ModelProto.FromString(case.model)
    try:
        with SealedBackend.prepare(model, layout=layout) as rep:
            answers: Answers = [rep.run(inputs) for inputs, _ in case.data_sets]
            n_partitions, n_streamed = rep.n_partitions, rep.n_streamed
    except Exception as error:  # whatever it is, the report shows it
        return Outcome(passed=False, answered=False, why=_line(error))
    why = _held_against(case, answers)
    return Outcome(
        passed=not why,
        answered=True,
        why=why,
        n_partitions=n_partitions,
        n_streamed=n_streamed,
        same_bits=is_same([list(outputs) for outputs in plain], [list(o) for o in answers]),
    )


def difference(expected: Sequence[Any], outputs: Sequence[Any], *, rtol: float, atol: float) -> str:
    """Return how outputs differ from what is expected, "" if they do not, as the standard judges.

    Types that numpy lacks are compared as float32, since numpy's comparison does not
    know them; that the types themselves agree is checked before.
    """
    from onnx.backend.test.runner import Runner

    for wanted, got in zip(expected, outputs, strict=False):
        if _type_name(wanted) != _type_name(got):
            return f"an output is {_type_name(got)}, and {_type_name(wanted)} is expected"
        # The runner looks only at what a sequence has, not at what is missing.
        if isinstance(wanted, list) and len(got) != len(wanted):
            return f"a sequence has {len(got)} elements, and {len(wanted)} are expected"
    try:
        with np.errstate(invalid="ignore"):  # infinities are subtracted where they are expected
            Runner.assert_similar_outputs(
                [_comparable(value) for value in expected],
                [_comparable(value) for value in outputs],
                rtol=rtol,
                atol=atol,
            )
    except (AssertionError, TypeError, AttributeError) as error:  # the last two: no arrays
        return _line(error)
    return ""


def is_same(left: Any, right: Any) -> bool:
    """Return whether two results are equal to the bit, types and shapes included."""
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(is_same(left[k], right[k]) for k in left)
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        if left.dtype != right.dtype or left.shape != right.shape:
            return False
        if left.dtype == object:
            return bool((left == right).all())
        return left.tobytes() == right.tobytes()
    return type(left) is type(right) and bool(left == right)


def _held_against(case: Case, answers: Answers) -> str:
    """Return how the answers differ from those of the standard, "" if they do not."""
    for (_, expected), outputs in zip(case.data_sets, answers, strict=True):
        why = difference(expected, outputs, rtol=case.rtol, atol=case.atol)
        if why:
            return why
    return ""


def _type_name(value: Any) -> str:
    """Return the element type of an array, "str" for all that numpy has for strings."""
    if not isinstance(value, np.ndarray):
        return "list" if isinstance(value, list | tuple) else type(value).__name__
    return "str" if value.dtype.kind in "OSU" else str(value.dtype)


def _comparable(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in "SU":
        return value.astype(object)
    # bfloat16 is left alone: the runner knows it, and gives it a tolerance of its own.
    foreign = value.dtype.type.__module__ == "ml_dtypes" and value.dtype.name != "bfloat16"
    return value.astype(np.float32) if foreign else value


def _line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, EngineError):
        text = f"{text}: {error.private_text}"
    return " ".join(text.split())[:_CLIP]
