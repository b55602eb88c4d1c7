"""The original graph of a model file: its operators in order, and all that they read.

Nothing is optimised. *Operators* are the nodes that compute something a graph output
needs, in the file's order where that is topological. `Constant` nodes are no operators:
like initializers they belong to whoever reads them, and a cut copies them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import onnx

from inferonnx.errors import UsageError
from inferonnx.model.draft import ONNX_DOMAIN, domain_of
from inferonnx.model.load import load_model
from inferonnx.model.subgraphs import all_tensors, attribute_tensors, reads
from inferonnx.model.weights import external_fields, is_external, is_plain, tensor_bytes
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import (
        ModelProto,
        NodeProto,
        SparseTensorProto,
        TensorProto,
        TypeProto,
        ValueInfoProto,
    )

# From this IR version on, an input with an initializer is one with a default.
OVERRIDABLE_IR = 4

# Kinds of values that a file can take as input and give as output.
CARRIED = ("tensor_type", "sequence_type", "map_type")

_READ_BYTES = 1 << 20


class Edge(NamedTuple):
    """What a range of operators takes and gives, each name once.

    Attributes:
        inputs: Values that it reads and does not make, those of the caller first.
        outputs: Values that it makes and that are needed behind it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(kw_only=True)
class Original:
    """A model file taken apart, its weights still where they were.

    Attributes:
        path: The file.
        sha256: Of the file, in hex.
        data_sha256: Of its files of external data, by location.
        n_bytes: Of the file and its external data.
        proto: The file's content; external data is not loaded.
        operators: n nodes in topological order.
        constants: `Constant` nodes by output.
        initializers: By name.
        sparse: Sparse initializers by name.
        inputs: What the caller must give, in order.
        defaults: What the caller may give: inputs with an initializer.
        outputs: What the caller gets, in order.
        types: Types of all values; filled by `infer_value_types`.
    """

    path: str
    sha256: str
    data_sha256: Mapping[str, str]
    n_bytes: int
    proto: ModelProto
    operators: tuple[NodeProto, ...]
    constants: Mapping[str, NodeProto]
    initializers: Mapping[str, TensorProto]
    sparse: Mapping[str, SparseTensorProto]
    inputs: tuple[ValueInfoProto, ...]
    defaults: Mapping[str, ValueInfoProto]
    outputs: tuple[ValueInfoProto, ...]
    types: dict[str, TypeProto] = field(default_factory=dict)

    @cached_property
    def reads(self) -> tuple[tuple[str, ...], ...]:
        """What each operator reads, bodies included."""
        return tuple(reads(node) for node in self.operators)

    @cached_property
    def born(self) -> dict[str, int]:
        """The operator that makes each value; -1 for the caller's inputs."""
        born = {value.name: -1 for value in self.inputs}
        for index, node in enumerate(self.operators):
            born.update((name, index) for name in node.output if name)
        return born

    @cached_property
    def last_use(self) -> dict[str, int]:
        """The last operator that reads each value; n for graph outputs."""
        last = {name: index for index, names in enumerate(self.reads) for name in names}
        return last | {value.name: len(self.operators) for value in self.outputs}

    @cached_property
    def constant_outputs(self) -> tuple[str, ...]:
        """Graph outputs that no operator makes and no caller gives; the last file has them."""
        fixed = self.constants.keys() | self.initializers.keys() | self.sparse.keys()
        return tuple(dict.fromkeys(v.name for v in self.outputs if v.name in fixed))

    def weights_of(self, index: int) -> tuple[str, ...]:
        """Return the initializers and constants that an operator reads, each once."""
        return tuple(name for name in self.reads[index] if name not in self.born)

    def weight_bytes(self, name: str) -> int:
        """Return the bytes of an initializer or constant; strings count as their text."""
        if name in self.initializers:
            return _tensor_bytes(self.initializers[name])
        if name in self.constants:
            return sum(map(_tensor_bytes, attribute_tensors(self.constants[name])))
        return _tensor_bytes(self.sparse[name].values) if name in self.sparse else 0

    def edge(self, start: int, stop: int) -> Edge:
        """Return what operators [start, stop) take and give."""
        read = {name for names in self.reads[start:stop] for name in names}
        born, last = self.born, self.last_use
        inputs = [n for n in born if n in read and born[n] < start]
        if start == 0:  # what nobody reads is given to the first file, which declares it
            ever = {name for names in self.reads for name in names}
            inputs = [n for n in born if born[n] < 0 and (n in read or n not in ever)]
        outputs = [n for n, b in born.items() if start <= b < stop and last.get(n, -1) >= stop]
        if stop == len(self.operators):
            outputs += self.constant_outputs
        return Edge(tuple(inputs), tuple(outputs))

    @cached_property
    def uncuttable(self) -> frozenset[int]:
        """Cuts that a value crosses which no file can hand over; types are known."""
        cuts: set[int] = set()
        for name, born in self.born.items():
            if born >= 0 and self.types[name].WhichOneof("value") not in CARRIED:
                last = min(self.last_use.get(name, -1), len(self.operators) - 1)
                cuts.update(range(born + 1, last + 1))
        return frozenset(cuts)


