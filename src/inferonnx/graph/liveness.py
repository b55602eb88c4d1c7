"""Which values are alive when, and how many bytes they take.

The rules, for the n nodes of a graph in topological order:

1. A value is born at the node that computes it; a graph input before node 0.
2. It is alive up to and including the last node that reads it. A graph output is
   alive to the end. A value that nothing reads is alive at its own node only,
   since the operator writes it all the same; an unread graph input, never.
3. While a partition [start, stop) runs, every value born before `start` and needed
   at or after it is held by the engine until the partition ends, whether the
   partition reads it or it merely passes over. Values born inside are freed by
   onnxruntime after their last reader; those needed later stay.

From rule 3, the bytes alive at node k of a partition are

    bytes of boundary(start) + bytes of values born in [start, k] and alive at k
    + the workspace of node k

which does not depend on `stop`: one walk from `start` gives the peak of every
partition that begins there. That walk is `Liveness.peaks_from`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from inferonnx.errors import PlanError

if TYPE_CHECKING:
    from inferonnx.graph.values import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRange:
    """The nodes during which a value is alive: half-open [first, stop), in node indices.

    `first` is the node that computes the value, 0 for a graph input; `stop` is the
    last reader's index + 1, the number of nodes for a graph output. An unread
    graph input has an empty range.
    """

    value: str
    first: int
    stop: int


def live_ranges(graph: Graph) -> tuple[LiveRange, ...]:
    """Return the live range of every value: graph inputs first, then in order of birth.

    Cost: O(nodes + values).
    """
    stop: dict[str, int] = dict.fromkeys(graph.inputs, 0)
    first: dict[str, int] = dict.fromkeys(graph.inputs, 0)
    for index, node in enumerate(graph.nodes):
        for name in node.inputs:
            stop[name] = index + 1
        for name in node.outputs:
            first[name] = index
            stop[name] = index + 1
    for name in graph.outputs:
        stop[name] = len(graph.nodes)
    return tuple(LiveRange(value=name, first=first[name], stop=stop[name]) for name in first)


class Liveness:
    """Live ranges of one graph, indexed for many questions.

    Building it costs O(nodes + values); the functions of this module that take a
    graph build one for a single question.
    """

    __slots__ = ("_births", "_crossing", "_deaths", "_graph", "_outputs", "ranges")

    def __init__(self, graph: Graph) -> None:
        """Sort the values of `graph` by birth and by death."""
        n_nodes = len(graph.nodes)
        self._graph = graph
        self._outputs = frozenset(graph.outputs)
        self.ranges = live_ranges(graph)
        self._births = [0] * n_nodes  # bytes born at node k
        self._deaths: list[list[tuple[int, int]]] = [[] for _ in range(n_nodes)]
        changes = [0] * (n_nodes + 2)  # of the bytes alive across each cut
        for order, live in enumerate(self.ranges):
            n_bytes = graph.value_bytes[live.value]
            is_output = live.value in self._outputs
            first_cut = 0
            if order >= len(graph.inputs):
                self._births[live.first] += n_bytes
                first_cut = live.first + 1
                if not is_output:
                    self._deaths[live.stop - 1].append((live.first, n_bytes))
            changes[first_cut] += n_bytes
            changes[n_nodes + 1 if is_output else live.stop] -= n_bytes
        self._crossing = list(accumulate(changes[:-1]))

    def boundary(self, cut: int) -> tuple[str, ...]:
        """Return the values alive across `cut`: born before it, needed at or after it.

        Graph inputs come first, then values in order of birth. At cut 0 these are
        the graph inputs that something needs, at the last cut the graph outputs.

        Raises:
            PlanError: `cut` is not in 0..n.
        """
        n_nodes = len(self._graph.nodes)
        if not 0 <= cut <= n_nodes:
            raise PlanError(f"there is no cut {cut} in a graph of {n_nodes} nodes")
        n_inputs = len(self._graph.inputs)
        return tuple(
            live.value
            for order, live in enumerate(self.ranges)
            if (order < n_inputs or live.first < cut)
            and (live.stop > cut or live.value in self._outputs)
        )

    def boundary_bytes(self, cut: int) -> int:
        """Return the bytes of the values alive across `cut`, in 0..n."""
        return self._crossing[cut]

    def peaks_from(self, start: int, stop: int | None = None) -> list[int]:
        """Return the activation peaks of all partitions that begin at `start`.

        Entry k is the peak, in bytes, of the partition [start, start + k + 1); the
        entries never decrease. They end with that of [start, stop); `stop` is the
        end of the graph unless given.

        Cost: O(nodes + values) between `start` and `stop`.
        """
        held = self._crossing[start]
        peaks: list[int] = []
        peak = 0
        for index in range(start, len(self._graph.nodes) if stop is None else stop):
            held += self._births[index]
            peak = max(peak, held + self._graph.workspace_bytes[index])
            peaks.append(peak)
            # What was born before `start` stays: the engine holds it (rule 3).
            held -= sum(n_bytes for first, n_bytes in self._deaths[index] if first >= start)
        return peaks


def boundary(graph: Graph, cut: int) -> tuple[str, ...]:
    """Return the values alive across `cut`, as `Liveness.boundary` does."""
    return Liveness(graph).boundary(cut)


def partition_activation_bytes(graph: Graph, start: int, stop: int) -> int:
    """Return the peak of activations and workspace while partition [start, stop) runs.

    Weights are not counted. Rules: the head of this module.

    Raises:
        PlanError: The range is empty or leaves the graph.
    """
    check_range(graph, start, stop)
    return Liveness(graph).peaks_from(start, stop)[-1]


def check_range(graph: Graph, start: int, stop: int) -> None:
    """Raise PlanError unless [start, stop) is a partition of the graph's nodes."""
    if not 0 <= start < stop <= len(graph.nodes):
        raise PlanError(f"[{start}, {stop}) is no partition of a graph of {len(graph.nodes)} nodes")
