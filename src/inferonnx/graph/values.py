"""Node and Graph: what the planner knows of a model, checked once when it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator of the graph.

    Attributes:
        name: The node's name in the model; may be empty or repeated.
        op_type: Operator, such as "Conv".
        domain: Operator set; the default domain is "".
        inputs: Activation values read, those captured by the node's subgraphs
            included; neither weights, nor small constants, nor "".
        outputs: Values produced, in order, optional ones that are absent left out.
        weights: Names of the streamed initializers read, subgraphs included.
    """

    name: str
    op_type: str
    domain: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A model's nodes in topological order, with what was measured on a sample.

    Attributes:
        nodes: n nodes; each reads only graph inputs and outputs of earlier nodes.
        inputs: Values that the caller gives.
        outputs: Values that the caller gets; one may be a graph input.
        weight_bytes: Bytes of every streamed initializer, without padding.
        value_bytes: Activation bytes of every graph input and node output.
        times_s: n times, in seconds, one a node.
        workspace_bytes: n sizes: scratch memory beyond inputs, weights and outputs,
            zero where unknown.

    Raises:
        PlanError: A node reads a value before it exists, a name is given twice or
            unknown, a size is negative or missing, or a tuple has not n entries.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: Mapping[str, int]
    value_bytes: Mapping[str, int]
    times_s: tuple[float, ...]
    workspace_bytes: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check order, single assignment and names; later stages trust them."""
        _check_lengths(self)
        _check_sizes("weight", self.weight_bytes.items())
        _check_names(self)
        _check_sizes("value", self.value_bytes.items())

    def label(self, index: int) -> str:
        """Return how node `index` is called in messages: its name, or its operator and index."""
        node = self.nodes[index]
        return node.name or f"{node.op_type} (node {index})"


def _check_lengths(graph: Graph) -> None:
    n_nodes = len(graph.nodes)
    for field, entries in (("times_s", graph.times_s), ("workspace_bytes", graph.workspace_bytes)):
        if len(entries) != n_nodes:
            raise PlanError(f"{field} has {len(entries)} entries for {n_nodes} nodes", where=field)
        # Written so that NaN, for which every comparison is false, fails too.
        if not all(entry >= 0 for entry in entries):
            raise PlanError(f"{field} holds an entry that is not zero or more", where=field)


def _check_sizes(kind: str, sizes: Iterable[tuple[str, int]]) -> None:
    for name, n_bytes in sizes:
        if n_bytes < 0:
            raise PlanError(f"{kind} {name!r} has a negative size: {n_bytes}", where=name)


def _check_names(graph: Graph) -> None:
    """Walk the nodes once: every name is defined once, and before it is read."""
    defined = set(graph.weight_bytes)
    values: set[str] = set()

    def define(name: str, where: str) -> None:
        if not name or name in defined:
            problem = f"value {name!r} is defined twice" if name else "a value has no name"
            raise PlanError(problem, where=where)
        if name not in graph.value_bytes:
            raise PlanError(f"the size of value {name!r} is unknown", where=where)
        defined.add(name)
        values.add(name)

    for name in graph.inputs:
        define(name, "graph input")
    for index, node in enumerate(graph.nodes):
        for name in node.inputs:
            if name not in values:
                raise PlanError(
                    f"node {graph.label(index)!r} reads {name!r} before it exists",
                    where=graph.label(index),
                )
        for name in node.weights:
            if name not in graph.weight_bytes:
                raise PlanError(
                    f"node {graph.label(index)!r} reads an unknown weight {name!r}",
                    where=graph.label(index),
                )
        for name in node.outputs:
            define(name, graph.label(index))
    for name in graph.outputs:
        if name not in values:
            raise PlanError(f"graph output {name!r} is never computed", where="graph output")
