"""A range of operators of an original graph as a plain ONNX model of its own.

It holds the nodes as they are, names included, the initializers, `Constant` nodes and
local functions that they read, and the model's operator sets and metadata. What crosses
its edge is declared with the type that onnxruntime infers.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx
from onnx import helper

from inferonnx.errors import ModelError
from inferonnx.model.chain.original import OVERRIDABLE_IR, data_files
from inferonnx.model.draft import domain_of
from inferonnx.model.subgraphs import all_graphs, all_tensors, attribute_tensors, bodies
from inferonnx.model.weights import bring_in, is_external, is_plain, tensor_bytes, weight_of
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

    from inferonnx.model.chain.original import Edge, Original

# protobuf reads no message of 2 GiB; what is beside the tensors is far below the rest.
_PROTOBUF_ROOM_BYTES = 2**31 - 2**26

# Smaller tensors stay inside a model whose weights have a file of their own.
_EXTERNAL_FROM_BYTES = 1024

_DATA_ALIGNMENT = 4096


class Part(NamedTuple):
    """A finished model of some operators.

    Attributes:
        model: ONNX bytes.
        data: Pieces of the file of its weights; empty but for models of 2 GiB.
    """

    model: bytes
    data: tuple[bytes | memoryview, ...]


def build_part(
    original: Original, start: int, stop: int, *, edge: Edge, data_name: str = ""
) -> Part:
    """Return operators [start, stop) as a model.

    Args:
        original: Its types are known.
        start: First operator.
        stop: Operator behind the last one.
        edge: What the model takes and gives.
        data_name: What the file of its weights is called, if it needs one.

    Raises:
        ModelError: It needs one, and has no name for it.
        UnavailableError: External data can't be read.
    """
    nodes = original.operators[start:stop]
    fixed = dict.fromkeys(name for names in original.reads[start:stop] for name in names)
    fixed |= dict.fromkeys(name for name in edge.outputs if name in original.constant_outputs)
    constants = [original.constants[name] for name in fixed if name in original.constants]
    graph = helper.make_graph(
        [*constants, *nodes],
        original.proto.graph.name or "g",  # a checker wants a name
        [
            *(_declared(original, name) for name in edge.inputs),
            *(original.defaults[name] for name in fixed if name in original.defaults),
        ],
        [_declared(original, name) for name in edge.outputs],
        initializer=[original.initializers[n] for n in fixed if n in original.initializers],
        sparse_initializer=[original.sparse[n] for n in fixed if n in original.sparse],
    )
    model = _as_model(original, graph)
    return _finished(model, _maps(data_files(original.path, model)), data_name)


def _declared(original: Original, name: str) -> ValueInfoProto:
    """Declare a value at the edge, as inferred; a constant as the file declares it."""
    if name in original.types:
        return onnx.ValueInfoProto(name=name, type=original.types[name])
    return next(value for value in original.outputs if value.name == name)


def _as_model(original: Original, graph: onnx.GraphProto) -> ModelProto:
    """Wrap a graph with what the original says of itself, and the functions that it calls."""
    whole = original.proto
    return onnx.ModelProto(
        # Before version 4 every initializer would have to be an input as well.
        ir_version=max(whole.ir_version, OVERRIDABLE_IR),
        opset_import=whole.opset_import,
        producer_name=whole.producer_name,
        producer_version=whole.producer_version,
        domain=whole.domain,
        model_version=whole.model_version,
        metadata_props=whole.metadata_props,
        functions=_functions(whole, graph),
        graph=graph,
    )


def _functions(whole: ModelProto, graph: onnx.GraphProto) -> list[FunctionProto]:
    """Return the local functions that the graph calls, by way of others too."""
    known = {(f.domain, f.name): f for f in whole.functions}
    called: dict[tuple[str, str], FunctionProto] = {}
    waiting: list[Iterable[NodeProto]] = [n.node for n in all_graphs(graph)] if known else []
    while waiting:
        for node in waiting.pop():
            key = (domain_of(node), node.op_type)
            if key in known and key not in called:
                called[key] = known[key]
                waiting.append(known[key].node)
            waiting += [inner.node for body in bodies(node) for inner in all_graphs(body)]
    return [function for key, function in known.items() if key in called]


def _finished(model: ModelProto, files: Mapping[str, Any], data_name: str) -> Part:
    """Return the model with its tensors inside, or beside it where that is too much."""
    tensors = list(_tensors(model))
    total = sum(tensor_bytes(t) for t in tensors if is_plain(t))
    if total < _PROTOBUF_ROOM_BYTES:
        for tensor in tensors:
            if is_external(tensor):
                bring_in(tensor, files)
        return Part(model.SerializeToString(deterministic=True), ())
    if not data_name:
        raise ModelError(f"a part of the model holds {total} bytes, more than a protobuf can")
    pieces = tuple(_moved_out(model.graph.initializer, files, data_name))
    for tensor in _tensors(model):
        if is_external(tensor) and tensor.external_data[0].value != data_name:
            bring_in(tensor, files)
    return Part(model.SerializeToString(deterministic=True), pieces)


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    yield from all_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from attribute_tensors(node)


def _moved_out(
    tensors: Iterable[TensorProto], files: Mapping[str, Any], location: str
) -> Iterator[bytes | memoryview]:
    """Point large tensors to a new file; yield its content."""
    place = 0
    for tensor in tensors:
        if not is_plain(tensor) or tensor_bytes(tensor) < _EXTERNAL_FROM_BYTES:
            continue
        data = weight_of(tensor, files).data()
        for field in ("external_data", "raw_data", "float_data", "int32_data", "int64_data"):
            tensor.ClearField(field)
        for field in ("double_data", "uint64_data"):
            tensor.ClearField(field)
        yield bytes(-place % _DATA_ALIGNMENT)
        place += -place % _DATA_ALIGNMENT
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", place), ("length", data.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        yield data
        place += data.nbytes


def _maps(places: Mapping[str, str]) -> dict[str, Any]:
    """Map files of external data into memory, by location."""
    maps: dict[str, Any] = {}
    for location, path in places.items():
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                maps[location] = (
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
                )
        except OSError as error:
            raise translate(error, path, "reading") from error
    return maps
