"""Large initializers inside bodies of If, Loop and Scan move to the outer graph.

A body captures whatever the graphs around it define, a skeleton's inputs
included. So a weight that is moved out, under a name of its own, is streamed like
any other; the body computes the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import helper

from inferonnx.model.subgraphs import bodies, rename_reads
from inferonnx.model.weights import is_plain, tensor_bytes, weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from onnx import GraphProto, NodeProto

    from inferonnx.model.draft import Draft


def hoist(draft: Draft, files: Mapping[str, Any], inline_bytes: int) -> None:
    """Turn initializers of more than `inline_bytes` inside bodies into weights of the draft."""
    for node in draft.nodes:
        _hoist_from(node, draft, files, inline_bytes)


def _hoist_from(node: NodeProto, draft: Draft, files: Mapping[str, Any], inline_bytes: int) -> None:
    for body in bodies(node):
        moved: dict[str, str] = {}
        for position in reversed(range(len(body.initializer))):
            tensor = body.initializer[position]
            if is_plain(tensor) and tensor_bytes(tensor) > inline_bytes:
                moved[tensor.name] = draft.weight(tensor.name, weight_of(tensor, files))
                del body.initializer[position]
        if moved:
            _let_capture(body, moved)
        for inner in body.node:
            _hoist_from(inner, draft, files, inline_bytes)


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
        nodes = [*copies, *body.node]
        del body.node[:]
        body.node.extend(nodes)
