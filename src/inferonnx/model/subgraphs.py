"""What a node reads, its subgraphs included.

The body of an If, Loop or Scan sees every value of the graphs around it. A name
that a body defines hides the outer one; all walks here keep that scope.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import NodeProto

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import GraphProto, TensorProto


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs that are attributes of `node`."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def reads(node: NodeProto) -> tuple[str, ...]:
    """Return the outer values that `node` reads, each once, in order; captured ones last."""
    names = dict.fromkeys(name for name in node.input if name)
    for body in bodies(node):
        names.update(dict.fromkeys(captured(body)))
    return tuple(names)


def captured(body: GraphProto) -> tuple[str, ...]:
    """Return the names that `body` takes from the graphs around it, each once."""
    own = _defined(body)
    taken: dict[str, None] = {}
    for node in body.node:
        taken.update(dict.fromkeys(name for name in reads(node) if name not in own))
    taken.update(dict.fromkeys(v.name for v in body.output if v.name not in own))
    return tuple(taken)


def rename_reads(node: NodeProto, names: Mapping[str, str]) -> None:
    """Replace the outer names that `node` reads, in its inputs and inside its bodies."""
    for position, name in enumerate(node.input):
        if name in names:
            node.input[position] = names[name]
    for body in bodies(node):
        own = _defined(body)
        visible = {old: new for old, new in names.items() if old not in own}
        if visible:
            for inner in body.node:
                rename_reads(inner, visible)


def bare_copy(node: NodeProto, name: str = "") -> NodeProto:
    """Return a copy under another name, without what only people read, bodies included."""
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.name = name
    for body in bodies(copy):
        for graph in all_graphs(body):
            graph.ClearField("doc_string")
            graph.ClearField("value_info")
            for inner in graph.node:
                inner.ClearField("name")
    return copy


def all_names(graph: GraphProto) -> Iterator[str]:
    """Yield every value name of the graph and of all bodies inside it, with repetitions."""
    yield from _defined(graph)
    for node in graph.node:
        yield from node.input
        for body in bodies(node):
            yield from all_names(body)


def all_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield the graph and every body inside it, outer ones first."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from all_graphs(body)


def all_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every tensor of the graph: initializers and attributes, those of bodies included."""
    for inner in all_graphs(graph):
        yield from inner.initializer
        for sparse in inner.sparse_initializer:
            yield sparse.values
            yield sparse.indices
        for node in inner.node:
            yield from attribute_tensors(node)


def attribute_tensors(node: NodeProto) -> Iterator[TensorProto]:
    """Yield the tensors that are attributes of the node itself."""
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor.values
            yield attribute.sparse_tensor.indices


def _defined(graph: GraphProto) -> set[str]:
    names = {value.name for value in graph.input}
    names.update(tensor.name for tensor in graph.initializer)
    names.update(sparse.values.name for sparse in graph.sparse_initializer)
    for node in graph.node:
        names.update(node.output)
    names.discard("")
    return names
