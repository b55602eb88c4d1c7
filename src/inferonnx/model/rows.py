"""Whether the rows of a batch are computed independently of each other: found out by trying.

A first axis that is open need not be a batch: `x - mean(x, axis 0)` takes any number of
rows, and each changes the answer to all others. Requests of several callers may only
be joined where that can't be. So rows are computed alone, together, and in another
order, on plain onnxruntime, and must come out the same. What can't be tried is taken
to be dependent; so is what a few trials may not show: operators whose shapes or steps
depend on values, and those with one scale for all rows.
"""

from __future__ import annotations

import time
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inferonnx.model.agree import NODE_TOLERANCE, differing
from inferonnx.model.subgraphs import all_graphs, bodies
from inferonnx.model.types import dims_of
from inferonnx.model.values import is_numpys, run_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx import NodeProto, ValueInfoProto

    from inferonnx.model.draft import Draft
    from inferonnx.model.types import Dims

    Row = dict[str, Any]

SLOW_S = 2.0
"""A model whose run takes longer is not tried: it would take a dozen of them."""

_QUICK_S = 0.05
_SEED = 21
_ORDER = (2, 0, 1)

_FACTORS = (30.0, 1.0, 1000.0)
"""How far the last row of a trial is out of the sample's range; a quick model gets all trials.
What rows have in common shows best where one of them is much larger."""

_SPREADS = ((0, 3), (0, 1), (1, 2))
"""Integers to draw from where the sample has one value alone; some models take only some."""

_LENGTHS = (32, 5)
"""What to make of open axes of length 1, where the model takes it."""

_DRAWS = 4
"""How often to draw from each, until three answers differ."""

_SEARCH_S = 5.0
"""After this no more rows are drawn, however often they were."""

_WORDS = ("", "a", "the end", "InferONNX")

