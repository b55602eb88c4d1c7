"""Types of all values of an original graph, asked of onnxruntime.

As `model.types` does for a draft: a session over the graph with every value as an output
of no declared type infers them, and the graph that it saves has them. What the file
declares inside is not believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import helper

from inferonnx.model.chain.original import OVERRIDABLE_IR
from inferonnx.model.onnxruntime_door import open_session, refusal, save_to, session_options
from inferonnx.model.scratch import ScratchPair
from inferonnx.model.weights import is_external, is_plain, tensor_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

    from inferonnx.model.chain.original import Original

# Smaller initializers stay: what a Reshape or Slice does follows from their values.
_INLINE_BYTES = 1024

_SMALL_FILE_BYTES = 2**20


def infer_value_types(original: Original) -> None:
    """Fill `original.types` for the caller's inputs and all that operators and constants give.

    Raises:
        ModelError: onnxruntime refuses the model.
    """
    original.types.update((value.name, value.type) for value in original.inputs)
    for name in original.constant_outputs:
        if name in original.initializers:
            original.types[name] = _declared(original.initializers[name]).type
    if not _asked(original):
        return
    options = session_options(optimise="off")
    with ScratchPair(_SMALL_FILE_BYTES) as scratch:
        save_to(
            options, scratch.graph_path, scratch.data_name, external_from_bytes=_SMALL_FILE_BYTES
        )
        try:
            open_session(_untyped(original).SerializeToString(), options)
        except Exception as error:
            raise refusal(error, original.path) from error
        typed = onnx.ModelProto.FromString(scratch.graph())
    original.types.update((value.name, value.type) for value in typed.graph.output)


def _untyped(original: Original) -> ModelProto:
    """Return the model with large initializers as inputs and every value as an output."""
    graph = original.proto.graph
    inside: list[onnx.TensorProto] = []
    outside: list[onnx.TensorProto] = []
    for tensor in original.initializers.values():
        small = not is_plain(tensor) or tensor_bytes(tensor) <= _INLINE_BYTES
        (inside if small and not is_external(tensor) else outside).append(tensor)
    model = onnx.ModelProto(ir_version=max(original.proto.ir_version, OVERRIDABLE_IR))
    model.opset_import.extend(original.proto.opset_import)
    model.functions.extend(original.proto.functions)
    model.graph.CopyFrom(
        helper.make_graph(
            [*original.constants.values(), *original.operators],
            graph.name or "g",  # a checker wants a name
            [*original.inputs, *(_declared(tensor) for tensor in outside)],
            [onnx.ValueInfoProto(name=name) for name in _asked(original)],
            initializer=inside,
            sparse_initializer=list(original.sparse.values()),
        )
    )
    return model


def _asked(original: Original) -> list[str]:
    """Return the values whose types only onnxruntime knows."""
    made = [name for name, born in original.born.items() if born >= 0]
    return made + [name for name in original.constant_outputs if name in original.constants]


def _declared(tensor: onnx.TensorProto) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
