"""MatMul and Gemm with a constant right operand, rewritten so that it may be an input.

A constant operand is packed once by onnxruntime; an input is packed at every run,
unless it comes transposed. So the weight of X @ W is stored as Wt (N x K), and

    X @ W  =  X @ Wt^T            where X has few rows,
    X @ W  =  (Wt @ X^T)^T        where it has `_MANY_ROWS` or more,

both of which read Wt row by row. The rows are those seen on the sample: another
number of rows is as exact, only slower. FusedMatMul takes any rank, so no shape
arithmetic is needed; Gemm keeps its bias, factors and activation.

Wt has a second use. Its rows are the columns of the result, so a weight larger
than a piece is cut there: every piece computes its columns and Concat joins them.

What is not rewritten, and computes the same as it is: operands of other types
than float (onnxruntime packs only those), a Gemm that already is in the first
form, anything whose shape is unknown where it would have to be known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx
from onnx import numpy_helper

from inferonnx.model.draft import MICROSOFT_DOMAIN, ONNX_DOMAIN, domain_of
from inferonnx.model.types import dims_of
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import NodeProto

    from inferonnx.model.draft import Draft
    from inferonnx.model.weights import Weight

# From this many rows of X on, the transposed form is at least as fast (measured with
# AVX2: 2-5 times at 4 to 16 rows; with AVX-512 the two forms meet at about 8).
_MANY_ROWS = 8

# Pieces are cut at multiples of this many rows: onnxruntime's kernels compute 16
# columns at a time, and whole blocks give the same bits cut or uncut.
_ROW_BLOCK = 16

_MATMUL = {(ONNX_DOMAIN, "MatMul"), (MICROSOFT_DOMAIN, "FusedMatMul")}
_GEMM = {(ONNX_DOMAIN, "Gemm"), (MICROSOFT_DOMAIN, "FusedGemm")}


def rewrite_matmuls(
    draft: Draft, shapes: Mapping[str, tuple[int, ...]], *, piece_bytes: int
) -> tuple[str, ...]:
    """Rewrite the draft's MatMul and Gemm nodes in place; return notes on what was split.

    Args:
        draft: Its types are known.
        shapes: Shapes of activations as seen on the sample.
        piece_bytes: Weights larger than this are cut.
    """
    rewriter = _Rewriter(draft, shapes, piece_bytes)
    nodes: list[NodeProto] = []
    for node in draft.nodes:
        kind = (domain_of(node), node.op_type)
        weight = draft.weights.get(node.input[1]) if len(node.input) > 1 else None
        if weight is None or len(weight.shape) != 2 or node.input[0] in draft.weights:
            nodes.append(node)
        elif kind in _MATMUL:
            nodes.extend(rewriter.matmul(node, weight))
        elif kind in _GEMM:
            nodes.extend(rewriter.gemm(node, weight))
        else:
            nodes.append(node)
    draft.nodes = nodes
    draft.drop_unread()
    return tuple(rewriter.notes)


def spans(n_rows: int, row_bytes: int, piece_bytes: int, block: int = 1) -> list[tuple[int, int]]:
    """Return equal ranges of rows, of about `piece_bytes` at most each, on block borders.

    The last range may be shorter; a block larger than `piece_bytes` is a range of its own.
    """
    most = max(block, piece_bytes // max(row_bytes, 1) // block * block)
    n_pieces = -(-n_rows // most)
    step = -(-n_rows // n_pieces)
    step = -(-step // block) * block  # at most `most`, a multiple of the block itself
    return [(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Return the node's attributes as Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class _Rewriter:
    def __init__(
        self, draft: Draft, shapes: Mapping[str, tuple[int, ...]], piece_bytes: int
    ) -> None:
        self._draft = draft
        self._shapes = shapes
        self._piece_bytes = piece_bytes
        self.notes: list[str] = []

    def matmul(self, node: NodeProto, weight: Weight) -> list[NodeProto]:
        """Return the nodes that compute the MatMul or FusedMatMul `node`."""
        attributes = attributes_of(node)
        if attributes.get("transBatchB"):
            return [node]
        if weight.dtype is not DType.FLOAT:
            return self._plain_columns(node, weight, attributes)
        base = node.input[1]
        stored = weight
        if not attributes.get("transB"):
            stored, base = weight.transpose(), f"{base}.T"
        x, y = node.input[0], node.output[0]
        kept = {k: v for k, v in attributes.items() if k in ("alpha", "transA", "transBatchA")}
        rank = self._rank(x)
        flip = not (kept.get("transA") or kept.get("transBatchA")) and self._many_rows(x, rank)
        names, _ = self._pieces(node, base, stored)

        def product(piece: str, output: str, name: str) -> NodeProto:
            operands = (piece, x) if flip else (x, piece)
            return self._draft.node(
                "FusedMatMul",
                operands,
                output,
                name=name,
                domain=MICROSOFT_DOMAIN,
                transB=1,
                **kept,
            )

        axis = -1 if rank is None else max(rank - (2 if flip else 1), 0)
        joined = self._draft.fresh(f"{y}.T") if flip else y
        made = self._joined(node, names, joined, axis, product)
        if flip and rank is not None:
            perm = [*range(rank - 2), rank - 1, rank - 2]
            made.append(self._draft.node("Transpose", [joined], y, name=node.name, perm=perm))
        return made

    def gemm(self, node: NodeProto, weight: Weight) -> list[NodeProto]:
        """Return the nodes that compute the Gemm or FusedGemm `node`."""
        attributes = attributes_of(node)
        trans_a, trans_b = bool(attributes.get("transA")), bool(attributes.get("transB"))
        is_float = weight.dtype is DType.FLOAT
        if not is_float and weight.n_bytes <= self._piece_bytes:
            return [node]
        base = node.input[1] if trans_b else f"{node.input[1]}.T"
        stored = weight if trans_b else weight.transpose()
        x, y = node.input[0], node.output[0]
        n_columns = stored.shape[0]
        bias = node.input[2] if len(node.input) > 2 else ""
        shape = self._bias_shape(bias)
        rowwise = not bias or shape in {(), (1,), (1, 1), (n_columns,), (1, n_columns)}
        flip = is_float and rowwise and self._rows(x, trans_a) >= _MANY_ROWS
        small = weight.n_bytes <= self._piece_bytes
        if (bias and shape is None) or (trans_b and small and not flip):
            # A computed bias can't be cut beforehand; the other is the first form already.
            names, cuts = [self._draft.weight(base, stored)], [(0, n_columns)]
            flip = False
        else:
            names, cuts = self._pieces(node, base, stored)
        biases = {
            name: self._bias(bias, cut, n_columns, flip)
            for name, cut in zip(names, cuts, strict=True)
        }
        kept = {k: v for k, v in attributes.items() if k not in ("transA", "transB")}

        def product(piece: str, output: str, name: str) -> NodeProto:
            operands = [piece, x] if flip else [x, piece]
            return self._draft.node(
                node.op_type,
                [*operands, biases[piece]] if bias else operands,
                output,
                name=name,
                domain=domain_of(node),
                transA=0 if flip else int(trans_a),
                transB=int(not trans_a) if flip else 1,
                **kept,
            )

        joined = self._draft.fresh(f"{y}.T") if flip else y
        made = self._joined(node, names, joined, 0 if flip else 1, product)
        if flip:
            made.append(self._draft.node("Transpose", [joined], y, name=node.name, perm=[1, 0]))
        return made

    def _bias(self, name: str, cut: tuple[int, int], n_columns: int, flip: bool) -> str:
        """Return the part of a constant bias for columns `cut`, as a column if `flip`."""
        shape = self._bias_shape(name)
        if shape is None or not shape or shape[-1] != n_columns or n_columns == 1:
            return name  # none, or one number for every column
        start, stop = cut
        whole = cut == (0, n_columns)
        if whole and not flip:
            return name
        wanted = name if whole else f"{name}.{start}"
        if name in self._draft.weights:
            weight = self._draft.weights[name]
            part = weight if whole else weight.part(start, stop, axis=len(shape) - 1)
            if flip:
                part = replace(part, shape=(stop - start, 1))
            return self._draft.weight(wanted, part)
        array = numpy_helper.to_array(self._draft.constants[name])[..., start:stop]
        return self._draft.constant(wanted, array.reshape(-1, 1) if flip else array)

    def _plain_columns(
        self, node: NodeProto, weight: Weight, attributes: dict[str, Any]
    ) -> list[NodeProto]:
        """Cut the columns of an operand that onnxruntime does not pack; its form stays."""
        if weight.n_bytes <= self._piece_bytes or node.op_type != "MatMul" or attributes:
            return [node]
        x, y = node.input[0], node.output[0]
        names, _ = self._pieces(node, node.input[1], weight, axis=1)

        def product(piece: str, output: str, name: str) -> NodeProto:
            return self._draft.node("MatMul", [x, piece], output, name=name)

        rank = self._rank(x)
        return self._joined(node, names, y, -1 if rank is None else max(rank - 1, 0), product)

    def _pieces(
        self, node: NodeProto, base: str, stored: Weight, *, axis: int = 0
    ) -> tuple[list[str], list[tuple[int, int]]]:
        """Add the weight, cut along `axis` if it is large; return its pieces' names and ranges."""
        length = stored.shape[axis]
        if stored.n_bytes <= self._piece_bytes or length < 2 * _ROW_BLOCK:
            return [self._draft.weight(base, stored)], [(0, length)]
        cuts = spans(length, stored.n_bytes // length, self._piece_bytes, _ROW_BLOCK)
        self.notes.append(
            f"the weight of {node.op_type} {node.name or node.output[0]!r}, "
            f"{stored.n_bytes} bytes, is streamed in {len(cuts)} pieces"
        )
        names = [
            self._draft.weight(f"{base}.{start}", stored.part(start, stop, axis=axis))
            for start, stop in cuts
        ]
        return names, cuts

    def _joined(
        self, node: NodeProto, names: list[str], output: str, axis: int, product: Any
    ) -> list[NodeProto]:
        """Return one product for each piece, and their Concat to `output`."""
        if len(names) == 1:
            return [product(names[0], output, node.name)]
        label = node.name or node.op_type
        parts = [self._draft.fresh(f"{output}.{index}") for index in range(len(names))]
        made = [
            product(piece, part, f"{label} (piece {index + 1} of {len(names)})")
            for index, (piece, part) in enumerate(zip(names, parts, strict=True))
        ]
        made.append(self._draft.node("Concat", parts, output, name=f"{label} (joined)", axis=axis))
        return made

    def _rank(self, name: str) -> int | None:
        """Return the rank that inference and sample agree on."""
        declared = dims_of(self._draft.types[name]) if name in self._draft.types else None
        seen = self._shapes.get(name)
        if declared is None or seen is None or len(declared) != len(seen):
            return None
        return len(seen)

    def _many_rows(self, name: str, rank: int | None) -> bool:
        return rank is not None and rank >= 2 and self._shapes[name][-2] >= _MANY_ROWS

    def _rows(self, name: str, transposed: bool) -> int:
        seen = self._shapes.get(name, ())
        return seen[1 if transposed else 0] if len(seen) == 2 else 0

    def _bias_shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a constant bias, None for an activation."""
        if name in self._draft.weights:
            return self._draft.weights[name].shape
        if name in self._draft.constants:
            return tuple(self._draft.constants[name].dims)
        return None