_ACROSS = frozenset(
    {
        # Shapes, or the number of steps, depend on values.
        *("Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "StringSplit", "Unique"),
        *("BeamSearch", "GreedySearch", "Sampling", "Tokenizer", "WhisperBeamSearch"),
        # One scale for all rows.
        *("DynamicQuantizeLSTM", "DynamicQuantizeLinear", "DynamicQuantizeMatMul"),
    }
)


class RowsTrial(NamedTuple):
    """What came of trying.

    Attributes:
        independent: Whether each row comes out as it does alone.
        note: For the owner, why not; "" where that is plain from the signature.
    """

    independent: bool
    note: str = ""


def are_free(shapes: Sequence[Dims | None]) -> bool:
    """Return whether the first axis of all these shapes is open, and ties no other axis."""
    firsts = [shape[0] for shape in shapes if shape]
    if not shapes or len(firsts) < len(shapes) or any(isinstance(dim, int) for dim in firsts):
        return False
    others = {dim for shape in shapes for dim in (shape or ())[1:]}
    return not others.intersection(dim for dim in firsts if dim is not None)


def try_rows(draft: Draft, session: Any, sample: Mapping[str, Any]) -> RowsTrial:
    """Return whether the model computes each row of a batch as it does alone.

    Args:
        draft: The model.
        session: Plain onnxruntime over it.
        sample: Inputs that it takes.
    """
    if not _can_be_tried(draft.inputs, sample):
        return RowsTrial(False)
    across = next((node.op_type for node in _nodes(draft) if node.op_type in _ACROSS), None)
    if across is not None:
        return RowsTrial(False, f"requests are not batched: {across} may look at several rows")
    generator = np.random.default_rng(_SEED)
    note = "whether rows are independent could not be tried on this sample; --input gives another"
    for base in _bases(draft.inputs, sample):
        try:
            start = time.perf_counter()
            alone = run_whole(session, base)
        except Exception:  # noqa: S112 - onnxruntime's classes have no common base but this
            continue
        took_s = time.perf_counter() - start
        if took_s > SLOW_S:
            note = f"a run takes {took_s:.1f} s, too long to try whether rows are independent"
            continue
        trial = _Trial(session, sample, base, alone, generator)
        factors = _FACTORS if took_s < _QUICK_S else _FACTORS[:1]
        outcomes = [trial.outcome(factor) for factor in factors]
        if False in outcomes:
            note = "the rows of a batch are not independent"
            break
        if None not in outcomes:
            return RowsTrial(True)
    return RowsTrial(False, f"requests are not batched: {note}")


def _can_be_tried(inputs: list[ValueInfoProto], sample: Mapping[str, Any]) -> bool:
    return are_free([dims_of(value.type) for value in inputs]) and all(
        isinstance(sample.get(value.name), np.ndarray) and len(sample[value.name])
        for value in inputs
    )


def _bases(inputs: list[ValueInfoProto], sample: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the sample's first row, but first with open axes of length 1 made longer.

    A sentence of one word, an image of one pixel: what happens along such an axis, and what
    mixes it with the rows, does not show.
    """
    first = {value.name: sample[value.name][:1] for value in inputs}
    open_axes = {
        value.name: [not isinstance(dim, int) for dim in dims_of(value.type) or ()]
        for value in inputs
    }
    for length in _LENGTHS:
        repeats = {
            name: [
                length if axis and is_open and array.shape[axis] == 1 else 1
                for axis, is_open in enumerate(open_axes[name])
            ]
            for name, array in first.items()
        }
        if any(max(repeat) > 1 for repeat in repeats.values()):
            yield {name: np.tile(array, repeats[name]) for name, array in first.items()}
    yield first


def _nodes(draft: Draft) -> Iterator[NodeProto]:
    for node in draft.nodes:
        yield node
        for body in bodies(node):
            for graph in all_graphs(body):
                yield from graph.node


class _Trial:
    """Three different rows: the sample's first, one in its range, one far out of it."""

    def __init__(
        self,
        session: Any,
        sample: Mapping[str, Any],
        base: Row,
        alone: Row,
        generator: np.random.Generator,
    ) -> None:
        self._session = session
        self._sample = sample
        self._base, self._alone = base, alone
        self._generator = generator

    def outcome(self, factor: float) -> bool | None:
        """Return whether all rows come out as they do alone; None where none could be found."""
        found = self._distinct(factor)
        if found is None:
            return None
        rows, alone = found
        for order in (range(len(rows)), _ORDER):
            joined = {name: np.concatenate([rows[i][name] for i in order]) for name in self._base}
            try:
                together = run_whole(self._session, joined)
            except Exception:
                return False
            if not _are_rows(together, len(rows)):
                return False
            for place, i in enumerate(order):
                part = {name: value[place : place + 1] for name, value in together.items()}
                if differing(part, alone[i], NODE_TOLERANCE):
                    return False
        return True

    def _distinct(self, factor: float) -> tuple[list[Row], list[Row]] | None:
        """Return three rows, and what comes of each alone: three different answers."""
        deadline = time.perf_counter() + _SEARCH_S
        for scale, spread, _ in product((factor, 1.0), _SPREADS, range(_DRAWS)):
            if time.perf_counter() > deadline:
                break
            try:
                rows = [self._base, self._varied(spread, 1.0), self._varied(spread, scale)]
                alone = [self._alone, *(run_whole(self._session, row) for row in rows[1:])]
            except Exception:  # noqa: S112 - not a value that this model takes
                continue
            if all(_are_rows(outputs, 1) for outputs in alone) and all(
                differing(one, other, NODE_TOLERANCE) for one, other in combinations(alone, 2)
            ):
                return rows, alone
        return None

    def _varied(self, spread: tuple[int, int], scale: float) -> Row:
        return {
            name: _drawn(array, self._sample[name], self._generator, spread, scale)
            for name, array in self._base.items()
        }


def _are_rows(outputs: Row, n_rows: int) -> bool:
    return bool(outputs) and all(
        isinstance(value, np.ndarray) and value.ndim and len(value) == n_rows
        for value in outputs.values()
    )


def _drawn(
    like: np.ndarray[Any, Any],
    sample: np.ndarray[Any, Any],
    generator: np.random.Generator,
    spread: tuple[int, int],
    scale: float,
) -> np.ndarray[Any, Any]:
    """Return an array of one type and shape, drawn from the sample's range."""
    shape, kind = like.shape, like.dtype.kind
    values: Any
    if not like.size:
        return like
    if kind in "OSU":
        words = [*np.unique(sample.astype(str)), *_WORDS]
        values = generator.choice(np.array(words, object), shape)
    elif not is_numpys(like):
        values = generator.choice(sample.reshape(-1), shape)
    elif kind == "b":
        values = generator.integers(0, 2, shape)
    elif kind in "iu":
        low, high = int(sample.min()), int(sample.max())
        low, high = (low, high) if low < high else spread
        ends = np.iinfo(like.dtype)
        low, high = max(low, int(ends.min)), min(high, int(ends.max))
        values = generator.integers(low, high, shape, like.dtype, endpoint=True)
    else:
        finite = np.real(sample[np.isfinite(sample)])
        least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        if least == most:
            least, most = least - 1, most + 1
        least, most, scale = least / 2, most / 2, scale * 2  # their distance is a number, too
        with np.errstate(over="ignore"):
            values = generator.uniform(least, most, shape) * scale
            if kind == "c":
                values = values + 1j * generator.uniform(least, most, shape) * scale
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(like.dtype)
