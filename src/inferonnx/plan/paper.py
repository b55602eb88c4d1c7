"""The greedy walk of the paper that InferONNX follows, for comparison.

From the last operator to the first, each operator's own peak (weights, inputs,
outputs, workspace) is added up; where the sum would pass the limit, a new partition
begins. Operators that are known to be slow inside an enclave for their use of memory
stand alone. A model whose whole sum is within the limit is split in half.

The cuts alone are the paper's. What a budget leaves keeps partitions decrypted, as
with any other cuts, since that is what the engine does.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from inferonnx.errors import PlanError
from inferonnx.plan.figures import assess
from inferonnx.plan.needs import operator_bytes
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from inferonnx.graph import Graph
    from inferonnx.plan.values import MemoryModel, Plan, Rates

# What the paper leaves of an enclave page cache of 128 MiB.
LIMIT_BYTES = 85 * MIB


def plan_paper(
    graph: Graph,
    *,
    memory: MemoryModel,
    rates: Rates,
    budget_bytes: int | None = None,
    limit_bytes: int = LIMIT_BYTES,
    memory_intensive: AbstractSet[str | int] = frozenset(),
    uncuttable: AbstractSet[int] = frozenset(),
) -> Plan:
    """Return the plan whose cuts are the paper's.

    Args:
        graph: The graph of n nodes.
        memory: What sessions cost, and the floor.
        rates: What streaming and partitions cost.
        budget_bytes: Most that the process may hold; None streams everything and
            accepts any peak.
        limit_bytes: Most that the operators of a partition add up to. One operator
            above it stands alone.
        memory_intensive: Operators that stand alone, by name or index.
        uncuttable: Cuts that are forbidden, as node indices; operators between two
            cuts are taken as one, whose peak is the sum of theirs.

    Raises:
        PlanError: A memory-intensive operator is not in the graph.
        InfeasibleBudgetError: The plan's peak is above the budget.
    """
    alone = _indices(graph, memory_intensive)
    n_nodes = len(graph.nodes)
    allowed = [0, *(c for c in range(1, n_nodes) if c not in uncuttable), n_nodes]
    cuts = _cuts_from_the_end(graph, allowed, alone, limit_bytes)
    if sum(operator_bytes(graph, index) for index in range(n_nodes)) <= limit_bytes:
        inner = allowed[1:-1]
        cuts.update(sorted(inner, key=lambda cut: abs(2 * cut - n_nodes))[:1])
    return assess(
        graph,
        sorted(cuts),
        memory=memory,
        rates=rates,
        budget_bytes=budget_bytes,
        strategy="paper",
    )


def _indices(graph: Graph, operators: AbstractSet[str | int]) -> frozenset[int]:
    """Return the node indices that the names and indices mean."""
    known: set[str | int] = {node.name for node in graph.nodes}
    known.update(range(len(graph.nodes)))
    unknown = sorted(repr(operator) for operator in operators - known)
    if unknown:
        raise PlanError(
            f"memory-intensive operator {unknown[0]} is not in the graph", where=unknown[0]
        )
    return frozenset(
        index
        for index, node in enumerate(graph.nodes)
        if index in operators or node.name in operators
    )


def _cuts_from_the_end(
    graph: Graph, allowed: list[int], alone: frozenset[int], limit_bytes: int
) -> set[int]:
    """Return the inner cuts of the walk from the last operator to the first."""
    cuts: set[int] = set()
    held = 0
    is_closed = False  # the partition that grows takes no more operators
    for start, stop in reversed(list(pairwise(allowed))):
        own = sum(operator_bytes(graph, index) for index in range(start, stop))
        stands_alone = not alone.isdisjoint(range(start, stop))
        if stop != allowed[-1] and (is_closed or stands_alone or held + own > limit_bytes):
            cuts.add(stop)
            held = 0
        held += own
        is_closed = stands_alone
    return cuts
