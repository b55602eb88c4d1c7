"""What a model, its partitions and its operators need of memory, counted from the graph.

Exact accounting: bytes of weights, and of the values that are alive at once. What an
allocator rounds up, operators' workspace, the runtime and the process are not in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.graph import Liveness

if TYPE_CHECKING:
    from inferonnx.graph import Graph


class Need(NamedTuple):
    """What running part of a graph needs, in bytes."""

    weights_bytes: int
    activation_bytes: int

    @property
    def n_bytes(self) -> int:
        """Both together."""
        return self.weights_bytes + self.activation_bytes


def part_need(graph: Graph, start: int, stop: int) -> Need:
    """Return what operators [start, stop) need when they run as one partition.

    Its weights are there throughout, each once; activations are the most that is alive
    at one operator, values that only pass over the partition included.
    """
    names = {name for node in graph.nodes[start:stop] for name in node.weights}
    return Need(
        weights_bytes=sum(graph.weight_bytes[name] for name in names),
        activation_bytes=Liveness(graph).peaks_from(start, stop)[-1],
    )


def operator_needs(graph: Graph) -> list[Need]:
    """Return what each operator needs by itself: its weights, its inputs and outputs."""
    return [
        Need(
            weights_bytes=sum(graph.weight_bytes[name] for name in set(node.weights)),
            activation_bytes=sum(graph.value_bytes[name] for name in {*node.inputs, *node.outputs}),
        )
        for node in graph.nodes
    ]


def alive_bytes(graph: Graph) -> list[int]:
    """Return the bytes of all values that are alive while each operator runs, in one pass.

    The model's inputs are the caller's, and stay to the end.
    """
    alive = Liveness(graph)
    inputs = alive.ranges[: len(graph.inputs)]
    return [
        alive.boundary_bytes(i)
        + sum(graph.value_bytes[name] for name in node.outputs)
        + sum(graph.value_bytes[one.value] for one in inputs if 0 < one.stop <= i)
        for i, node in enumerate(graph.nodes)
    ]
