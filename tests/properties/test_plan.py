"""Properties of plans on random small graphs, and their optimality against brute force."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.graph import Graph, Node, partition_activation_bytes, partition_io
from inferonnx.plan import (
    MemoryModel,
    Plan,
    Rates,
    assess,
    least_budget,
    plan_optimal,
    plan_paper,
)

# A plan's latency is a float, the search counts picoseconds.
TOLERANCE_S = 1e-10


@dataclass(frozen=True)
class Case:
    """A graph and a machine, everything but the budget."""

    graph: Graph
    memory: MemoryModel
    rates: Rates
    uncuttable: frozenset[int]

    def optimal(self, budget_bytes: int, block_limit_bytes: int | None = None) -> Plan:
        return plan_optimal(
            self.graph,
            budget_bytes=budget_bytes,
            memory=self.memory,
            rates=self.rates,
            uncuttable=self.uncuttable,
            block_limit_bytes=block_limit_bytes,
        )

    def least(self) -> int:
        return least_budget(self.graph, memory=self.memory, uncuttable=self.uncuttable).needed_bytes


@st.composite
def graphs(draw: st.DrawFn, max_nodes: int = 7) -> Graph:
    """Graphs with branches, shared weights, unread values and several outputs."""
    n_nodes = draw(st.integers(1, max_nodes))
    sizes = st.one_of(st.integers(0, 2000), st.sampled_from([64, 640, 1280]))
    weight_bytes: dict[str, int] = {}
    values = ["x"]
    nodes = []
    for index in range(n_nodes):
        reads = {values[-1], *draw(st.lists(st.sampled_from(values), max_size=2))}
        weights = set(draw(st.lists(st.sampled_from(sorted(weight_bytes) or [""]), max_size=1)))
        weights.discard("")
        for k in range(draw(st.integers(0, 2))):
            weight_bytes[f"w{index}.{k}"] = draw(sizes)
            weights.add(f"w{index}.{k}")
        outputs = tuple(f"v{index}.{k}" for k in range(draw(st.integers(1, 2))))
        nodes.append(
            Node(
                name=f"n{index}",
                op_type="Op",
                inputs=tuple(sorted(reads)),
                outputs=outputs,
                weights=tuple(sorted(weights)),
            )
        )
        values.extend(outputs)
    return Graph(
        nodes=tuple(nodes),
        inputs=("x",),
        outputs=tuple(dict.fromkeys([values[-1], draw(st.sampled_from(values))])),
        weight_bytes=weight_bytes,
        value_bytes={name: draw(st.integers(0, 800)) for name in values},
        times_s=tuple(draw(st.floats(0, 1e-3)) for _ in range(n_nodes)),
        workspace_bytes=tuple(draw(st.integers(0, 300)) for _ in range(n_nodes)),
    )


@st.composite
def cases(draw: st.DrawFn, max_nodes: int = 7) -> Case:
    """Graphs on machines where overheads matter, and where they do not."""
    graph = draw(graphs(max_nodes))
    cuts = st.integers(1, max(1, len(graph.nodes) - 1))
    return Case(
        graph=graph,
        memory=MemoryModel(
            floor_bytes=draw(st.integers(0, 1000)),
            session_bytes=draw(st.sampled_from([0, 50, 300])),
            node_bytes=draw(st.sampled_from([0, 5])),
            weight_input_bytes=draw(st.sampled_from([0, 7])),
            alignment=draw(st.sampled_from([1, 64])),
        ),
        rates=Rates(
            stream_bytes_per_s=draw(st.sampled_from([1e6, 1e9])),
            partition_overhead_s=draw(st.sampled_from([0.0, 5e-6])),
            stream_overhead_s=draw(st.sampled_from([0.0, 5e-5, 5e-4])),
        ),
        uncuttable=frozenset(draw(st.lists(cuts, max_size=2))),
    )


def brute_force(case: Case, budget_bytes: int) -> tuple[float, int] | None:
    """The least latency, then the least peak, over all cuts and residencies.

    Written from the objective alone: nothing of the planner is used.
    """
    graph, memory, rates = case.graph, case.memory, case.rates
    n_nodes = len(graph.nodes)
    inner = [cut for cut in range(1, n_nodes) if cut not in case.uncuttable]
    best: tuple[float, int] | None = None
    for flags in product((False, True), repeat=len(inner)):
        cuts = [cut for cut, made in zip(inner, flags, strict=True) if made]
        blocks, activations, fixed = [], [], memory.floor_bytes
        for start, stop in pairwise([0, *cuts, n_nodes]):
            weights = partition_io(graph, start, stop).weights
            unit = memory.alignment
            blocks.append(sum(-(-graph.weight_bytes[w] // unit) * unit for w in weights))
            activations.append(partition_activation_bytes(graph, start, stop))
            fixed += memory.session_bytes + memory.node_bytes * (stop - start)
            fixed += memory.weight_input_bytes * len(weights)
        fixed += max(activations)
        for kept in product((False, True), repeat=len(blocks)):
            streamed = [b for b, keep in zip(blocks, kept, strict=True) if not keep and b]
            peak = fixed + sum(blocks) - sum(streamed) + max(streamed, default=0)
            if peak > budget_bytes:
                continue
            latency = sum(graph.times_s) + len(blocks) * rates.partition_overhead_s
            latency += sum(b / rates.stream_bytes_per_s + rates.stream_overhead_s for b in streamed)
            if (
                best is None
                or latency < best[0] - TOLERANCE_S
                or (latency <= best[0] + TOLERANCE_S and peak < best[1])
            ):
                best = (latency, peak)
    return best


@given(case=cases(max_nodes=6), spare=st.integers(-200, 4000))
def test_optimal_equals_brute_force(case: Case, spare: int) -> None:
    budget = max(0, case.least() + spare)
    best = brute_force(case, budget)
    if best is None:
        with pytest.raises(InfeasibleBudgetError) as caught:
            case.optimal(budget)
        assert caught.value.needed_bytes == case.least() > budget
        assert brute_force(case, caught.value.needed_bytes) is not None
        return
    plan = case.optimal(budget)
    assert abs(plan.latency_s - best[0]) <= TOLERANCE_S
    assert plan.peak_bytes == best[1]


@given(case=cases(max_nodes=12), spare=st.integers(0, 6000), block_limit=st.integers(0, 3000))
def test_plan_keeps_every_promise(case: Case, spare: int, block_limit: int) -> None:
    graph = case.graph
    least = least_budget(
        graph, memory=case.memory, uncuttable=case.uncuttable, block_limit_bytes=block_limit
    )
    plan = case.optimal(least.needed_bytes + spare, block_limit)
    bounds = [0, *plan.cuts, len(graph.nodes)]
    assert [(p.start, p.stop) for p in plan.partitions] == list(pairwise(bounds))
    assert case.uncuttable.isdisjoint(plan.cuts)
    assert case.least() <= least.needed_bytes <= plan.least_bytes <= plan.peak_bytes
    assert plan.peak_bytes <= plan.budget_bytes == least.needed_bytes + spare
    assert sum(p.weight_bytes for p in plan.partitions) == (
        plan.resident_bytes + plan.streamed_bytes
    )
    for partition in plan.partitions:
        if partition.weight_bytes > block_limit:
            assert case.uncuttable >= set(range(partition.start + 1, partition.stop))


@given(case=cases(max_nodes=10), spare=st.integers(0, 6000), more=st.integers(1, 3000))
def test_more_budget_is_never_slower(case: Case, spare: int, more: int) -> None:
    budget = case.least() + spare
    less = case.optimal(budget).latency_s
    assert case.optimal(budget + more).latency_s <= less + TOLERANCE_S


@given(
    case=cases(max_nodes=10),
    limit=st.integers(0, 8000),
    alone=st.sets(st.integers(0, 9), max_size=3),
    spare=st.integers(0, 4000),
)
def test_optimal_is_never_slower_than_paper(
    case: Case, limit: int, alone: set[int], spare: int
) -> None:
    assume(all(index < len(case.graph.nodes) for index in alone))
    question = {
        "memory": case.memory,
        "rates": case.rates,
        "limit_bytes": limit,
        "memory_intensive": alone,
        "uncuttable": case.uncuttable,
    }
    paper = plan_paper(case.graph, **question)
    assert case.uncuttable.isdisjoint(paper.cuts)
    budget = paper.peak_bytes + spare
    paper = plan_paper(case.graph, budget_bytes=budget, **question)
    assert paper.peak_bytes <= budget
    optimal = case.optimal(budget)
    assert optimal.latency_s <= paper.latency_s + TOLERANCE_S


@given(case=cases(max_nodes=8), data=st.data())
def test_any_cuts_run_from_their_least_budget_upwards(case: Case, data: st.DataObject) -> None:
    """What a sealed file promises: same cuts, any budget from the least on, never slower."""
    inner = range(1, len(case.graph.nodes))
    cuts = sorted(data.draw(st.sets(st.sampled_from(inner)) if inner else st.just(set())))
    question = {"memory": case.memory, "rates": case.rates, "strategy": "hand"}
    least = assess(case.graph, cuts, budget_bytes=None, **question).least_bytes
    streamed = None
    for spare in sorted(data.draw(st.lists(st.integers(0, 5000), min_size=1, max_size=4))):
        plan = assess(case.graph, cuts, budget_bytes=least + spare, **question)
        assert plan.peak_bytes <= least + spare
        assert plan.least_bytes == least
        assert streamed is None or plan.streamed_bytes <= streamed
        streamed = plan.streamed_bytes
