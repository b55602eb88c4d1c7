"""plan_paper: the greedy walk, rule by rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferonnx.errors import InfeasibleBudgetError, PlanError
from inferonnx.graph import Graph
from inferonnx.plan import MemoryModel, Rates, assess, plan_paper
from inferonnx.plan.paper import LIMIT_BYTES

ChainMaker = Callable[..., Graph]


@pytest.mark.parametrize(
    ("weights", "limit", "options", "cuts"),
    [
        pytest.param([10] * 6, 30, {}, (3,), id="from-the-last-to-the-first"),
        pytest.param([10] * 7, 30, {}, (1, 4), id="rest-at-the-front"),
        pytest.param([10] * 4, 29, {}, (2,), id="limit-not-passed"),
        pytest.param([10, 50, 10, 10], 30, {}, (1, 2), id="above-the-limit-alone"),
        pytest.param([10] * 4, 40, {}, (2,), id="within-the-limit-halved"),
        pytest.param([10] * 5, 50, {}, (2,), id="odd-halved"),
        pytest.param([10], 50, {}, (), id="one-operator-stays-whole"),
        pytest.param([], 50, {}, (), id="no-operator"),
        pytest.param([10] * 6, 30, {"memory_intensive": {"n4"}}, (1, 4, 5), id="alone-by-name"),
        pytest.param([10] * 6, 30, {"memory_intensive": {4}}, (1, 4, 5), id="alone-by-index"),
        pytest.param([10] * 4, 30, {"memory_intensive": {0, 3}}, (1, 3), id="alone-at-the-ends"),
        pytest.param([10] * 6, 30, {"memory_intensive": {2, 3}}, (2, 3, 4), id="alone-neighbours"),
        pytest.param([10] * 8, 90, {"memory_intensive": {1}}, (1, 2, 4), id="halved-and-alone"),
        pytest.param([10] * 6, 30, {"uncuttable": {3}}, (1, 4), id="forbidden-cut"),
        pytest.param([10] * 6, 90, {"uncuttable": {3}}, (2,), id="forbidden-half"),
        pytest.param(
            [10] * 6, 30, {"uncuttable": {2}, "memory_intensive": {1}}, (1, 3), id="alone-as-one"
        ),
    ],
)
def test_plan_paper_cuts(
    make_chain: ChainMaker,
    memory: MemoryModel,
    rates: Rates,
    weights: list[int],
    limit: int,
    options: dict[str, set[str | int]],
    cuts: tuple[int, ...],
) -> None:
    graph = make_chain(weights)
    plan = plan_paper(graph, memory=memory, rates=rates, limit_bytes=limit, **options)
    assert plan.cuts == cuts
    assert plan.strategy == "paper"


def test_plan_paper_counts_inputs_outputs_and_workspace(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    # Operators of 10 + 20 + 5, 20 + 20 + 1 and 20 + 1 bytes: 35, 41 and 21.
    graph = make_chain([5, 1, 0], values=[10, 20, 20, 1])
    for limit, cuts in [(96, (1,)), (62, (1,)), (61, (1, 2))]:
        plan = plan_paper(graph, memory=memory, rates=rates, limit_bytes=limit)
        assert plan.cuts == cuts
    busy = make_chain([5, 1, 0], values=[10, 20, 20, 1], workspace=[0, 0, 1])
    assert plan_paper(busy, memory=memory, rates=rates, limit_bytes=62).cuts == (1, 2)


def test_plan_paper_streams_everything_without_a_budget(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    plan = plan_paper(make_chain([64, 0, 64]), memory=memory, rates=rates)
    assert LIMIT_BYTES == 85 * 2**20
    assert (plan.streamed_bytes, plan.resident_bytes) == (128, 0)
    assert plan.budget_bytes == plan.peak_bytes


def test_plan_paper_keeps_what_the_budget_leaves(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates
) -> None:
    graph = make_chain([640, 64, 640, 64])
    question = {"memory": memory, "rates": rates}
    plan = plan_paper(graph, budget_bytes=2000, limit_bytes=650, **question)
    assert plan == assess(graph, plan.cuts, budget_bytes=2000, strategy="paper", **question)
    assert plan.resident_bytes > 0
    with pytest.raises(InfeasibleBudgetError, match="paper"):
        plan_paper(graph, budget_bytes=1600, limit_bytes=650, **question)


@pytest.mark.parametrize("operator", ["n9", 4, -1])
def test_plan_paper_refuses_unknown_operators(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates, operator: str | int
) -> None:
    with pytest.raises(PlanError, match=f"{operator!r} is not in the graph"):
        plan_paper(
            make_chain([1] * 4), memory=memory, rates=rates, memory_intensive={operator, "n1"}
        )
