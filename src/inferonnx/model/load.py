"""A model file, looked at before onnxruntime sees it.

onnxruntime judges whether a model is valid. What it says badly, late or not at
all is checked here first, in this order:

1. there is a file, and it can be read;
2. it is one whole ONNX protobuf;
3. every external file is there, is long enough, and lies inside the model's folder;
4. every value that a node reads comes from somewhere;
5. no node waits for itself.

The weights of external files are not read.
"""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import onnx

from inferonnx.errors import ModelError, UnavailableError
from inferonnx.model.subgraphs import all_tensors, attribute_tensors, reads
from inferonnx.model.weights import external_fields, is_external
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, TensorProto, ValueInfoProto

# protobuf reads no message of 2 GiB or more.
_PROTOBUF_LIMIT_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model that passed the checks.

    Attributes:
        path: Where it is.
        n_bytes: Size of the file and of its external files together.
        ir_version: Version of the file format.
        inputs: Names of the graph's inputs, those with an initializer included.
        outputs: The graph's outputs as declared.
        initialized: Names of the graph's initializers.
    """

    path: str
    n_bytes: int
    ir_version: int
    inputs: tuple[str, ...]
    outputs: tuple[ValueInfoProto, ...]
    initialized: frozenset[str]


def load_model(path: str) -> ModelFile:
    """Return the model at `path`, checked as this module's head says.

    Raises:
        ModelError: A check failed.
        UnavailableError: The file can't be read.
    """
    proto, n_bytes = _read(path)
    n_bytes += _check_external(path, proto)
    _check_graph(path, proto)
    graph = proto.graph
    return ModelFile(
        path=path,
        n_bytes=n_bytes,
        ir_version=proto.ir_version,
        inputs=tuple(value.name for value in graph.input),
        # Copies: a part of a message keeps all of it, with its weights, alive.
        outputs=tuple(_copy(value) for value in graph.output),
        initialized=frozenset(
            [tensor.name for tensor in graph.initializer]
            + [sparse.values.name for sparse in graph.sparse_initializer]
        ),
    )


def _copy(value: ValueInfoProto) -> ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    return copy


def _read(path: str) -> tuple[ModelProto, int]:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(
                f"{path!r} is not a file", where=path, hint="Give the path of an .onnx file."
            )
        if status.st_size == 0:
            raise ModelError(
                f"{path!r} is empty", where=path, hint="Was it downloaded or exported to its end?"
            )
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as content,
        ):
            return _parse(path, content), len(content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(
            f"there is no file {path!r}", where=path, hint="Is the path right?"
        ) from error
    except OSError as error:
        raise UnavailableError(f"{path!r} can't be read: {error.strerror}", where=path) from error


def _parse(path: str, content: memoryview) -> ModelProto:
    if len(content) > _PROTOBUF_LIMIT_BYTES:
        raise ModelError(
            f"{path!r} is larger than an ONNX file can be (2 GiB)",
            where=path,
            hint="Larger models keep their weights in external data: save it with onnx.save(..., "
            "save_as_external_data=True).",
        )
    hint = "Is it the right file, and was it downloaded whole?"
    if bytes(content[:23]) == b"version https://git-lfs":
        raise ModelError(
            f"{path!r} is a Git LFS pointer, not a model", where=path, hint="Run git lfs pull."
        )
    try:
        proto = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's classes differ between its implementations
        # A model starts with its IR version: field 1, a small number.
        looks_like_onnx = len(content) > 1 and content[0] == 0x08 and content[1] < 0x40
        problem = "is cut off or damaged" if looks_like_onnx else "is not an ONNX model"
        raise ModelError(f"{path!r} {problem}", where=path, hint=hint) from error
    if not proto.ir_version or not proto.HasField("graph"):
        raise ModelError(f"{path!r} is not an ONNX model", where=path, hint=hint)
    if not proto.opset_import and proto.ir_version >= 3:
        raise ModelError(
            f"{path!r} is not a whole ONNX model: it names no operator set", where=path, hint=hint
        )
    return proto


def _tensors(proto: ModelProto) -> Iterator[TensorProto]:
    yield from all_tensors(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from attribute_tensors(node)


def _check_external(path: str, proto: ModelProto) -> int:
    """Check every tensor that lies in another file; return the bytes of those files."""
    folders = {os.path.realpath(os.path.dirname(path) or ".")}
    folders.add(os.path.dirname(os.path.realpath(path)))
    sizes: dict[str, int] = {}
    for tensor in _tensors(proto):
        if is_external(tensor):
            fields = external_fields(tensor)
            location = fields.get("location", "")
            if location not in sizes:
                sizes[location] = _external_size(path, location, folders)
            _check_extent(path, tensor, fields, sizes[location])
    return sum(sizes.values())


def _external_size(path: str, location: str, folders: set[str]) -> int:
    parts = location.replace("\\", "/").split("/")
    if not location or os.path.isabs(location) or ".." in parts or "\0" in location:
        raise ModelError(
            f"{path!r} keeps weights at {location!r}, outside its own folder",
            where=path,
            hint="External data must lie in the model's folder or below.",
        )
    full = os.path.join(os.path.dirname(path), location)
    real = os.path.realpath(full)
    if not any(os.path.commonpath([real, folder]) == folder for folder in folders):
        raise ModelError(
            f"{path!r} keeps weights at {location!r}, a link out of its own folder",
            where=path,
            hint="Put the file itself into the model's folder.",
        )
    try:
        status = os.stat(real)
    except OSError as error:
        raise ModelError(
            f"the external data {location!r} of {path!r} is missing",
            where=path,
            hint="It belongs beside the model; was it downloaded too?",
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"the external data {location!r} of {path!r} is not a file", where=path)
    return status.st_size


def _check_extent(path: str, tensor: TensorProto, fields: dict[str, str], size: int) -> None:
    try:
        offset = int(fields.get("offset", "0"))
        length = int(fields["length"]) if "length" in fields else None
    except ValueError as error:
        raise ModelError(
            f"tensor {tensor.name!r} of {path!r} gives its place as {fields!r}", where=path
        ) from error
    if length is None and tensor.data_type in DType._value2member_map_:
        length = DType(tensor.data_type).n_bytes(prod(tensor.dims))
    if offset < 0 or (length or 0) < 0 or offset + (length or 0) > size:
        raise ModelError(
            f"the external data {fields['location']!r} of {path!r} is cut off: "
            f"tensor {tensor.name!r} ends behind its {size} bytes",
            where=path,
            hint="Was it downloaded whole, and does it belong to this model?",
        )


def _check_graph(path: str, proto: ModelProto) -> None:
    """Check that the nodes can be put in an order in which each finds what it reads."""
    graph = proto.graph
    if not graph.output:
        raise ModelError(f"{path!r} has no outputs", where=path)
    known = {value.name for value in graph.input}
    known.update(tensor.name for tensor in graph.initializer)
    known.update(sparse.values.name for sparse in graph.sparse_initializer)
    waiting = [(node, [n for n in reads(node) if n not in known]) for node in graph.node]
    produced = {name for node in graph.node for name in node.output}
    for node, missing in waiting:
        for name in missing:
            if name not in produced:
                raise ModelError(
                    f"{path!r}: node {node.name or node.op_type!r} reads {name!r}, "
                    "which nothing gives",
                    where=path,
                    hint="The model is invalid; export it again.",
                )
    _check_order(path, waiting, known)


def _check_order(
    path: str, waiting: list[tuple[onnx.NodeProto, list[str]]], known: set[str]
) -> None:
    """Take nodes whose inputs exist until none is left; a node that stays is on a cycle."""
    readers: dict[str, list[int]] = {}
    missing = [len(names) for _, names in waiting]
    for index, (_, names) in enumerate(waiting):
        for name in names:
            readers.setdefault(name, []).append(index)
    ready = [index for index, count in enumerate(missing) if count == 0]
    n_done = 0
    while ready:
        index = ready.pop()
        n_done += 1
        for name in waiting[index][0].output:
            for reader in readers.pop(name, ()) if name not in known else ():
                missing[reader] -= 1
                if missing[reader] == 0:
                    ready.append(reader)
    if n_done < len(waiting):
        stuck = next(node for (node, _), count in zip(waiting, missing, strict=True) if count)
        raise ModelError(
            f"{path!r}: the graph has a cycle through node {stuck.name or stuck.op_type!r}",
            where=path,
            hint="An ONNX graph must be acyclic; export the model again.",
        )
