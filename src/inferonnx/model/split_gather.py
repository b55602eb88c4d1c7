"""Gather from a table too large for one piece: read row by row range, exactly.

A table of V rows is cut into ranges of n rows. With i the index, negative ones
brought to 0..V-1, each range gathers row i mod n, so every index is valid in
every range, and the range that i lies in wins:

    out = Gather(range 0, i mod n)
    out = Where(i < first row of range k, out, Gather(range k, i mod n))    k = 1, 2, ...

Every range is read whatever the indices are: nothing about them shows outside. An
index that the whole table would refuse reaches range 0 unchanged and is refused
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.model.draft import ONNX_DOMAIN, domain_of
from inferonnx.model.rewrite_matmul import attributes_of, spans
from inferonnx.model.types import dims_of
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from onnx import NodeProto

    from inferonnx.model.draft import Draft
    from inferonnx.model.weights import Weight

# Mod came with opset 10, comparisons of integers and Where with 9.
_LEAST_OPSET = 10
# From opset 13 on, Unsqueeze takes its axes as an input.
_AXES_INPUT_OPSET = 13

# Element types that onnxruntime's Where selects, and wider ones for those it does not:
# going there and back changes no value.
_SELECTABLE = {
    DType.FLOAT,
    DType.DOUBLE,
    DType.INT32,
    DType.INT64,
    DType.UINT8,
}
_SELECTED_AS = {
    DType.FLOAT16: DType.FLOAT,
    DType.BFLOAT16: DType.FLOAT,
    DType.INT8: DType.INT32,
    DType.INT16: DType.INT32,
    DType.UINT16: DType.INT32,
    DType.UINT32: DType.INT64,
}


def split_gathers(draft: Draft, *, piece_bytes: int) -> tuple[str, ...]:
    """Cut the tables of the draft's Gather nodes in place; return notes on what was cut."""
    notes: list[str] = []
    nodes: list[NodeProto] = []
    for node in draft.nodes:
        table = draft.weights.get(node.input[0]) if node.op_type == "Gather" else None
        rank = _index_rank(draft, node) if table is not None else None
        if (
            table is None
            or rank is None
            or domain_of(node) != ONNX_DOMAIN
            or draft.opset < _LEAST_OPSET
            or attributes_of(node).get("axis", 0) != 0
            or table.n_bytes <= piece_bytes
            or not (table.dtype in _SELECTABLE or table.dtype in _SELECTED_AS)
            or table.shape[0] < 2
        ):
            nodes.append(node)
            continue
        split = _GatherSplit(draft, node, table, rank)
        nodes.extend(split.nodes(piece_bytes))
        notes.append(
            f"the table of Gather {node.name or node.output[0]!r}, {table.n_bytes} bytes, "
            f"is streamed in {split.n_pieces} pieces"
        )
    draft.nodes = nodes
    draft.drop_unread()
    return tuple(notes)


def _index_rank(draft: Draft, node: NodeProto) -> int | None:
    name = node.input[1]
    if name in draft.constants:
        return len(draft.constants[name].dims)
    if name in draft.weights or name not in draft.types:
        return None
    dims = dims_of(draft.types[name])
    return None if dims is None else len(dims)


class _GatherSplit:
    """The nodes that stand for one Gather."""

    def __init__(self, draft: Draft, node: NodeProto, table: Weight, rank: int) -> None:
        self._draft = draft
        self._node = node
        self._table = table
        self._rank = rank
        self._label = node.name or node.op_type
        self._made: list[NodeProto] = []
        self.n_pieces = 0

    def nodes(self, piece_bytes: int) -> list[NodeProto]:
        """Return the nodes, which compute the same output."""
        n_rows = self._table.shape[0]
        cuts = spans(n_rows, self._table.n_bytes // n_rows, piece_bytes)
        self.n_pieces = len(cuts)
        step = cuts[0][1]
        row, index, first = self._indices(n_rows, step)
        result = ""
        for number, (start, stop) in enumerate(cuts):
            whole = stop - start == step
            local = row if whole else self._last_rows(index, start, stop - start)
            piece = self._draft.weight(f"{self._node.input[0]}.{start}", self._piece(start, stop))
            rows = self._add("Gather", [piece, local if number else first], f"rows.{start}")
            rows = self._widened(rows, start)
            result = self._selected(index, start, result, rows) if number else rows
        self._finish(result)
        return self._made

    def _piece(self, start: int, stop: int) -> Weight:
        return self._table.part(start, stop)

    def _indices(self, n_rows: int, step: int) -> tuple[str, str, str]:
        """Return i mod n, i, and the index into the first range, which keeps invalid ones."""
        given = self._node.input[1]
        zero, count, modulus = (self._number(n) for n in (0, n_rows, step))
        negative = self._add("Less", [given, zero], "negative")
        raised = self._add("Add", [given, count], "raised")
        index = self._add("Where", [negative, raised, given], "index")
        row = self._add("Mod", [index, modulus], "row")
        below = self._add("Less", [index, zero], "below")
        inside = self._add("Less", [index, count], "inside")
        above = self._add("Not", [inside], "above")
        invalid = self._add("Or", [below, above], "invalid")
        first = self._add("Where", [invalid, given, row], "first")
        return row, index, first

    def _last_rows(self, index: str, start: int, n_rows: int) -> str:
        """Return valid rows of the last range, which is shorter than the others."""
        moved = self._add("Sub", [index, self._number(start)], f"moved.{start}")
        return self._add("Mod", [moved, self._number(n_rows)], f"row.{start}")

    def _selected(self, index: str, start: int, earlier: str, rows: str) -> str:
        mask = self._add("Less", [index, self._number(start)], f"before.{start}")
        axes = [self._rank + axis for axis in range(len(self._table.shape) - 1)]
        if axes and self._draft.opset >= _AXES_INPUT_OPSET:
            constant = self._draft.constant(f"{self._prefix}.axes", np.array(axes, np.int64))
            mask = self._add("Unsqueeze", [mask, constant], f"mask.{start}")
        elif axes:
            mask = self._add("Unsqueeze", [mask], f"mask.{start}", axes=axes)
        return self._add("Where", [mask, earlier, rows], f"selected.{start}")

    def _widened(self, rows: str, start: int) -> str:
        wide = _SELECTED_AS.get(self._table.dtype)
        return rows if wide is None else self._add("Cast", [rows], f"wide.{start}", to=int(wide))

    def _finish(self, result: str) -> None:
        output = self._node.output[0]
        if self._table.dtype in _SELECTED_AS:
            self._made.append(self._draft.node("Cast", [result], output, to=int(self._table.dtype)))
        else:
            self._made[-1].output[0] = output

    @property
    def _prefix(self) -> str:
        return str(self._node.output[0])

    def _number(self, value: int) -> str:
        kind = self._draft.constants.get(self._node.input[1])
        elem_type = (
            kind.data_type
            if kind is not None
            else self._draft.types[self._node.input[1]].tensor_type.elem_type
        )
        numpy_type = np.int32 if elem_type == DType.INT32 else np.int64
        return self._draft.constant(f"{self._prefix}.{value}", np.array(value, numpy_type))

    def _add(self, op_type: str, inputs: list[str], suffix: str, **attributes: Any) -> str:
        output = self._draft.fresh(f"{self._prefix}.{suffix}")
        self._made.append(
            self._draft.node(
                op_type, inputs, output, name=f"{self._label} ({suffix})", **attributes
            )
        )
        return output
