"""Types of all values of a draft, asked of onnxruntime.

The saved optimised graph declares no types inside. A session over it, with every
value added as an output of no declared type, infers them; that session's own
graph, saved once more, says whether a shape is unknown or a scalar's, which the
Python API does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from inferonnx.errors import ModelError
from inferonnx.model.onnxruntime_door import open_session, reason, save_to, session_options
from inferonnx.model.scratch import ScratchPair
from inferonnx.model.subgraphs import bare_copy
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from typing import Any

    from onnx import ModelProto, TypeProto, ValueInfoProto

    from inferonnx.model.draft import Draft

Dims = tuple[int | str | None, ...]

_SMALL_FILE_BYTES = 2**20


def infer_types(draft: Draft) -> Any:
    """Fill `draft.types` and return the session that knows them; it can be run.

    A graph without nodes has no session: None.

    Raises:
        ModelError: onnxruntime refuses the graph.
    """
    draft.types = {value.name: value.type for value in draft.inputs}
    if not draft.nodes:
        return None  # onnxruntime has nothing to say about a graph of inputs alone
    values = [name for node in draft.nodes for name in node.output if name]
    model = whole_model(draft, values)
    options = session_options(optimise="off")
    with ScratchPair(_SMALL_FILE_BYTES) as scratch:
        save_to(
            options, scratch.graph_path, scratch.data_name, external_from_bytes=_SMALL_FILE_BYTES
        )
        try:
            session = open_session(model.SerializeToString(), options)
        except Exception as error:
            raise ModelError(
                f"onnxruntime refuses its own optimised graph: {reason(error)}"
            ) from error
        typed = onnx.ModelProto.FromString(scratch.graph())
    draft.types |= {value.name: value.type for value in typed.graph.output}
    return session


def whole_model(draft: Draft, outputs: list[str]) -> ModelProto:
    """Return the whole draft as a model whose weights are inputs."""
    weights = [weight_info(draft, name) for name in draft.weights]
    graph = helper.make_graph(
        # Names must be unique where there are any, and rewriting repeats them.
        [bare_copy(node) for node in draft.nodes],
        "g",  # a checker wants a name
        [*draft.inputs, *weights],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        initializer=list(draft.constants.values()),
        sparse_initializer=list(draft.sparse.values()),
    )
    return model_of(draft, graph)


def model_of(draft: Draft, graph: onnx.GraphProto) -> ModelProto:
    """Wrap a graph as a model of the draft's versions."""
    opsets = [helper.make_opsetid(domain, number) for domain, number in draft.opsets.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=max(draft.ir_version, 4))


def weight_info(draft: Draft, name: str) -> ValueInfoProto:
    """Declare a weight as an input: element type and shape."""
    weight = draft.weights[name]
    return helper.make_tensor_value_info(name, int(weight.dtype), weight.shape)


def type_text(kind: TypeProto) -> str:
    """Return the type as onnxruntime spells it: "tensor(float)", "seq(map(int64,tensor(float)))".

    Raises:
        ModelError: It is none that onnxruntime computes with.
    """
    match kind.WhichOneof("value"):
        case "tensor_type":
            return f"tensor({_element_name(kind.tensor_type.elem_type)})"
        case "sparse_tensor_type":
            return f"sparse_tensor({_element_name(kind.sparse_tensor_type.elem_type)})"
        case "sequence_type":
            return f"seq({type_text(kind.sequence_type.elem_type)})"
        case "optional_type":
            return f"optional({type_text(kind.optional_type.elem_type)})"
        case "map_type":
            key = _element_name(kind.map_type.key_type)
            return f"map({key},{type_text(kind.map_type.value_type)})"
        case _:
            raise ModelError("the model has a value of no known type")


def dims_of(kind: TypeProto) -> Dims | None:
    """Return a tensor's dims: a number, a name or None each; None if the rank is unknown."""
    if kind.WhichOneof("value") != "tensor_type" or not kind.tensor_type.HasField("shape"):
        return None
    dims: list[int | str | None] = []
    for dim in kind.tensor_type.shape.dim:
        if dim.HasField("dim_value"):
            # Some exporters write -1 for a dim that is not known.
            dims.append(dim.dim_value if dim.dim_value >= 0 else None)
        else:
            dims.append(dim.dim_param or None)
    return tuple(dims)


def boundary_type(kind: TypeProto, seen: tuple[int, ...] | None) -> TypeProto:
    """Return the type with named dims left open, and its whole shape if the sample belies it.

    Args:
        kind: As inferred. Its numbers follow from the model's operators and inputs; some
            operators need them (Resize the number of its sizes), so they are kept.
        seen: Shape on the sample; None leaves the shape open.
    """
    open_kind = onnx.TypeProto()
    open_kind.CopyFrom(kind)
    if open_kind.WhichOneof("value") == "tensor_type":
        declared = dims_of(kind)
        open_kind.tensor_type.ClearField("shape")
        if declared is not None and seen is not None and may_be(declared, seen):
            shape = open_kind.tensor_type.shape
            shape.SetInParent()  # a scalar's shape is there, and empty
            for dim in declared:
                added = shape.dim.add()
                if isinstance(dim, int):
                    added.dim_value = dim
    return open_kind


def may_be(dims: Dims, shape: tuple[int, ...]) -> bool:
    """Return whether a tensor of `dims` can have `shape`."""
    return len(dims) == len(shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(dims, shape, strict=True)
    )


def _element_name(number: int) -> str:
    if number in DType._value2member_map_:
        return DType(number).onnx_name
    raise ModelError(f"the model has elements of type {TensorProto.DataType.Name(number)}")
