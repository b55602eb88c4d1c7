"""What each operator of an original graph holds and takes, measured one by one.

Each operator is a model of its own, weights inside, on plain onnxruntime with its
defaults, run in the graph's order on a sample: what its inputs and outputs weigh is
counted exactly, the time is a median of warm runs. A measurement that is interrupted
goes on where it was: operators that have a time run once, for their values.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.errors import ModelError, UsageError
from inferonnx.model.chain.building import build_part
from inferonnx.model.chain.original import CARRIED, Edge
from inferonnx.model.onnxruntime_door import (
    MEASURING_THREADS,
    open_session,
    reason,
    session_options,
    version,
)
from inferonnx.model.plain import PlainModel
from inferonnx.model.prepare import sample_and_outputs
from inferonnx.model.sample import check_dims
from inferonnx.model.values import content_bytes, fetch, shape_of, tensor_value
from inferonnx.runtime.files import read_file
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.model.chain.original import Original

SCHEMA = "inferonnx.operators/1"

_LIMIT_BYTES = 1 << 28

# Timed runs of an operator, after one to warm up: as many as fit the time, at least one.
_TIMED_RUNS = 5
_TIMED_S = 0.25

_SAVED_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFigures:
    """Figures of the first operators of a model, or of all.

    Attributes:
        model_sha256: Of the ONNX file and its external data, joined by spaces.
        sample: Shapes of the inputs that were measured with, by name.
        value_bytes: Bytes of the inputs and of all that operators made.
        times_s: Seconds by operator.
    """

    model_sha256: str
    sample: Mapping[str, Any]
    value_bytes: Mapping[str, int]
    times_s: tuple[float, ...]


def choose_sample(
    original: Original, *, dims: Mapping[str, int] | None = None, sample: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the sample given, checked, or one made up from the signature.

    Raises:
        ModelError: onnxruntime does not run the model on it.
        TensorError: It does not fit the model.
        UsageError: A dim that the model does not have.
    """
    check_dims(list(original.inputs), dims or {})
    run = PlainModel(original.path).run
    return sample_and_outputs(run, list(original.inputs), dims or {}, sample)[0]


