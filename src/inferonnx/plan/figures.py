"""The figures of a plan whose cuts are given: the one place where they are added up.

Every strategy decides cuts and residency by whatever means, then comes here, so
that two plans can be compared and no search's own arithmetic reaches the user.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from inferonnx.errors import PlanError
from inferonnx.graph import Liveness
from inferonnx.plan.needs import block_bytes, infeasible, neediest_node, weights_of
from inferonnx.plan.residency import choose_resident
from inferonnx.plan.values import Plan, PlannedPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from inferonnx.graph import Graph
    from inferonnx.plan.values import MemoryModel, Rates


def assess(
    graph: Graph,
    cuts: Sequence[int],
    *,
    memory: MemoryModel,
    rates: Rates,
    budget_bytes: int | None,
    strategy: str,
    resident: Collection[int] | None = None,
) -> Plan:
    """Return the plan with these cuts, checked against the budget.

    Args:
        graph: The graph of n nodes.
        cuts: Inner cuts, ascending, each in 1..n-1.
        memory: What sessions cost, and the floor.
        rates: What streaming and partitions cost.
        budget_bytes: Most that the predicted peak may be; None when there is no
            limit, and the plan's budget is then its peak.
        strategy: The plan's name for how it was found.
        resident: Indices of the partitions that stay decrypted; None chooses as
            many bytes as the budget allows, or nothing when there is no budget.

    Raises:
        PlanError: The cuts do not ascend within the graph.
        InfeasibleBudgetError: The plan's peak is above the budget.
    """
    partitions = partition_graph(graph, cuts, memory=memory)
    plan = _total(partitions, memory=memory, rates=rates, strategy=strategy)
    if resident is None and budget_bytes is not None and plan.least_bytes <= budget_bytes:
        fixed_bytes = plan.least_bytes - plan.buffer_bytes
        blocks = [partition.weight_bytes for partition in partitions]
        resident, _ = choose_resident(blocks, available_bytes=budget_bytes - fixed_bytes)
    if resident:
        partitions = tuple(
            replace(partition, resident=partition.resident or index in resident)
            for index, partition in enumerate(partitions)
        )
        plan = _total(partitions, memory=memory, rates=rates, strategy=strategy)
    if budget_bytes is None:
        return plan
    if plan.peak_bytes > budget_bytes:
        raise infeasible(
            needed_bytes=plan.peak_bytes,
            budget_bytes=budget_bytes,
            node=neediest_node(graph, partitions),
            what=f"this plan ({strategy})",
        )
    return replace(plan, budget_bytes=budget_bytes)


def partition_graph(
    graph: Graph, cuts: Sequence[int], *, memory: MemoryModel
) -> tuple[PlannedPartition, ...]:
    """Return the partitions between the cuts, all streamed but those without weights.

    Raises:
        PlanError: The cuts do not ascend within the graph.
    """
    n_nodes = len(graph.nodes)
    bounds = list(pairwise([0, *cuts, n_nodes])) if n_nodes or cuts else []
    if any(start >= stop for start, stop in bounds):
        raise PlanError(f"cuts {tuple(cuts)} do not ascend within a graph of {n_nodes} nodes")
    liveness = Liveness(graph)
    partitions = []
    for start, stop in bounds:
        block = block_bytes(graph, memory, start, stop)
        partitions.append(
            PlannedPartition(
                start=start,
                stop=stop,
                weight_bytes=block,
                activation_bytes=liveness.peaks_from(start, stop)[-1],
                session_bytes=memory.partition_session_bytes(
                    n_nodes=stop - start, n_weights=len(weights_of(graph, start, stop))
                ),
                time_s=sum(graph.times_s[start:stop]),
                resident=not block,
            )
        )
    return tuple(partitions)


def _total(
    partitions: tuple[PlannedPartition, ...], *, memory: MemoryModel, rates: Rates, strategy: str
) -> Plan:
    """Return the plan of these partitions, its budget being its own peak."""
    streamed = [p.weight_bytes for p in partitions if not p.resident]
    resident_bytes = sum(p.weight_bytes for p in partitions if p.resident)
    session_bytes = sum(p.session_bytes for p in partitions)
    activation_bytes = max((p.activation_bytes for p in partitions), default=0)
    buffer_bytes = max(streamed, default=0)
    fixed_bytes = memory.floor_bytes + session_bytes + activation_bytes
    peak_bytes = fixed_bytes + buffer_bytes + resident_bytes
    return Plan(
        partitions=partitions,
        strategy=strategy,
        budget_bytes=peak_bytes,
        floor_bytes=memory.floor_bytes,
        session_bytes=session_bytes,
        buffer_bytes=buffer_bytes,
        activation_bytes=activation_bytes,
        resident_bytes=resident_bytes,
        streamed_bytes=sum(streamed),
        peak_bytes=peak_bytes,
        least_bytes=fixed_bytes + max((p.weight_bytes for p in partitions), default=0),
        latency_s=sum(p.time_s for p in partitions)
        + len(partitions) * rates.partition_overhead_s
        + sum(rates.stream_s(block) for block in streamed),
    )
