"""A model whose weights are still numbers to come: graph, names, shapes and exact size.

The published files were written by exporters with small habits of their own
(weights listed as inputs too, an empty name written or left out). The habits are
kept, since they decide the size of a file to the byte. A model is serialised by
hand around protobuf's own messages: two halves of a GraphProto, joined, are one
GraphProto, and between them the initializers can stream past without more than
one being in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    OperatorSetIdProto,
    StringStringEntryProto,
    TensorProto,
    ValueInfoProto,
    helper,
)

from inferonnx.zoo.weights import Fill, Shape, Weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The entry of metadata_props that says whose numbers a file holds.
METADATA_KEY = "inferonnx.weights"

Dims = Sequence[int | str]

# Tags of length-delimited protobuf fields: field number << 3 | 2.
_MODEL_GRAPH = bytes([7 << 3 | 2])
_GRAPH_INITIALIZER = bytes([5 << 3 | 2])
_TENSOR_RAW_DATA = bytes([9 << 3 | 2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """What the tool that wrote a published file left in it besides the graph.

    Attributes:
        producer: `producer_name` of the model; None leaves the field out.
        version: `producer_version`; None leaves the field out.
        ir_version: IR version of the file.
        opset: Version of the default operator set.
        graph_name: Name of the graph.
        empty_domain: Whether the default domain is written as an empty string.
        empty_node_names: Whether a nameless node has an empty name written.
        weights_are_inputs: Whether initializers are graph inputs too (IR 3 wants it).
    """

    ir_version: int
    opset: int
    graph_name: str
    producer: str | None = None
    version: str | None = None
    empty_domain: bool = True
    empty_node_names: bool = False
    weights_are_inputs: bool = False


class GraphBuilder:
    """Collects nodes and weights in the order of the file."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._nodes: list[NodeProto] = []
        self._weights: list[Weight | TensorProto] = []
        self._inputs: list[ValueInfoProto] = []
        self._weight_infos: list[ValueInfoProto] = []
        self._outputs: list[ValueInfoProto] = []

    def input(self, name: str, dims: Dims, dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph input and return its name."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, name: str, dims: Dims | None, dtype: int = TensorProto.FLOAT) -> str:
        """Declare a graph output and return its name."""
        self._outputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def weight(self, name: str, shape: Shape, fill: Fill, *, trainable: bool = True) -> str:
        """Declare a float32 initializer and return its name."""
        self._weights.append(Weight(name=name, shape=shape, fill=fill, trainable=trainable))
        self._weight_infos.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def integers(self, name: str, values: Sequence[int] | int) -> str:
        """Declare an int64 initializer (rank 0 for a bare number) and return its name."""
        dims = [] if isinstance(values, int) else [len(values)]
        numbers = [values] if isinstance(values, int) else values
        self._weights.append(helper.make_tensor(name, TensorProto.INT64, dims, numbers))
        self._weight_infos.append(helper.make_tensor_value_info(name, TensorProto.INT64, dims))
        return name

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        output: str | Sequence[str],
        *,
        name: str | None = "",
        **attributes: Any,
    ) -> str:
        """Append a node and return the name of its first output.

        Args:
            op_type: Operator of the default domain.
            inputs: Values read; "" where an optional one is left out.
            output: Value or values written.
            name: Name of the node; None: nothing is written, not even an empty name.
            attributes: Attributes of the operator.
        """
        outputs = [output] if isinstance(output, str) else list(output)
        node = helper.make_node(op_type, list(inputs), outputs, **attributes)
        if name or (name is not None and self._exporter.empty_node_names):
            node.name = name
        self._nodes.append(node)
        return outputs[0]

    def finish(self) -> Blueprint:
        """Return the blueprint of what was collected."""
        inputs = list(self._inputs)
        if self._exporter.weights_are_inputs:
            inputs += self._weight_infos
        return Blueprint(
            exporter=self._exporter,
            nodes=tuple(self._nodes),
            initializers=tuple(self._weights),
            inputs=tuple(inputs),
            outputs=tuple(self._outputs),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A complete model but for the values of its weights."""

    exporter: Exporter
    nodes: tuple[NodeProto, ...]
    initializers: tuple[Weight | TensorProto, ...]
    inputs: tuple[ValueInfoProto, ...]
    outputs: tuple[ValueInfoProto, ...]

    @property
    def weights(self) -> tuple[Weight, ...]:
        """The float32 initializers, in the order of the file."""
        return tuple(w for w in self.initializers if isinstance(w, Weight))

    @property
    def n_floats(self) -> int:
        """Number of float32 values stored."""
        return sum(w.n_floats for w in self.weights)

    @property
    def n_trainable(self) -> int:
        """Number of float32 values that training would change."""
        return sum(w.n_floats for w in self.weights if w.trainable)

    def histogram(self) -> dict[str, int]:
        """Return how many nodes there are of each operator."""
        return dict(Counter(node.op_type for node in self.nodes))

    def size_bytes(self, metadata: Mapping[str, str] | None = None) -> int:
        """Return the size of the serialised model, without drawing a single number."""
        tail_bytes = len(self.tail(metadata or {}))
        return len(self._model_head()) + self._graph_bytes() + tail_bytes

    def head(self) -> bytes:
        """Return the first bytes of the serialised model: everything before the weights."""
        return self._model_head() + self._graph_head()

    def tail(self, metadata: Mapping[str, str]) -> bytes:
        """Return the last bytes of the serialised model: operator sets and metadata."""
        opset = OperatorSetIdProto(version=self.exporter.opset)
        if self.exporter.empty_domain:
            opset.domain = ""
        entries = [StringStringEntryProto(key=k, value=v) for k, v in metadata.items()]
        return _bytes(ModelProto(opset_import=[opset], metadata_props=entries))

    def serialise(
        self,
        seed: int,
        metadata: Mapping[str, str],
        values: Callable[[Weight], NDArray[np.float32]] | None = None,
    ) -> Iterator[bytes | memoryview]:
        """Yield the serialised model piece by piece, at most one weight in memory at a time.

        Args:
            seed: Seed of the weights.
            metadata: Entries of metadata_props.
            values: Gives a weight's values instead of the seed (trained ones, in tests).
        """
        yield self.head()
        for item in self.initializers:
            yield _initializer_head(item)
            if isinstance(item, Weight):
                array = item.values(seed) if values is None else values(item)
                yield array.reshape(-1).view(np.uint8).data
        yield self._graph_tail()
        yield self.tail(metadata)

    def _model_head(self) -> bytes:
        """Return everything of the ModelProto before the graph's own bytes, its length included."""
        model = ModelProto(ir_version=self.exporter.ir_version)
        if self.exporter.producer is not None:
            model.producer_name = self.exporter.producer
        if self.exporter.version is not None:
            model.producer_version = self.exporter.version
        return _bytes(model) + _framed(_MODEL_GRAPH, self._graph_bytes())

    def _graph_head(self) -> bytes:
        """Return everything of the GraphProto before the initializers."""
        return _bytes(GraphProto(node=self.nodes, name=self.exporter.graph_name))

    def _graph_tail(self) -> bytes:
        """Return everything of the GraphProto behind the initializers."""
        return _bytes(GraphProto(input=self.inputs, output=self.outputs))

    def _graph_bytes(self) -> int:
        """Return the size of the serialised GraphProto."""
        n_bytes = len(self._graph_head()) + len(self._graph_tail())
        n_bytes += sum(len(_initializer_head(item)) for item in self.initializers)
        return n_bytes + sum(weight.n_bytes for weight in self.weights)


def _initializer_head(item: Weight | TensorProto) -> bytes:
    """Return an initializer's bytes up to its raw data, or all of it when it has its values.

    `raw_data` has the highest field number of those used, so it comes last.
    """
    if isinstance(item, TensorProto):
        body = _bytes(item)
        return _framed(_GRAPH_INITIALIZER, len(body)) + body
    body = _bytes(TensorProto(dims=item.shape, data_type=TensorProto.FLOAT, name=item.name))
    raw = _framed(_TENSOR_RAW_DATA, item.n_bytes)
    return _framed(_GRAPH_INITIALIZER, len(body) + len(raw) + item.n_bytes) + body + raw


def _bytes(message: Any) -> bytes:
    """Return a protobuf message serialised."""
    data: bytes = message.SerializeToString()
    return data


def _framed(tag: bytes, n_bytes: int) -> bytes:
    """Return a protobuf tag followed by a length as a base-128 varint."""
    out = bytearray(tag)
    while n_bytes > 0x7F:
        out.append(n_bytes & 0x7F | 0x80)
        n_bytes >>= 7
    out.append(n_bytes)
    return bytes(out)
