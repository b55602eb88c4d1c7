"""The plan of least predicted latency within a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.plan.boxes import BoxSearch
from inferonnx.plan.figures import assess
from inferonnx.plan.lattice import PICOSECONDS, build_lattice
from inferonnx.plan.least import lightest_plan, needy_operator
from inferonnx.plan.needs import infeasible

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from inferonnx.graph import Graph
    from inferonnx.plan.values import MemoryModel, Plan, Rates


def plan_optimal(
    graph: Graph,
    *,
    budget_bytes: int,
    memory: MemoryModel,
    rates: Rates,
    uncuttable: AbstractSet[int] = frozenset(),
    block_limit_bytes: int | None = None,
) -> Plan:
    """Return the plan of least latency whose peak is within the budget.

    Among equally fast plans it is one of least peak. Up to `lattice.ALL_POINTS` - 1
    nodes the plan is the optimum; larger graphs are thinned, and what their plan costs
    beyond the nodes' times is within about a thousandth of the least that the cuts
    left allow (docs/memory.md).

    Args:
        graph: The graph of n nodes.
        budget_bytes: Most that the process may hold, the floor included.
        memory: What sessions cost, and the floor.
        rates: What streaming and partitions cost.
        uncuttable: Cuts that are forbidden, as node indices in 1..n-1.
        block_limit_bytes: Most weights of a partition that could be cut. A plan that
            keeps all weights has no other reason to cut, and would then need all
            memory at any later budget.

    Raises:
        InfeasibleBudgetError: No plan fits; it says which budget would do, and which
            operator needs the most.
    """
    lattice = build_lattice(
        graph,
        memory=memory,
        rates=rates,
        uncuttable=uncuttable,
        block_limit_bytes=block_limit_bytes,
    )
    available_bytes = budget_bytes - memory.floor_bytes
    needed_bytes, lightest = lightest_plan(lattice)
    if needed_bytes > available_bytes:
        raise infeasible(
            needed_bytes=memory.floor_bytes + needed_bytes,
            budget_bytes=budget_bytes,
            node=needy_operator(graph, lattice, memory),
            what="this model",
        )
    cuts: list[int] = []
    resident: set[int] = set()
    if lightest is not None:
        search = BoxSearch(
            lattice,
            available_bytes=available_bytes,
            times_ps=round(sum(graph.times_s) * PICOSECONDS),
        )
        search.offer(lightest)
        search.run()
        best = lightest if search.best is None else search.best.path
        cuts = [lattice.cuts[edge.head] for edge in best.edges[:-1]]
        resident = {index for index, kept in enumerate(best.kept) if kept}
    return assess(
        graph,
        cuts,
        memory=memory,
        rates=rates,
        budget_bytes=budget_bytes,
        strategy="optimal",
        resident=resident,
    )
