"""least_budget: by hand, and at the edge of feasibility."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.graph import Graph
from inferonnx.plan import LeastBudget, MemoryModel, Rates, least_budget, plan_optimal

ChainMaker = Callable[..., Graph]


def test_least_budget_cuts_where_it_pays(make_chain: ChainMaker, memory: MemoryModel) -> None:
    # A session of 10 pays for a buffer that is 64 smaller; one of 70 does not.
    graph = make_chain([64, 64, 64])
    assert least_budget(graph, memory=memory) == LeastBudget(
        needed_bytes=1000 + 64 + 3 * (10 + 1 + 2), node="n0"
    )
    dear = MemoryModel(floor_bytes=1000, session_bytes=70, node_bytes=1, weight_input_bytes=2)
    assert least_budget(graph, memory=dear).needed_bytes == 1000 + 192 + 70 + 3 * (1 + 2)


def test_least_budget_respects_forbidden_cuts(make_chain: ChainMaker, memory: MemoryModel) -> None:
    graph = make_chain([64, 128, 64], values=[1, 2, 3, 4])
    least = least_budget(graph, memory=memory, uncuttable=frozenset({2}))
    assert least == LeastBudget(needed_bytes=1000 + 192 + (2 + 3 + 4) + (13 + 16), node="n1")


def test_least_budget_names_the_operator_with_weights_and_activations(
    make_chain: ChainMaker, memory: MemoryModel
) -> None:
    graph = make_chain([500, 400, 0], values=[0, 0, 200, 300])
    assert least_budget(graph, memory=memory).node == "n1"


def test_least_budget_of_no_nodes_is_the_floor(make_chain: ChainMaker, memory: MemoryModel) -> None:
    assert least_budget(make_chain([]), memory=memory) == LeastBudget(needed_bytes=1000, node="")


@pytest.mark.parametrize("n_nodes", [1, 5, 16, 17, 70])
@pytest.mark.parametrize("block_limit", [None, 500])
def test_least_budget_is_where_plans_begin(
    make_chain: ChainMaker, memory: MemoryModel, rates: Rates, n_nodes: int, block_limit: int | None
) -> None:
    graph = make_chain(
        [64 * (k * 7 % 5) for k in range(n_nodes)], values=[k * 13 % 97 for k in range(n_nodes + 1)]
    )
    needed = least_budget(graph, memory=memory, block_limit_bytes=block_limit).needed_bytes
    options = {"memory": memory, "rates": rates, "block_limit_bytes": block_limit}
    plan = plan_optimal(graph, budget_bytes=needed, **options)
    assert plan.peak_bytes == needed
    with pytest.raises(InfeasibleBudgetError) as caught:
        plan_optimal(graph, budget_bytes=needed - 1, **options)
    assert caught.value.needed_bytes == needed
    assert caught.value.budget_bytes == needed - 1
