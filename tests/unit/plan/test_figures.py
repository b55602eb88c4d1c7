"""assess: every figure of a plan with given cuts, by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferonnx.errors import InfeasibleBudgetError, PlanError
from inferonnx.graph import Graph
from inferonnx.plan import MemoryModel, Plan, Rates, assess

ChainMaker = Callable[..., Graph]


@pytest.fixture
def graph(make_chain: ChainMaker) -> Graph:
    """Blocks of 128, 0, 256 and 64 bytes; values of 5, 10, 20, 40, 80; a busy node 1."""
    return make_chain([100, 0, 256, 1], values=[5, 10, 20, 40, 80], workspace=[0, 7, 0, 0])


def plan_of(graph: Graph, memory: MemoryModel, rates: Rates, **options: object) -> Plan:
    settings = {"budget_bytes": None, "strategy": "hand"} | options
    return assess(graph, [1, 2, 3], memory=memory, rates=rates, **settings)


def test_assess_without_budget_streams_everything(
    graph: Graph, memory: MemoryModel, rates: Rates
) -> None:
    plan = plan_of(graph, memory, rates)
    assert [p.weight_bytes for p in plan.partitions] == [128, 0, 256, 64]
    assert [p.activation_bytes for p in plan.partitions] == [15, 37, 60, 120]
    assert [p.session_bytes for p in plan.partitions] == [13, 11, 13, 13]
    assert [p.resident for p in plan.partitions] == [False, True, False, False]
    assert (plan.session_bytes, plan.activation_bytes, plan.buffer_bytes) == (50, 120, 256)
    assert (plan.resident_bytes, plan.streamed_bytes) == (0, 448)
    assert plan.peak_bytes == plan.least_bytes == plan.budget_bytes == 1000 + 50 + 120 + 256
    assert plan.latency_s == pytest.approx(4e-3 + 4 * 1e-6 + 448e-6 + 3 * 10e-6)
    assert (plan.strategy, plan.floor_bytes) == ("hand", 1000)


def test_assess_keeps_what_the_budget_allows(
    graph: Graph, memory: MemoryModel, rates: Rates
) -> None:
    # 1170 are fixed; 384 hold the block of 256 and a buffer of 128, or less.
    plan = plan_of(graph, memory, rates, budget_bytes=1170 + 384 + 63)
    assert [p.resident for p in plan.partitions] == [False, True, True, False]
    assert (plan.resident_bytes, plan.buffer_bytes, plan.streamed_bytes) == (256, 128, 192)
    assert (plan.peak_bytes, plan.budget_bytes) == (1170 + 384, 1170 + 384 + 63)
    assert plan.least_bytes == 1170 + 256
    assert plan.latency_s == pytest.approx(4e-3 + 4 * 1e-6 + 192e-6 + 2 * 10e-6)


def test_assess_takes_the_given_residency(graph: Graph, memory: MemoryModel, rates: Rates) -> None:
    plan = plan_of(graph, memory, rates, budget_bytes=10_000, resident=[3])
    assert [p.resident for p in plan.partitions] == [False, True, False, True]
    assert plan.peak_bytes == 1170 + 64 + 256


def test_assess_counts_a_shared_weight_in_both_partitions(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([{"w": 64}, {"w": 64, "v": 64}])
    apart = assess(graph, [1], memory=memory, rates=rates, budget_bytes=None, strategy="hand")
    together = assess(graph, [], memory=memory, rates=rates, budget_bytes=None, strategy="hand")
    assert [p.weight_bytes for p in apart.partitions] == [64, 128]
    assert [p.weight_bytes for p in together.partitions] == [128]
    assert together.session_bytes == 10 + 2 * 1 + 2 * 2


@pytest.mark.parametrize(("budget", "resident"), [(1425, None), (1553, [2]), (0, [])])
def test_assess_refuses_a_peak_above_the_budget(
    graph: Graph, memory: MemoryModel, rates: Rates, budget: int, resident: list[int] | None
) -> None:
    with pytest.raises(InfeasibleBudgetError) as caught:
        plan_of(graph, memory, rates, budget_bytes=budget, resident=resident)
    assert caught.value.node == "n2"
    assert caught.value.budget_bytes == budget
    needed = caught.value.needed_bytes
    assert (
        plan_of(graph, memory, rates, budget_bytes=needed, resident=resident).peak_bytes == needed
    )


@pytest.mark.parametrize("cuts", [[0], [4], [2, 1], [2, 2], [-1]], ids=str)
def test_assess_refuses_cuts_that_do_not_ascend(
    graph: Graph, memory: MemoryModel, rates: Rates, cuts: list[int]
) -> None:
    with pytest.raises(PlanError, match="do not ascend"):
        assess(graph, cuts, memory=memory, rates=rates, budget_bytes=None, strategy="hand")


def test_assess_of_no_nodes_is_the_floor(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([])
    plan = assess(graph, [], memory=memory, rates=rates, budget_bytes=1000, strategy="hand")
    assert (plan.partitions, plan.peak_bytes, plan.latency_s) == ((), 1000, 0)
    with pytest.raises(PlanError, match="do not ascend"):
        assess(graph, [1], memory=memory, rates=rates, budget_bytes=1000, strategy="hand")
