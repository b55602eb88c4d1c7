"""One walk over a draft on a sample, in pieces, as the engine will run it.

Weights are inputs, the optimiser is off, and only the values that later pieces need
are kept. A walk counts bytes or times nodes; `measure` decides which walks are
made. A piece that onnxruntime refuses is run node by node, and a node that it
refuses with its weights as constants: those weights are *pinned*.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.errors import ModelError
from inferonnx.model.agree import NODE_TOLERANCE, differing
from inferonnx.model.onnxruntime_door import (
    MEASURING_THREADS,
    open_session,
    reason,
    session_options,
)
from inferonnx.model.skeleton import build_skeleton
from inferonnx.model.subgraphs import reads
from inferonnx.model.values import (
    content_bytes,
    fetch,
    is_opaque,
    shape_of,
    tensor_value,
    weight_value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.model.draft import Draft

# Most weights in a piece; they are copied where they are transposed.
_PIECE_WEIGHT_BYTES = 256 * 2**20

# Timed runs of a piece, after one to warm up: as many as fit the time, at least one.
_TIMED_RUNS = 5
_TIMED_PIECE_S = 0.5


@dataclass(slots=True, kw_only=True)
class Measured:
    """What was seen on the sample.

    Attributes:
        value_bytes: Bytes of every graph input and node output.
        shapes: Shapes of the tensors among them.
        times_s: Seconds by node; empty until timed.
        pinned: Weights that have to be constants.
        outputs: The graph's outputs, as OrtValues or Python objects.
    """

    value_bytes: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    times_s: list[float] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    outputs: dict[str, Any] = field(default_factory=dict)


class Walk:
    """One walk over a draft on a sample, piece by piece, keeping what is still needed."""

    def __init__(
        self,
        draft: Draft,
        sample: Mapping[str, Any],
        measured: Measured,
        *,
        uncuttable: frozenset[int] = frozenset(),
    ) -> None:
        """Start before the first node, with the sample as the only live values."""
        self._draft = draft
        self._measured = measured
        self._uncuttable = uncuttable
        self._live = {name: tensor_value(value) for name, value in sample.items()}
        self._reads = [reads(node) for node in draft.nodes]
        self._last_use = {
            name: index for index, names in enumerate(self._reads) for name in names
        } | dict.fromkeys(draft.outputs, len(draft.nodes))

    def pieces(self, n_nodes: int) -> list[tuple[int, int]]:
        """Return ranges of at most `n_nodes` nodes, and not too many weights, where cuts allow."""
        ranges: list[tuple[int, int]] = []
        start, n_bytes = 0, 0
        for index, names in enumerate(self._reads):
            added = sum(
                self._draft.weights[name].n_bytes for name in names if name in self._draft.weights
            )
            full = index - start >= n_nodes or n_bytes + added > _PIECE_WEIGHT_BYTES
            if index > start and full and index not in self._uncuttable:
                ranges.append((start, index))
                start, n_bytes = index, 0
            n_bytes += added
        if start < len(self._reads):
            ranges.append((start, len(self._reads)))
        return ranges

    def count(self, start: int, stop: int) -> None:
        """Run the piece [start, stop), count the bytes of all its values and keep what lives on."""
        try:
            results = self._count(start, stop)
        except _Refused as refused:
            cuts = [start, *(c for c in range(start + 1, stop) if c not in self._uncuttable), stop]
            if len(cuts) > 2:
                for first, last in pairwise(cuts):
                    self.count(first, last)
                return
            results = self._pin(start, stop, refused)
        self._advance(stop, results)

    def time(self, start: int, stop: int, folder: str) -> None:
        """Profile the piece [start, stop) and keep what lives on."""
        needed = [n for n in self._produced(start, stop) if self._last_use.get(n, -1) >= stop]
        fetched, unfetched = self._split(needed)
        session, feeds = self._open(start, stop, [*fetched, *unfetched], profile_folder=folder)
        for _ in range(2):  # the first run warms up, and gives what lives on
            began = time.perf_counter()
            results = fetch(session, fetched, feeds)
            took = time.perf_counter() - began
        n_runs = max(1, min(_TIMED_RUNS, int(_TIMED_PIECE_S / max(took, 1e-6)))) - 1
        for _ in range(n_runs):
            fetch(session, fetched, feeds)
        self._measured.times_s.extend(_node_times(session.end_profiling(), stop - start))
        self._advance(stop, results)

    def distrust(self, start: int, stop: int) -> bool:
        """Pin the piece's weights if it computes something else with them as inputs.

        Returns:
            Whether it does. The piece has run then, with its weights pinned.
        """
        produced = self._produced(start, stop)
        fetched, _ = self._split(produced)
        names = {name for read in self._reads[start:stop] for name in read}
        candidates = (names & self._draft.weights.keys()) - self._measured.pinned
        if not candidates:
            self.count(start, stop)
            return False
        as_inputs = self._run(start, stop, produced, fetched)
        self._measured.pinned.update(candidates)
        as_constants = self._run(start, stop, produced, fetched)
        differs = bool(differing(as_inputs, as_constants, NODE_TOLERANCE))
        if not differs:
            self._measured.pinned.difference_update(candidates)
        self.count(start, stop)
        return differs

    def _run(
        self, start: int, stop: int, produced: list[str], fetched: list[str]
    ) -> dict[str, Any]:
        session, feeds = self._open(start, stop, produced)
        return fetch(session, fetched, feeds)

    def outputs(self) -> dict[str, Any]:
        """Return the graph's outputs, once all pieces have run."""
        return {name: self._live.get(name) for name in self._draft.outputs}

    def _produced(self, start: int, stop: int) -> list[str]:
        return [name for node in self._draft.nodes[start:stop] for name in node.output if name]

    def _split(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Part the values that can be carried on from optional ones, which can not."""
        types = self._draft.types
        optional = [n for n in names if types[n].WhichOneof("value") == "optional_type"]
        return [n for n in names if n not in optional], optional

    def _open(
        self, start: int, stop: int, outputs: list[str], *, profile_folder: str = ""
    ) -> tuple[Any, dict[str, Any]]:
        """Return a session of the piece and all that it is fed with."""
        names = dict.fromkeys(name for read in self._reads[start:stop] for name in read)
        weights = [n for n in names if n in self._draft.weights and n not in self._measured.pinned]
        inside = set(self._produced(start, stop))
        inputs = [
            n
            for n in names
            if n not in inside
            and n not in self._draft.weights
            and n not in self._draft.constants
            and n not in self._draft.sparse
        ]
        skeleton = build_skeleton(
            self._draft,
            self._draft.nodes[start:stop],
            inputs=inputs,
            outputs=outputs,
            weights=weights,
            shapes=self._measured.shapes,
            pinned=self._measured.pinned,
            named=True,
        )
        options = session_options(optimise="off", n_threads=MEASURING_THREADS)
        if profile_folder:
            options.enable_profiling = True
            options.profile_file_prefix = os.path.join(profile_folder, "profile")
        session = open_session(skeleton.model, options)
        feeds = {name: self._live[name] for name in inputs if self._live.get(name) is not None}
        feeds |= {name: weight_value(self._draft.weights[name]) for name in weights}
        return session, feeds

    def _count(self, start: int, stop: int) -> dict[str, Any]:
        """Run the piece, note its values' bytes and shapes, and return them."""
        produced = self._produced(start, stop)
        fetched, optional = self._split(produced)
        try:
            session, feeds = self._open(start, stop, produced)
            results = fetch(session, fetched, feeds)
            opaque = optional + [name for name in fetched if is_opaque(results[name])]
            contents = dict(zip(opaque, session.run(opaque, feeds), strict=True)) if opaque else {}
        except Exception as error:
            raise _Refused(reason(error)) from error
        for name in produced:
            value = contents[name] if name in contents else results[name]
            self._measured.value_bytes[name] = content_bytes(value)
            shape = shape_of(value)
            if shape is not None:
                self._measured.shapes[name] = shape
        return results | {name: contents[name] for name in optional}

    def _pin(self, start: int, stop: int, refused: _Refused) -> dict[str, Any]:
        """Find the least set of a piece's weights that must be constants, and run with it."""
        names = {name for read in self._reads[start:stop] for name in read}
        candidates = sorted((names & self._draft.weights.keys()) - self._measured.pinned)
        self._measured.pinned.update(candidates)
        try:
            results = self._count(start, stop)
        except _Refused:
            self._measured.pinned.difference_update(candidates)
            label = self._draft.nodes[start].name or self._draft.nodes[start].op_type
            raise ModelError(
                f"onnxruntime does not run node {label!r} by itself: {refused}", where=label
            ) from refused
        for name in candidates if len(candidates) > 1 else ():
            self._measured.pinned.discard(name)
            try:
                results = self._count(start, stop)
            except _Refused:
                self._measured.pinned.add(name)
        return results

    def _advance(self, stop: int, results: Mapping[str, Any]) -> None:
        self._live.update(results)
        self._live = {n: v for n, v in self._live.items() if self._last_use.get(n, -1) >= stop}


class _Refused(Exception):  # noqa: N818 - a turn of the walk, not an error of the caller
    """onnxruntime does not run a piece as it is."""


def _node_times(profile_path: str, n_nodes: int) -> list[float]:
    """Return the median seconds of each node from a profile, whose nodes are named by place."""
    with open(profile_path, encoding="utf-8") as file:
        events = json.load(file)
    os.unlink(profile_path)
    runs: list[list[float]] = [[] for _ in range(n_nodes)]
    for event in events:
        place = str(event.get("name", "")).removesuffix("_kernel_time")
        if event.get("cat") == "Node" and place.isdigit() and int(place) < n_nodes:
            runs[int(place)].append(event["dur"] * 1e-6)
    # The first run pays for pages and caches that later ones find ready.
    return [median(times[1:] or times or [0.0]) for times in runs]
