"""A model taken apart: what sealing and planning ask of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from inferonnx.errors import ModelError, UsageError
from inferonnx.graph import Graph, Node, partition_io
from inferonnx.model.draft import domain_of
from inferonnx.model.skeleton import Skeleton, build_skeleton
from inferonnx.model.subgraphs import reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from inferonnx.model.draft import Draft
    from inferonnx.model.types import Dims
    from inferonnx.model.walk import Measured


class Signature(NamedTuple):
    """An input or output of the model.

    Attributes:
        name: Its name.
        type: As onnxruntime spells it: "tensor(float)".
        shape: Dims, each a number, a name or None; None if no tensor or of unknown rank.
    """

    name: str
    type: str
    shape: Dims | None


class Probe(NamedTuple):
    """A small model with known answer, one node for each kind of CPU-specific operator.

    Attributes:
        model: ONNX bytes, weights inside.
        inputs: Input arrays by name.
        outputs: Expected arrays by name.
    """

    model: bytes
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class WeightData(NamedTuple):
    """A weight's content.

    Attributes:
        dtype: Number of the element type, as in `tensors.DType`.
        shape: Shape.
        data: Bytes, C order, little-endian.
    """

    dtype: int
    shape: tuple[int, ...]
    data: memoryview


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A model taken apart; close it, or use it as a context manager, to let its weights go.

    Attributes:
        graph: Nodes, weights and what was measured on the sample.
        inputs: The model's inputs, in order.
        outputs: The model's outputs, in order.
        rows_independent: Whether the first axis is a batch whose rows were seen to be computed
            as each is alone; False where that was not tried.
        repeatable: Whether the same input gives the same answer; False where random numbers
            are drawn without a seed.
        metadata: The model's own metadata.
        notes: What was treated specially, one sentence each.
        uncuttable: Cuts that must not be made.
        sample: The input that was measured with.
        layout: "generic", "nchwc8" or "nchwc16".
        probe: Checks that layout on a machine; None for a generic layout.
        expected: Plain onnxruntime's outputs on the sample, by name.
        shapes: Shapes seen on the sample of all values that are tensors.
    """

    graph: Graph
    inputs: tuple[Signature, ...]
    outputs: tuple[Signature, ...]
    rows_independent: bool
    repeatable: bool
    metadata: dict[str, str]
    notes: tuple[str, ...]
    uncuttable: frozenset[int]
    sample: dict[str, Any]
    layout: str
    probe: Probe | None
    expected: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    _draft: Draft | None
    _measured: Measured

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the optimised model's memory go."""
        self._draft = None

    def weight(self, name: str) -> WeightData:
        """Return the content of weight `name` of the graph."""
        if name not in self.graph.weight_bytes:
            raise UsageError(f"there is no weight {name!r}")
        weight = self._open_draft().weights[name]
        return WeightData(dtype=int(weight.dtype), shape=weight.shape, data=weight.data())

    def skeleton(self, start: int, stop: int) -> Skeleton:
        """Return the partition [start, stop) of the graph's nodes as a finished model.

        Raises:
            PlanError: The range is empty or leaves the graph.
        """
        draft = self._open_draft()
        names = partition_io(self.graph, start, stop)
        return build_skeleton(
            draft,
            draft.nodes[start:stop],
            inputs=names.inputs,
            outputs=names.outputs,
            weights=names.weights,
            shapes=self._measured.shapes,
            pinned=self._measured.pinned,
        )

    def pin_constant(self, names: Iterable[str]) -> None:
        """Keep these weights as constants inside skeletons; they leave `graph`'s weights.

        Raises:
            UsageError: A name is no weight.
        """
        for name in names:
            if name not in self.graph.weight_bytes:
                raise UsageError(f"there is no weight {name!r}")
            self._measured.pinned.add(name)
        pinned = self._measured.pinned
        self.graph = replace(
            self.graph,
            nodes=tuple(
                replace(node, weights=tuple(w for w in node.weights if w not in pinned))
                for node in self.graph.nodes
            ),
            weight_bytes={n: b for n, b in self.graph.weight_bytes.items() if n not in pinned},
        )

    def _open_draft(self) -> Draft:
        if self._draft is None:
            raise UsageError("the prepared model was closed")
        return self._draft


def build_graph(draft: Draft, measured: Measured) -> Graph:
    """Return the planner's view of a measured draft."""
    fixed = draft.constants.keys() | draft.sparse.keys() | measured.pinned
    nodes = tuple(_node(draft, index, fixed) for index in range(len(draft.nodes)))
    streamed = {name for node in nodes for name in node.weights}
    return Graph(
        nodes=nodes,
        inputs=tuple(value.name for value in draft.inputs),
        outputs=tuple(draft.outputs),
        weight_bytes={n: w.n_bytes for n, w in draft.weights.items() if n in streamed},
        value_bytes=_value_bytes(draft, measured.value_bytes),
        times_s=tuple(measured.times_s),
        workspace_bytes=(0,) * len(nodes),
    )


def _node(draft: Draft, index: int, fixed: set[str]) -> Node:
    proto = draft.nodes[index]
    names = [name for name in reads(proto) if name not in fixed]
    return Node(
        name=proto.name,
        op_type=proto.op_type,
        domain=domain_of(proto),
        inputs=tuple(name for name in names if name not in draft.weights),
        outputs=tuple(name for name in proto.output if name),
        weights=tuple(name for name in names if name in draft.weights),
    )


def _value_bytes(draft: Draft, counted: Mapping[str, int]) -> dict[str, int]:
    names = [value.name for value in draft.inputs]
    names += [name for node in draft.nodes for name in node.output if name]
    missing = [name for name in names if name not in counted]
    if missing:
        raise ModelError(f"value {missing[0]!r} was never computed", where=missing[0])
    return {name: counted[name] for name in names}
