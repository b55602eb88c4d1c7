"""Large initializers inside bodies of If, Loop and Scan move to the outer graph.

A body captures whatever the graphs around it define, a skeleton's inputs
included. So a weight that is moved out, under a name of its own, is streamed like
any other; the body computes the same.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from onnx import helper

from inferonnx.model.draft import ONNX_DOMAIN, domain_of
from inferonnx.model.subgraphs import all_graphs, bare_copy, bodies, rename_reads
from inferonnx.model.weights import is_plain, tensor_bytes, weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from onnx import GraphProto, NodeProto

    from inferonnx.model.draft import Draft
    from inferonnx.model.weights import Weight


def hoist(draft: Draft, files: Mapping[str, Any], inline_bytes: int) -> None:
    """Turn initializers of more than `inline_bytes` inside bodies into weights of the draft."""
    hoisted = _Hoisted()
    for node in draft.nodes:
        for body in bodies(node):
            for inner in all_graphs(body):
                _lift_constants(inner)
        _hoist_from(node, draft, files, inline_bytes, hoisted)


class _Hoisted:
    """Weights moved out so far: branches often hold the same ones, which then are one."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, tuple[int, ...], bytes], str] = {}

    def name(self, draft: Draft, wanted: str, weight: Weight) -> str:
        """Add the weight to the draft, unless its twin is there, and return the name."""
        digest = hashlib.sha256(weight.data()).digest()
        key = (int(weight.dtype), weight.shape, digest)
        if key not in self._names:
            self._names[key] = draft.weight(wanted, weight)
        return self._names[key]


def _lift_constants(body: GraphProto) -> None:
    """Turn Constant nodes into initializers.

    onnxruntime does so itself, but in bodies of bodies it keeps the node beside the
    initializer, and then refuses the graph that it saved.
    """
    present = {tensor.name for tensor in body.initializer}
    kept = []
    for node in body.node:
        is_constant = node.op_type == "Constant" and domain_of(node) == ONNX_DOMAIN
        if is_constant and node.output[0] in present:
            continue
        if is_constant and node.attribute[0].HasField("t"):
            tensor = body.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            continue
        kept.append(node)
    if len(kept) < len(body.node):
        nodes = [bare_copy(node, node.name) for node in kept]
        del body.node[:]
        body.node.extend(nodes)


def _hoist_from(
    node: NodeProto,
    draft: Draft,
    files: Mapping[str, Any],
    inline_bytes: int,
    hoisted: _Hoisted,
) -> None:
    for body in bodies(node):
        moved: dict[str, str] = {}
        for position in reversed(range(len(body.initializer))):
            tensor = body.initializer[position]
            if is_plain(tensor) and tensor_bytes(tensor) > inline_bytes:
                moved[tensor.name] = hoisted.name(draft, tensor.name, weight_of(tensor, files))
                del body.initializer[position]
        if moved:
            _let_capture(body, moved)
        for inner in body.node:
            _hoist_from(inner, draft, files, inline_bytes, hoisted)


def _let_capture(body: GraphProto, moved: dict[str, str]) -> None:
    """Make the body read the outer names in place of the initializers that it lost."""
    for inner in body.node:
        rename_reads(inner, moved)
    # IR version 3 lists initializers as inputs; a body's inputs must be those of its node.
    for position in reversed(range(len(body.input))):
        if body.input[position].name in moved:
            del body.input[position]
    # What a body returns, it must compute.
    returned = {value.name for value in body.output} & moved.keys()
    copies = [helper.make_node("Identity", [moved[name]], [name]) for name in sorted(returned)]
    if copies:
        nodes = [*copies, *(bare_copy(node, node.name) for node in body.node)]
        del body.node[:]
        body.node.extend(nodes)
