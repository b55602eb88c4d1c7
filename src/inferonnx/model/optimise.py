"""onnxruntime optimises the graph once; its result, weights apart, becomes a draft.

The session that optimises is plain onnxruntime with its defaults. It is kept for
the sample run, so that what the caller would get without us is known.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx

from inferonnx.errors import ModelError, UnavailableError
from inferonnx.model.draft import ONNX_DOMAIN, Draft
from inferonnx.model.hoist import hoist
from inferonnx.model.onnxruntime_door import (
    could_not_save,
    open_session,
    refusal,
    save_to,
    session_options,
)
from inferonnx.model.scratch import ScratchPair
from inferonnx.model.subgraphs import all_graphs, all_names, rename_reads
from inferonnx.model.weights import bring_in, is_external, is_plain, tensor_bytes, weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto, TensorProto

    from inferonnx.model.load import ModelFile

# Constant folding may write tensors that the file only implies.
_ROOM_FACTOR = 1.25
_ROOM_BYTES = 64 * 2**20

# Initializers from this size on lie in the file of initializers.
_EXTERNAL_FROM_BYTES = 1024

_LEVELS = {"native": "all", "generic": "extended", "original": "off"}


class Optimised(NamedTuple):
    """What onnxruntime made of a model.

    Attributes:
        draft: The optimised graph, its large initializers as weights.
        session: Plain onnxruntime, ready to run; None when its memory was given back.
    """

    draft: Draft
    session: Any


def optimise(model: ModelFile, *, layout: str, inline_bytes: int) -> Optimised:
    """Let onnxruntime optimise the model and take the result apart.

    Args:
        model: Checked.
        layout: "native" (all optimisations, for this machine's CPU), "generic" (no
            operators of one CPU's layout) or "original" (none at all).
        inline_bytes: Initializers of at most this many bytes become constants.

    Raises:
        ModelError: onnxruntime refuses the model.
        UnavailableError: There is no room for the optimised model.
    """
    options = session_options(optimise=_LEVELS[layout])
    with ScratchPair(int(model.n_bytes * _ROOM_FACTOR) + _ROOM_BYTES) as scratch:
        save_to(
            options,
            scratch.graph_path,
            scratch.data_name,
            external_from_bytes=_EXTERNAL_FROM_BYTES,
        )
        try:
            session = open_session(model.path, options)
        except Exception as error:
            if could_not_save(error):
                raise _cut_off() from error
            raise refusal(error, model.path) from error
        try:
            proto = onnx.ModelProto.FromString(scratch.graph())
        except Exception as error:
            raise _cut_off() from error
        files = _Files(scratch.map_data())
    inputs = frozenset(model.inputs) - model.initialized
    try:
        return Optimised(_draft(proto, files, inline_bytes, inputs), session)
    except ModelError as error:
        raise _cut_off() from error


class _Files(dict[str, Any]):
    """The one file of initializers, whatever location the tensors give."""

    def __init__(self, data: Any) -> None:
        super().__init__()
        self._data = data

    def __missing__(self, location: str) -> Any:
        return self._data


def _cut_off() -> UnavailableError:
    return UnavailableError(
        "the optimised model could not be written whole: the disk or memory is full",
        hint="Free some space, or set TMPDIR to a folder that has it.",
    )


def _draft(
    proto: ModelProto, files: Mapping[str, Any], inline_bytes: int, inputs: frozenset[str]
) -> Draft:
    graph = proto.graph
    draft = Draft(
        ir_version=proto.ir_version,
        opsets=_opsets(proto),
        nodes=list(graph.node),
        # An input with an initializer is a constant to us: a file of IR version 3 lists
        # every initializer as an input, even those that onnxruntime made or removed.
        inputs=[value for value in graph.input if value.name in inputs],
        outputs=[value.name for value in graph.output],
        sparse={tensor.values.name: tensor for tensor in graph.sparse_initializer},
        names={name for name in all_names(graph) if name},
    )
    for tensor in graph.initializer:
        _add_initializer(draft, tensor, files, inline_bytes)
    hoist(draft, files, inline_bytes)
    _compute_constant_outputs(draft)
    draft.drop_unread()
    for inner in all_graphs(graph):
        for node in inner.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
    for body in islice(all_graphs(graph), 1, None):
        for tensor in body.initializer:
            if is_external(tensor):
                bring_in(tensor, files)
    return draft


def _add_initializer(
    draft: Draft, tensor: TensorProto, files: Mapping[str, Any], inline_bytes: int
) -> None:
    """Make `tensor` a weight of the draft if it is plain and large, else a constant."""
    if is_plain(tensor) and tensor_bytes(tensor) > inline_bytes:
        draft.adopt(tensor.name, weight_of(tensor, files))
    else:
        if is_external(tensor):
            bring_in(tensor, files)
        draft.constants[tensor.name] = tensor


def _compute_constant_outputs(draft: Draft) -> None:
    """Let a node make each graph output that is an initializer: a partition has to."""
    for output in dict.fromkeys(draft.outputs):
        if output in draft.constants or output in draft.weights or output in draft.sparse:
            name = draft.fresh(f"{output}.constant")
            if output in draft.weights:
                draft.adopt(name, draft.weights.pop(output))
            elif output in draft.constants:
                tensor = draft.constants.pop(output)
                tensor.name = name
                draft.constants[name] = tensor
            else:
                sparse = draft.sparse.pop(output)
                sparse.values.name = name
                draft.sparse[name] = sparse
            for node in draft.nodes:
                rename_reads(node, {output: name})
            draft.nodes.insert(0, draft.node("Identity", [name], output))


def _opsets(proto: ModelProto) -> dict[str, int]:
    """Return the version of each operator set that a node uses, and of the default one."""
    used = {node.domain for graph in all_graphs(proto.graph) for node in graph.node}
    used.discard("ai.onnx")
    used.add(ONNX_DOMAIN)
    versions: Counter[str] = Counter()
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in used:
            versions[domain] = max(versions[domain], entry.version)
    return dict(versions)
