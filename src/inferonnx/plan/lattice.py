"""All partitions that a planner may choose from, and what each one costs.

The lattice has a point for every cut that may be used, and an edge (p, q) for every
partition between two of them; a division of the graph is a path from the first
point to the last. Costs are whole picoseconds, so that sums do not depend on their
order and two plans can be equal; node times are left out, being the same for all.

A graph of a thousand nodes has half a million partitions. Points are thinned, in
graphs with more than `ALL_POINTS` of them, without raising the least activation
peak (docs/memory.md, "Which cuts are looked at"):

1. between two neighbouring operators with weights one cut is enough, the one with
   the fewest bytes alive across it; weights of under 1/`GRAINS` of the model's don't
   count, since on which side they are streamed is nothing beside what is alive;
2. neighbours whose weights together are under 1/`SHARES` of the model's stay together;
3. where the thinned partition's activation peak is above that of every single node,
   all its cuts come back.

Of the partitions between the points that are left, those of up to `SHORT` steps are
all edges, longer ones the fewer the longer: a long one is as good in two or three
pieces, at the price of as many sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.graph import Liveness

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from inferonnx.graph import Graph
    from inferonnx.plan.values import MemoryModel, Rates

# Up to 16 nodes every allowed cut is a point, and searches run to the exact optimum,
# which takes a second at worst.
ALL_POINTS = 17
# About a point for each percent of the weights: finer cuts change a plan's latency by
# less than its prediction is worth.
SHARES = 100
# A normalisation's scales beside the weights of its convolution are less, and the cut
# behind it has twice as much alive where its input is needed again.
GRAINS = 10_000
# Steps up to which all edges are kept. Streamed partitions are short, since all of them
# share one buffer; only partitions that stay resident grow beyond.
SHORT = 32
PICOSECONDS = 1e12


class Edge(NamedTuple):
    """One partition: nodes between two points.

    Attributes:
        head: Index of the point at its end.
        block: Bytes of its weights, aligned.
        activation: Bytes of its activation peak.
        session: Bytes of its session.
        stream: Picoseconds to stream its block.
    """

    head: int
    block: int
    activation: int
    session: int
    stream: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Points and edges; `edges[p]` by ascending head, so block and activation ascend too.

    Attributes:
        cuts: m + 1 node indices, from 0 to the number of nodes.
        edges: m lists, the partitions that begin at each point.
        partition_ps: Picoseconds that each partition costs besides streaming.
        is_exact: Every allowed cut is a point, and few enough to search to the end.
    """

    cuts: tuple[int, ...]
    edges: tuple[tuple[Edge, ...], ...]
    partition_ps: int
    is_exact: bool


def build_lattice(
    graph: Graph,
    *,
    memory: MemoryModel,
    rates: Rates,
    uncuttable: AbstractSet[int],
    block_limit_bytes: int | None,
) -> Lattice:
    """Return the partitions of `graph` between allowed cuts.

    A block above the limit is an edge only where there is no cut inside it.
    """
    liveness = Liveness(graph)
    n_nodes = len(graph.nodes)
    inner = (cut for cut in range(1, n_nodes) if cut not in uncuttable)
    allowed = [0, *inner, n_nodes] if n_nodes else [0]
    cuts = allowed if len(allowed) <= ALL_POINTS else _thin(graph, allowed, liveness)
    points = {cut: point for point, cut in enumerate(cuts)}
    is_exact = len(allowed) <= ALL_POINTS
    edges: list[tuple[Edge, ...]] = []
    for tail, cut in enumerate(cuts[:-1]):
        leaving = _edges_from(
            graph,
            cut,
            points=points,
            peaks=liveness.peaks_from(cut),
            memory=memory,
            rates=rates,
            block_limit_bytes=block_limit_bytes,
        )
        if not is_exact:
            leaving = [edge for edge in leaving if _is_kept(tail, edge.head, len(cuts) - 1)]
        edges.append(tuple(leaving))
    return Lattice(
        cuts=tuple(cuts),
        edges=tuple(edges),
        partition_ps=round(rates.partition_overhead_s * PICOSECONDS),
        is_exact=is_exact,
    )


def _is_kept(tail: int, head: int, last: int) -> bool:
    """Tell whether the edge (tail, head) is looked at in a thinned lattice."""
    n_steps = head - tail
    if n_steps <= SHORT or head == last:
        return True
    # Heads are 4, 8, 16... apart, a quarter of the length at most.
    return head % (1 << (n_steps // SHORT).bit_length() + 1) == 0


def _edges_from(
    graph: Graph,
    start: int,
    *,
    points: dict[int, int],
    peaks: list[int],
    memory: MemoryModel,
    rates: Rates,
    block_limit_bytes: int | None,
) -> list[Edge]:
    """Return the partitions that begin at cut `start`, by one walk to the end."""
    edges: list[Edge] = []
    seen: set[str] = set()
    block = 0
    for offset, peak in enumerate(peaks):
        for name in graph.nodes[start + offset].weights:
            if name not in seen:
                seen.add(name)
                block += memory.padded(graph.weight_bytes[name])
        head = points.get(start + offset + 1)
        if head is None:
            continue
        if edges and block_limit_bytes is not None and block > block_limit_bytes:
            break
        session = memory.partition_session_bytes(n_nodes=offset + 1, n_weights=len(seen))
        stream = round(rates.stream_s(block) * PICOSECONDS)
        edges.append(Edge(head, block, peak, session, stream))
    return edges


def _thin(graph: Graph, allowed: list[int], liveness: Liveness) -> list[int]:
    """Return the cuts that are looked at in a large graph (rules: the module's head)."""
    cuts = _one_between_weights(graph, allowed, liveness)
    cuts = _join_small(graph, cuts)
    unavoidable = max(liveness.peaks_from(a, b)[-1] for a, b in pairwise(allowed))
    kept = set(cuts)
    for start, stop in pairwise(cuts):  # (3)
        if liveness.peaks_from(start, stop)[-1] > unavoidable:
            kept.update(cut for cut in allowed if start < cut < stop)
    return sorted(kept)


def _one_between_weights(graph: Graph, allowed: list[int], liveness: Liveness) -> list[int]:
    """Keep the narrowest cut of each stretch with next to no weights (1)."""
    kept = [0]
    stretch: list[int] = []
    grain = sum(graph.weight_bytes.values()) // GRAINS
    held = 0

    def close() -> None:
        if stretch:
            kept.append(min(stretch, key=liveness.boundary_bytes))
            stretch.clear()

    for start, stop in pairwise(allowed):
        held += _weight_bytes(graph, start, stop)
        if held > grain:
            close()
            held = 0
        if stop != allowed[-1]:
            stretch.append(stop)
    close()
    return [*kept, allowed[-1]]


def _weight_bytes(graph: Graph, start: int, stop: int) -> int:
    return sum(graph.weight_bytes[w] for node in graph.nodes[start:stop] for w in node.weights)


def _join_small(graph: Graph, cuts: list[int]) -> list[int]:
    """Drop cuts between neighbours that hold little weight together (2)."""
    share = sum(graph.weight_bytes.values()) // SHARES
    kept = [0]
    held = 0
    for start, stop in pairwise(cuts):
        n_bytes = _weight_bytes(graph, start, stop)
        if held + n_bytes > share and start != kept[-1]:
            kept.append(start)
            held = 0
        held += n_bytes
    return [*kept, cuts[-1]]