def read_original(path: str) -> Original:
    """Return the original graph of the model at `path`, its types not yet known.

    Raises:
        ModelError: It is no valid model.
        UnavailableError: It can't be read.
    """
    file = load_model(path)
    proto = onnx.load(path, load_external_data=False)
    graph = proto.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    sparse = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
    fixed = initializers.keys() | sparse.keys()
    ordered = _needed(_in_order(graph, fixed), [value.name for value in graph.output])
    defaults = {v.name: v for v in graph.input if v.name in fixed}
    return Original(
        path=path,
        sha256=file_sha256(path),
        data_sha256={place: file_sha256(at) for place, at in data_files(path, proto).items()},
        n_bytes=file.n_bytes,
        proto=proto,
        operators=tuple(node for node in ordered if not _is_constant(node)),
        constants={n: node for node in ordered if _is_constant(node) for n in node.output},
        initializers=initializers,
        sparse=sparse,
        inputs=tuple(value for value in graph.input if value.name not in fixed),
        defaults=defaults if proto.ir_version >= OVERRIDABLE_IR else {},
        outputs=tuple(graph.output),
    )


def data_files(path: str, proto: ModelProto) -> dict[str, str]:
    """Return the files of external data by location."""
    of_functions = (t for f in proto.functions for node in f.node for t in attribute_tensors(node))
    found: dict[str, str] = {}
    for tensor in (*all_tensors(proto.graph), *of_functions):
        if is_external(tensor):
            location = external_fields(tensor).get("location", "")
            found.setdefault(location, beside(path, location))
    return found


def beside(path: str, location: str) -> str:
    """Return where external data lies: beside the model's name, or beside what that links to."""
    folders = (os.path.dirname(path), os.path.dirname(os.path.realpath(path)))
    places = [os.path.join(folder, location) for folder in folders]
    return next(filter(os.path.exists, places), places[0])


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file in hex.

    Raises:
        UsageError: It is not there.
        UnavailableError: It can't be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise translate(error, path, "reading") from error
    return digest.hexdigest()


def check_cuts(original: Original, cuts: tuple[int, ...]) -> None:
    """Refuse cuts that do not ascend within the graph, or that no file can be cut at.

    Raises:
        UsageError: See above.
    """
    n_operators = len(original.operators)
    if cuts and any(a >= b for a, b in pairwise((0, *cuts, n_operators))):
        raise UsageError(f"cuts {cuts} do not ascend within a graph of {n_operators} operators")
    forbidden = sorted(original.uncuttable.intersection(cuts))
    if forbidden:
        raise UsageError(
            f"the model can't be cut before operator {forbidden[0]}: an optional or sparse value "
            "crosses it",
            hint="Leave that cut out.",
        )


def _is_constant(node: NodeProto) -> bool:
    return bool(node.op_type == "Constant" and domain_of(node) == ONNX_DOMAIN)


def _in_order(graph: onnx.GraphProto, fixed: set[str]) -> list[NodeProto]:
    """Return the nodes in topological order: the file's, where it is one.

    `load_model` has shown that there is one.
    """
    known = fixed | {value.name for value in graph.input}
    ordered: list[NodeProto] = []
    waiting = list(graph.node)
    while waiting:
        later = []
        for node in waiting:
            if known.issuperset(reads(node)):
                ordered.append(node)
                known.update(node.output)
            else:
                later.append(node)
        waiting = later
    return ordered


def _needed(nodes: list[NodeProto], outputs: list[str]) -> list[NodeProto]:
    """Return the nodes without those that no graph output needs."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(reads(node))
            kept.append(node)
    return kept[::-1]


def _tensor_bytes(tensor: TensorProto) -> int:
    if is_plain(tensor):
        return tensor_bytes(tensor)
    return sum(map(len, tensor.string_data)) or len(tensor.raw_data)
