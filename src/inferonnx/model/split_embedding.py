"""EmbedLayerNormalization whose word table is too large for one piece.

onnxruntime fuses a transformer's three lookups and their normalisation into one
operator. Its word rows are gathered beforehand, from pieces, and handed to it as a
table of exactly those rows, numbered in order: it computes the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inferonnx.model.draft import MICROSOFT_DOMAIN, domain_of
from inferonnx.model.split_gather import split_gathers
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from onnx import NodeProto

    from inferonnx.model.draft import Draft

_OP_TYPE = "EmbedLayerNormalization"
_IDS, _WORDS = 0, 2  # places of its inputs

# Range came with opset 11.
_LEAST_OPSET = 11


def split_embeddings(draft: Draft, *, piece_bytes: int) -> tuple[str, ...]:
    """Take large word tables out of the draft's embeddings; return notes on what was cut."""
    nodes: list[NodeProto] = []
    for node in draft.nodes:
        if (
            node.op_type == _OP_TYPE
            and domain_of(node) == MICROSOFT_DOMAIN
            and draft.opset >= _LEAST_OPSET
            and node.input[_WORDS] in draft.weights
            and draft.weights[node.input[_WORDS]].n_bytes > piece_bytes
        ):
            nodes.extend(_rows_first(draft, node))
        nodes.append(node)
    draft.nodes = nodes
    return split_gathers(draft, piece_bytes=piece_bytes)


def _rows_first(draft: Draft, node: NodeProto) -> list[NodeProto]:
    """Let `node` read gathered rows in order; return the nodes that gather and number them."""
    ids, words, prefix = node.input[_IDS], node.input[_WORDS], node.output[0]
    label = node.name or node.op_type
    names = {
        key: draft.fresh(f"{prefix}.{key}")
        for key in ("gathered", "rows", "count", "numbers", "small", "shape", "numbered")
    }
    width = draft.weights[words].shape[1]
    zero = draft.constant(f"{prefix}.zero", np.array(0, np.int64))
    one = draft.constant(f"{prefix}.one", np.array(1, np.int64))
    flat = draft.constant(f"{prefix}.flat", np.array([-1, width], np.int64))
    node.input[_IDS], node.input[_WORDS] = names["numbered"], names["rows"]
    return [
        draft.node("Gather", [words, ids], names["gathered"], name=f"{label} (words)"),
        draft.node("Reshape", [names["gathered"], flat], names["rows"]),
        draft.node("Size", [ids], names["count"]),
        draft.node("Range", [zero, names["count"], one], names["numbers"]),
        draft.node("Cast", [names["numbers"]], names["small"], to=int(DType.INT32)),
        draft.node("Shape", [ids], names["shape"]),
        draft.node("Reshape", [names["small"], names["shape"]], names["numbered"]),
    ]
