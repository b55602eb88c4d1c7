"""plan_optimal: what it prefers, what it refuses, and that large graphs stay affordable.

That it finds the optimum of small graphs is shown in tests/properties.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.graph import Graph
from inferonnx.plan import MemoryModel, Rates, assess, least_budget, plan_optimal

ChainMaker = Callable[..., Graph]


def test_plan_with_memory_for_all_is_one_partition(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([640, 0, 64, 640], values=[5] * 5)
    plan = plan_optimal(graph, budget_bytes=10**6, memory=memory, rates=rates)
    assert plan.cuts == ()
    assert (plan.streamed_bytes, plan.buffer_bytes, plan.resident_bytes) == (0, 0, 1344)
    assert (plan.strategy, plan.budget_bytes) == ("optimal", 10**6)
    assert plan.latency_s == pytest.approx(4e-3 + 1e-6)


def test_block_limit_keeps_the_least_budget_low(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([640, 0, 64, 640, 128], values=[5] * 6)
    plan = plan_optimal(
        graph, budget_bytes=10**6, memory=memory, rates=rates, block_limit_bytes=640
    )
    assert plan.streamed_bytes == 0
    assert max(p.weight_bytes for p in plan.partitions) == 640
    assert plan.least_bytes <= 1000 + 640 + 15 + 5 * 13


def test_plan_of_equal_latency_has_the_smaller_peak(
    make_chain: ChainMaker, memory: MemoryModel
) -> None:
    """Cuts cost no time here, so that a small buffer is as fast as a large one."""
    free = Rates(stream_bytes_per_s=1e6, partition_overhead_s=0.0, stream_overhead_s=0.0)
    graph = make_chain([640] * 4)
    least = least_budget(graph, memory=memory).needed_bytes
    plan = plan_optimal(graph, budget_bytes=least + 639, memory=memory, rates=free)
    # A second resident block does not fit; anything more than the least is wasted.
    assert plan.peak_bytes == least
    assert len(plan.partitions) == 4


def test_infeasible_budget_names_operator_needed_and_budget(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([64, 640, 64])
    with pytest.raises(InfeasibleBudgetError, match="'n1'") as caught:
        plan_optimal(graph, budget_bytes=1100, memory=memory, rates=rates)
    assert caught.value.node == "n1"
    assert caught.value.budget_bytes == 1100
    assert caught.value.needed_bytes == least_budget(graph, memory=memory).needed_bytes
    assert str(caught.value.needed_bytes) in str(caught.value)
    assert caught.value.hint == "Give it --memory 1MiB."


def test_plan_of_no_nodes_needs_the_floor(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([])
    plan = plan_optimal(graph, budget_bytes=1000, memory=memory, rates=rates)
    assert (plan.partitions, plan.peak_bytes, plan.least_bytes) == ((), 1000, 1000)
    with pytest.raises(InfeasibleBudgetError) as caught:
        plan_optimal(graph, budget_bytes=999, memory=memory, rates=rates)
    assert (caught.value.needed_bytes, caught.value.node) == (1000, "")


def test_plan_of_a_graph_without_weights_streams_nothing(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([0] * 40, values=[3] * 41)
    plan = plan_optimal(graph, budget_bytes=10**6, memory=memory, rates=rates)
    assert (plan.streamed_bytes, plan.resident_bytes, plan.cuts) == (0, 0, ())
    assert all(partition.resident for partition in plan.partitions)


MIB = 1 << 20
REAL_MEMORY = MemoryModel(
    floor_bytes=30 * MIB, session_bytes=20 << 10, node_bytes=5 << 10, weight_input_bytes=5 << 10
)
REAL_RATES = Rates(stream_bytes_per_s=5.5e9, partition_overhead_s=5e-6, stream_overhead_s=5e-5)


@pytest.fixture
def deep_graph(make_chain: ChainMaker) -> Graph:
    """400 nodes, 140 with weights (100 MB, growing), activations of 3 MiB shrinking."""
    rng = random.Random(7)
    weights = [
        int(rng.uniform(0.2, 1.8) * 2e6 * (0.1 + (k / 400) ** 2)) if k % 20 in range(7) else 0
        for k in range(400)
    ]
    values = [int(3 * MIB * max(0.02, (1 - k / 400) ** 2)) for k in range(401)]
    return make_chain(weights, values=values, times_s=3.5e-4)


def test_plan_of_a_deep_graph_uses_what_the_budget_gives(deep_graph: Graph) -> None:
    least = least_budget(deep_graph, memory=REAL_MEMORY).needed_bytes
    latencies = []
    for budget in (least, 64 * MIB, 85 * MIB, 600 * MIB):
        plan = plan_optimal(deep_graph, budget_bytes=budget, memory=REAL_MEMORY, rates=REAL_RATES)
        assert plan.peak_bytes <= budget
        again = assess(
            deep_graph,
            plan.cuts,
            memory=REAL_MEMORY,
            rates=REAL_RATES,
            budget_bytes=budget,
            strategy="optimal",
            resident=[i for i, p in enumerate(plan.partitions) if p.resident],
        )
        assert again == plan
        # What is neither floor, sessions nor activations is worth its bytes.
        assert budget - plan.peak_bytes < MIB or not plan.streamed_bytes
        latencies.append(plan.latency_s)
    assert latencies == sorted(latencies, reverse=True)
    assert latencies[-1] == pytest.approx(0.14 + 5e-6)


def test_thinning_costs_less_than_a_thousandth(
    make_chain: ChainMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph of 16 nodes is searched to the end; thinned it is hardly slower."""
    rng = random.Random(3)
    graph = make_chain(
        [rng.randint(1, 9) * MIB if k % 2 else 0 for k in range(16)],
        values=[rng.randint(1, 3) * MIB for _ in range(17)],
    )
    for budget in (50, 60, 70):
        question = {"budget_bytes": budget * MIB, "memory": REAL_MEMORY, "rates": REAL_RATES}
        monkeypatch.setattr("inferonnx.plan.lattice.ALL_POINTS", 17)
        best = plan_optimal(graph, **question)
        monkeypatch.setattr("inferonnx.plan.lattice.ALL_POINTS", 1)
        thinned = plan_optimal(graph, **question)
        assert best.latency_s <= thinned.latency_s <= best.latency_s * 1.002


def test_resident_weights_beat_a_slow_stream(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    """The slower the stream, the more a plan keeps resident, at whatever other cost."""
    graph = make_chain([64 * (1 + k * 5 % 9) for k in range(10)], values=[40] * 11)
    budget = least_budget(graph, memory=memory).needed_bytes + 700
    kept = [
        plan_optimal(
            graph, budget_bytes=budget, memory=memory, rates=replace(rates, stream_bytes_per_s=rate)
        ).streamed_bytes
        for rate in (1e12, 1e6, 1e3)
    ]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[-1]
