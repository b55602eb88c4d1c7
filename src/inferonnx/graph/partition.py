"""What goes into a partition and what comes out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.graph.liveness import Liveness, check_range

if TYPE_CHECKING:
    from inferonnx.graph.values import Graph


class PartitionIo(NamedTuple):
    """Names at a partition's edge, each once.

    Attributes:
        inputs: Values read that are born outside: graph inputs first, then by birth.
        outputs: Values born inside and needed afterwards, by birth.
        weights: Streamed initializers, in the order of their first reader.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]


def partition_io(graph: Graph, start: int, stop: int) -> PartitionIo:
    """Return the names that partition [start, stop) takes and gives.

    A value that merely passes over the partition is neither input nor output.

    Raises:
        PlanError: The range is empty or leaves the graph.
    """
    check_range(graph, start, stop)
    nodes = graph.nodes[start:stop]
    liveness = Liveness(graph)
    read = {name for node in nodes for name in node.inputs}
    born = {name for node in nodes for name in node.outputs}
    return PartitionIo(
        inputs=tuple(name for name in liveness.boundary(start) if name in read),
        outputs=tuple(name for name in liveness.boundary(stop) if name in born),
        weights=tuple(dict.fromkeys(name for node in nodes for name in node.weights)),
    )
