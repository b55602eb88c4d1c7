"""What single partitions need: their blocks, and the operator that needs the most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inferonnx.graph import Graph
    from inferonnx.plan.values import MemoryModel, PlannedPartition


def weights_of(graph: Graph, start: int, stop: int) -> tuple[str, ...]:
    """Return the weights that nodes [start, stop) read, each once, by first reader."""
    nodes = graph.nodes[start:stop]
    return tuple(dict.fromkeys(name for node in nodes for name in node.weights))


def block_bytes(graph: Graph, memory: MemoryModel, start: int, stop: int) -> int:
    """Return the bytes of the block of nodes [start, stop): each weight once, aligned."""
    return sum(memory.padded(graph.weight_bytes[name]) for name in weights_of(graph, start, stop))


def operator_bytes(graph: Graph, index: int) -> int:
    """Return what one operator holds by itself: weights, inputs, outputs and workspace."""
    node = graph.nodes[index]
    return (
        sum(graph.weight_bytes[name] for name in set(node.weights))
        + sum(graph.value_bytes[name] for name in {*node.inputs, *node.outputs})
        + graph.workspace_bytes[index]
    )


def neediest_node(graph: Graph, partitions: Iterable[PlannedPartition]) -> str:
    """Return the label of the operator that asks for the most memory.

    That is the operator which holds the most by itself, in the partition whose
    block and activations together are the largest; "" when there are no partitions.
    """
    worst = max(partitions, key=lambda p: p.weight_bytes + p.activation_bytes, default=None)
    if worst is None:
        return ""
    index = max(range(worst.start, worst.stop), key=lambda i: operator_bytes(graph, i))
    return graph.label(index)


def infeasible(
    *, needed_bytes: int, budget_bytes: int, node: str, what: str
) -> InfeasibleBudgetError:
    """Return the error for `what`, which needs more than the budget, mostly because of `node`."""
    because = f"; most of it for operator {node!r}" if node else ""
    return InfeasibleBudgetError(
        f"{what} needs {needed_bytes} bytes ({format_size(needed_bytes)}), "
        f"the budget is {budget_bytes} ({format_size(budget_bytes)}){because}",
        needed_bytes=needed_bytes,
        budget_bytes=budget_bytes,
        node=node,
        hint=f"Give it --memory {-(-needed_bytes // MIB)}MiB.",
    )
