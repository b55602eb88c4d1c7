"""The least budget that a graph can run within: everything streamed, cut as it must be.

Finer cuts shrink the buffer and the activations but add sessions. The search is the
one of `boxes`, simpler: what a box needs is at least its least buffer and activations
plus the lightest sessions of any path within its caps.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.plan.boxes import SLACK_SHARE
from inferonnx.plan.figures import partition_graph
from inferonnx.plan.grid import Grid
from inferonnx.plan.lattice import build_lattice
from inferonnx.plan.needs import neediest_node
from inferonnx.plan.paths import Caps, Price, walk
from inferonnx.plan.values import Rates

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from inferonnx.graph import Graph
    from inferonnx.plan.lattice import Lattice
    from inferonnx.plan.paths import Path
    from inferonnx.plan.values import MemoryModel

# A lattice wants rates, whatever they are.
_ANY_RATES = Rates(stream_bytes_per_s=1e9, partition_overhead_s=0.0, stream_overhead_s=0.0)
# No time counts here, so that the answer does not depend on rates.
_BYTES_ONLY = Price(picosecond=0, byte=1)


class LeastBudget(NamedTuple):
    """The least budget that works, in bytes, and the operator that needs the most of it."""

    needed_bytes: int
    node: str


def least_budget(
    graph: Graph,
    *,
    memory: MemoryModel,
    uncuttable: AbstractSet[int] = frozenset(),
    block_limit_bytes: int | None = None,
) -> LeastBudget:
    """Return the least budget for which `plan_optimal` with the same arguments has a plan.

    Args:
        graph: The graph.
        memory: What sessions cost, and the floor.
        uncuttable: Cuts that are forbidden, as node indices.
        block_limit_bytes: Most weights of a partition that could be cut.
    """
    lattice = build_lattice(
        graph,
        memory=memory,
        rates=_ANY_RATES,
        uncuttable=uncuttable,
        block_limit_bytes=block_limit_bytes,
    )
    needed_bytes, _ = lightest_plan(lattice)
    return LeastBudget(
        needed_bytes=memory.floor_bytes + needed_bytes,
        node=needy_operator(graph, lattice, memory),
    )


def needy_operator(graph: Graph, lattice: Lattice, memory: MemoryModel) -> str:
    """Return the label of the operator that needs the most when every cut is made."""
    return neediest_node(graph, partition_graph(graph, lattice.cuts[1:-1], memory=memory))


def lightest_plan(lattice: Lattice) -> tuple[int, Path | None]:
    """Return the least bytes above the floor that a plan needs, and that plan.

    A graph without nodes needs none and has no plan.
    """
    grid = Grid(lattice)
    best_bytes, best_path = 0, None
    order = count()
    heap = [(0, next(order), grid.whole())] if grid.activations else []
    while heap:
        low_bytes, _, box = heappop(heap)
        slack = 0 if lattice.is_exact else best_bytes // SLACK_SHARE
        if best_path is not None and low_bytes + slack >= best_bytes:
            break
        caps = Caps(
            buffer=grid.buffers[box.buffer_high],
            resident=-1,
            activation=grid.activations[box.activation_high],
        )
        path = walk(lattice, caps, _BYTES_ONLY).path
        if path is None:
            continue
        needed = (
            path.held
            + max(edge.block for edge in path.edges)
            + max(edge.activation for edge in path.edges)
        )
        if best_path is None or needed < best_bytes:
            best_bytes, best_path = needed, path
        for half in grid.halves(box):
            heappush(heap, (grid.corner_bytes(half) + path.held, next(order), half))
    return best_bytes, best_path