def measure_operators(
    original: Original,
    sample: Mapping[str, Any],
    *,
    cache: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> OperatorFigures:
    """Return the figures of all operators.

    Args:
        original: Its types are known.
        sample: Inputs by name.
        cache: File that keeps the figures; read where it is of this model, sample and
            onnxruntime, and otherwise replaced if it is a file of this kind.
        progress: Told how far it is; may raise to interrupt.

    Raises:
        ModelError: onnxruntime runs the model as a whole, but not an operator of it.
        UsageError: The cache is a file of another kind.
    """
    figures = _begun(original, sample, cache)
    if len(figures.times_s) == len(original.operators):
        return figures
    walk = _Walk(original, sample, figures)
    n_operators = len(original.operators)
    allowed = [cut for cut in range(n_operators + 1) if cut not in original.uncuttable]
    saved = time.monotonic()
    try:
        for start, stop in pairwise(allowed):
            progress(f"measuring operator {start + 1} of {n_operators}")
            walk.step(start, stop)
            if cache and time.monotonic() - saved > _SAVED_EVERY_S:
                _save(cache, walk.figures)
                saved = time.monotonic()
    finally:
        if cache and walk.figures.times_s:
            _save(cache, walk.figures)
    return walk.figures


class _Walk:
    """One walk from operator to operator, keeping the values that are still needed."""

    def __init__(
        self, original: Original, sample: Mapping[str, Any], figures: OperatorFigures
    ) -> None:
        self._original = original
        self._live = {name: tensor_value(value) for name, value in sample.items()}
        self.figures = figures

    def step(self, start: int, stop: int) -> None:
        """Run an operator, or several that can't be parted; count and time them if that is new.

        The time of several is that of the first.
        """
        original, is_known = self._original, len(self.figures.times_s) >= stop
        nodes = original.operators[start:stop]
        produced = [name for node in nodes for name in node.output if name]
        fetched = [n for n in produced if original.types[n].WhichOneof("value") in CARRIED]
        edge = Edge(original.edge(start, stop).inputs, tuple(fetched))
        feeds = {name: self._live[name] for name in edge.inputs}
        try:
            part = build_part(original, start, stop, edge=edge)
            options = session_options(optimise="all", n_threads=MEASURING_THREADS)
            session = open_session(part.model, options)
            results = _fetch(session, fetched, feeds)
            seconds = 0.0 if is_known else _timed(session, fetched, feeds)
        except Exception as error:
            label = nodes[0].name or f"{nodes[0].op_type} (operator {start})"
            raise ModelError(
                f"onnxruntime does not run operator {label!r} by itself: {reason(error)}",
                where=label,
            ) from error
        if not is_known:
            counted = {name: content_bytes(results.get(name)) for name in produced}
            self.figures = replace(
                self.figures,
                value_bytes={**self.figures.value_bytes, **counted},
                times_s=(*self.figures.times_s, seconds, *[0.0] * (stop - start - 1)),
            )
        self._live.update(results)
        last = original.last_use
        self._live = {n: v for n, v in self._live.items() if last.get(n, -1) >= stop}


def _fetch(session: Any, names: list[str], feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as onnxruntime's, and sequences and maps as Python's."""
    results = fetch(session, names, feeds)
    opaque = [n for n, v in results.items() if hasattr(v, "is_tensor") and not v.is_tensor()]
    if opaque:
        results |= dict(zip(opaque, session.run(opaque, dict(feeds)), strict=True))
    return results


def _timed(session: Any, names: list[str], feeds: Mapping[str, Any]) -> float:
    times: list[float] = []
    until = time.perf_counter() + _TIMED_S
    while not times or (len(times) < _TIMED_RUNS and time.perf_counter() < until):
        began = time.perf_counter()
        fetch(session, names, feeds)
        times.append(time.perf_counter() - began)
    return median(times)


def _begun(original: Original, sample: Mapping[str, Any], cache: str | None) -> OperatorFigures:
    """Return what the cache has of this model and sample, or figures of the inputs alone."""
    shapes = {name: _shape(value) for name, value in sample.items()}
    none = OperatorFigures(
        model_sha256=" ".join([original.sha256, *original.data_sha256.values()]),
        sample=shapes,
        value_bytes={
            value.name: content_bytes(sample.get(value.name)) for value in original.inputs
        },
        times_s=(),
    )
    kept = _load(cache) if cache and os.path.lexists(cache) else None
    same = kept and (kept.model_sha256, dict(kept.sample)) == (none.model_sha256, shapes)
    return kept if kept and same else none


def _shape(value: Any) -> list[int] | None:
    shape = shape_of(value)
    return None if shape is None else list(shape)


def _load(path: str) -> OperatorFigures | None:
    """Return the figures in a file; None where another onnxruntime made them.

    Raises:
        UsageError: It is a file of another kind.
    """
    try:
        facts = json.loads(read_file(path, limit_bytes=_LIMIT_BYTES))
        if facts.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        is_current = facts.pop("onnxruntime") == version()
        facts["times_s"] = tuple(map(float, facts["times_s"]))
        figures = OperatorFigures(**facts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path!r} is no file of operator figures, or is damaged",
            hint="Move it away; nothing was changed.",
        ) from error
    return figures if is_current else None


def _save(path: str, figures: OperatorFigures) -> None:
    facts = {
        "schema": SCHEMA,
        "onnxruntime": version(),
        "model_sha256": figures.model_sha256,
        "sample": figures.sample,
        "value_bytes": figures.value_bytes,
        "times_s": figures.times_s,
    }
    with whole_file(path) as file:
        file.write(json.dumps(facts, indent=1).encode())
