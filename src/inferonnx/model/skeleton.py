"""Skeletons: a partition as a small finished ONNX model whose weights are inputs.

A skeleton declares its boundary inputs with type, rank and the dims that are the
same for every input; its weights with type and shape; its outputs with their type.
It holds the constants that its nodes read, and nothing that only people read: no
names of nodes, no comments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import onnx
from onnx import helper

from inferonnx.errors import ModelError
from inferonnx.model.draft import ONNX_DOMAIN, domain_of
from inferonnx.model.subgraphs import all_graphs, bare_copy, reads
from inferonnx.model.types import boundary_type, weight_info

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnx import NodeProto, TensorProto, ValueInfoProto

    from inferonnx.model.draft import Draft


class Skeleton(NamedTuple):
    """A partition's model and the names at its edge.

    Attributes:
        model: ONNX bytes; its inputs are `inputs`, then `weights`, in this order.
        inputs: Boundary values that it reads.
        outputs: Boundary values that it makes.
        weights: Weights that it reads.
    """

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]


def build_skeleton(
    draft: Draft,
    nodes: Sequence[NodeProto],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    weights: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    pinned: Iterable[str] = (),
    named: bool = False,
) -> Skeleton:
    """Return the skeleton of `nodes`.

    Args:
        draft: Where the nodes come from; its types are known.
        nodes: The partition, in order.
        inputs: Boundary values read.
        outputs: Values to return.
        weights: Weights read, those of `pinned` left out.
        shapes: Shapes seen on the sample; a declared one that differs is a lie of the
            file and is left out.
        pinned: Weights to hold as constants.
        named: Name each node by its place, for profiles.

    Raises:
        ModelError: The skeleton would be larger than a protobuf can be.
    """
    copies = [bare_copy(node, str(place) if named else "") for place, node in enumerate(nodes)]
    constants = list(_constants(draft, nodes, pinned))
    graph = helper.make_graph(
        copies,
        "g",  # a checker wants a name
        [
            *(_declared(draft, name, shapes) for name in inputs),
            *(weight_info(draft, name) for name in weights),
        ],
        [_output(draft, name) for name in outputs],
        initializer=constants,
        sparse_initializer=[
            draft.sparse[name] for name in dict.fromkeys(_read(nodes)) if name in draft.sparse
        ],
    )
    model = helper.make_model(
        graph,
        opset_imports=_opset_imports(draft, graph),
        # Before version 4 every constant would have to be an input as well.
        ir_version=max(draft.ir_version, 4),
    )
    if model.ByteSize() >= 2**31:
        raise ModelError("a partition's constants and attributes take more than 2 GiB")
    return Skeleton(
        model=model.SerializeToString(),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        weights=tuple(weights),
    )


def _read(nodes: Iterable[NodeProto]) -> Iterable[str]:
    for node in nodes:
        yield from reads(node)


def _constants(
    draft: Draft, nodes: Iterable[NodeProto], pinned: Iterable[str]
) -> Iterable[TensorProto]:
    held = frozenset(pinned)
    for name in dict.fromkeys(_read(nodes)):
        if name in draft.constants:
            yield draft.constants[name]
        elif name in held:
            weight = draft.weights[name]
            yield onnx.TensorProto(
                name=name,
                dims=weight.shape,
                data_type=int(weight.dtype),
                raw_data=bytes(weight.data()),
            )


def _declared(draft: Draft, name: str, shapes: Mapping[str, tuple[int, ...]]) -> ValueInfoProto:
    return onnx.ValueInfoProto(name=name, type=boundary_type(draft.types[name], shapes.get(name)))


def _output(draft: Draft, name: str) -> ValueInfoProto:
    return onnx.ValueInfoProto(name=name, type=boundary_type(draft.types[name], None))


def _opset_imports(draft: Draft, graph: onnx.GraphProto) -> list[onnx.OperatorSetIdProto]:
    used = {domain_of(node) for inner in all_graphs(graph) for node in inner.node}
    used.add(ONNX_DOMAIN)
    return [
        helper.make_opsetid(domain, version)
        for domain, version in draft.opsets.items()
        if domain in used
    ]
