"""What single operators need, and which needs the most."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from inferonnx.graph import Graph, Node
from inferonnx.plan.figures import partition_graph
from inferonnx.plan.needs import block_bytes, infeasible, neediest_node, operator_bytes, weights_of

if TYPE_CHECKING:
    from inferonnx.plan import MemoryModel

ChainMaker = Callable[..., Graph]


def test_weights_of_names_each_once(make_chain: ChainMaker, memory: MemoryModel) -> None:
    graph = make_chain([{"b": 1, "a": 65}, {"a": 65}, {"c": 3}])
    assert weights_of(graph, 0, 3) == ("b", "a", "c")
    assert block_bytes(graph, memory, 0, 3) == 64 + 128 + 64
    assert block_bytes(graph, memory, 1, 2) == 128


def test_operator_bytes_counts_each_name_once() -> None:
    graph = Graph(
        nodes=(
            Node(name="n", op_type="Mul", inputs=("x", "x"), outputs=("y",), weights=("w", "w")),
        ),
        inputs=("x",),
        outputs=("y",),
        weight_bytes={"w": 1},
        value_bytes={"x": 10, "y": 100},
        times_s=(0.0,),
        workspace_bytes=(1000,),
    )
    assert operator_bytes(graph, 0) == 1111


def test_neediest_node_is_the_largest_of_the_largest_partition(
    make_chain: ChainMaker, memory: MemoryModel
) -> None:
    # Node 0 needs the most alone, but partition [1, 3) more, and node 2 most in it.
    graph = make_chain([300, 200, 250])
    assert neediest_node(graph, partition_graph(graph, [1], memory=memory)) == "n2"
    assert neediest_node(graph, partition_graph(graph, [1, 2], memory=memory)) == "n0"
    assert neediest_node(graph, []) == ""


def test_infeasible_says_bytes_budget_and_operator() -> None:
    error = infeasible(needed_bytes=2048, budget_bytes=1000, node="conv", what="this model")
    assert str(error) == (
        "this model needs 2048 bytes (2.0 KiB), the budget is 1000 (1000 B); "
        "most of it for operator 'conv'"
    )
    assert error.hint == "Give it --memory 1MiB."
    assert "operator" not in str(
        infeasible(needed_bytes=1, budget_bytes=0, node="", what="this model")
    )
