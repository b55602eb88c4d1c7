"""The CPU's own layout of an optimised graph, and a probe for it.

With all optimisations, onnxruntime stores convolution weights and activations in
blocks of channels: 8 with AVX2, 16 with AVX-512. On a machine with another block
size the same file computes wrong numbers without an error. So the block size is
read from what onnxruntime makes of a tiny convolution here, and a probe goes with
the model: a small graph with every operator of that layout that the model uses,
and its answer as computed without the layout.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from inferonnx.errors import ModelError
from inferonnx.model.draft import NCHWC_DOMAIN
from inferonnx.model.onnxruntime_door import open_session, save_to, session_options
from inferonnx.model.prepared import Probe
from inferonnx.model.scratch import ScratchPair
from inferonnx.model.subgraphs import all_graphs, bodies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from onnx import ModelProto, NodeProto

    from inferonnx.model.draft import Draft

_OPSET, _IR_VERSION = 17, 8
_SMALL_FILE_BYTES = 2**20
_SEED = 7

# Channels of the probe: whole blocks of either size.
_CHANNELS = 32
_SIDE = 8  # height and width

# Answers differ by the order of summation only.
_TOLERANCE = 1e-4


def layout_of(draft: Draft) -> str:
    """Return "generic", or "nchwc" with the block size if the draft uses that layout."""
    return f"nchwc{block_channels()}" if _kinds(draft.nodes) else "generic"


@cache
def block_channels() -> int:
    """Return how many channels onnxruntime puts into a block on this machine."""
    weight = np.ones((8, 64, 1, 1), np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    # Eight filters are padded to a whole block.
    optimised = _optimised(_model(graph))
    return int(optimised.graph.initializer[0].dims[0])


def probe_of(draft: Draft) -> Probe | None:
    """Return a probe of the layout's operators that the draft uses; None if it uses none.

    Raises:
        ModelError: onnxruntime's layout computes wrong numbers on this machine, or the
            draft uses an operator of it that no probe is known for.
    """
    kinds = _kinds(draft.nodes)
    if not kinds:
        return None
    plain = _plain_probe(kinds)
    optimised = _optimised(plain)
    missing = kinds - _kinds(optimised.graph.node)
    if missing:
        raise ModelError(
            f"there is no probe for the CPU-specific operator {min(missing)!r}",
            hint="Use layout generic.",
        )
    generator = np.random.default_rng(_SEED)
    inputs = {
        value.name: generator.standard_normal(
            [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for value in plain.graph.input
    }
    names = [value.name for value in plain.graph.output]
    model = optimised.SerializeToString()
    expected = _run(plain.SerializeToString(), names, inputs)
    for name, got in _run(model, names, inputs).items():
        if not np.allclose(got, expected[name], rtol=_TOLERANCE, atol=_TOLERANCE):
            raise ModelError("onnxruntime's CPU-specific operators compute wrong numbers here")
    return Probe(model=model, inputs=inputs, outputs=expected)


def _kinds(nodes: Iterable[NodeProto]) -> set[str]:
    """Return the layout's operators among the nodes and in their bodies."""
    found: set[str] = set()
    for node in nodes:
        if node.domain == NCHWC_DOMAIN:
            found.add(node.op_type)
        for body in bodies(node):
            for graph in all_graphs(body):
                found.update(n.op_type for n in graph.node if n.domain == NCHWC_DOMAIN)
    return found


def _plain_probe(kinds: set[str]) -> ModelProto:
    """Return a graph in plain operators that onnxruntime turns into those of `kinds`.

    Convolutions come in the four forms that have kernels of their own: first (few
    channels), pointwise, depthwise, and blocks to blocks with an addition.
    """
    side, channels = _SIDE, _CHANNELS
    generator = np.random.default_rng(_SEED)
    weights: list[TensorProto] = []
    nodes: list[NodeProto] = []
    outputs: list[str] = []

    def conv(x: str, y: str, shape: tuple[int, ...], **attributes: Any) -> str:
        data = generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(data.astype(np.float32), f"{y}.w"))
        bias = generator.standard_normal(shape[0]).astype(np.float32)
        weights.append(numpy_helper.from_array(bias, f"{y}.b"))
        nodes.append(helper.make_node("Conv", [x, f"{y}.w", f"{y}.b"], [y], **attributes))
        return y

    def out(op_type: str, x: str, **attributes: Any) -> None:
        outputs.append(f"out_{op_type}")
        nodes.append(helper.make_node(op_type, [x], [outputs[-1]], **attributes))

    pads = [1, 1, 1, 1]
    first = conv("image", "first", (channels, 3, 3, 3), pads=pads)
    point = conv(first, "point", (channels, channels, 1, 1))
    deep = conv(point, "deep", (channels, 1, 3, 3), group=channels, pads=pads)
    block = conv(deep, "block", (channels, channels, 3, 3), pads=pads)
    nodes.append(helper.make_node("Add", [block, point], ["sum"]))
    nodes.append(helper.make_node("Relu", ["sum"], ["relu"]))
    last = conv("relu", "last", (channels, channels, 1, 1))
    # Its input has whole blocks of channels and comes from outside: ReorderInput.
    entry = conv("blocks", "entry", (channels, channels, 3, 3), pads=pads)
    outputs += [last, entry]
    for pool in ("MaxPool", "AveragePool"):
        if pool in kinds:
            out(pool, last, kernel_shape=[2, 2], strides=[2, 2])
    for pool in ("GlobalAveragePool", "GlobalMaxPool"):
        if pool in kinds:
            out(pool, last)
    if "Upsample" in kinds:
        scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
        weights.append(scales)
        outputs.append("out_Upsample")
        nodes.append(
            helper.make_node(
                "Resize",
                [last, "", "scales"],
                ["out_Upsample"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        )
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side]),
        helper.make_tensor_value_info("blocks", TensorProto.FLOAT, [1, channels, side, side]),
    ]
    declared = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    return _model(helper.make_graph(nodes, "", inputs, declared, weights))


def _model(graph: onnx.GraphProto) -> ModelProto:
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


def _optimised(model: ModelProto) -> ModelProto:
    """Return the model as onnxruntime saves it with all optimisations, stripped."""
    options = session_options(optimise="all")
    with ScratchPair(_SMALL_FILE_BYTES) as scratch:
        save_to(
            options, scratch.graph_path, scratch.data_name, external_from_bytes=_SMALL_FILE_BYTES
        )
        open_session(model.SerializeToString(), options)
        optimised = onnx.ModelProto.FromString(scratch.graph())
    used = {node.domain for node in optimised.graph.node} | {""}
    imports = [entry for entry in optimised.opset_import if entry.domain in used]
    del optimised.opset_import[:]
    optimised.opset_import.extend(imports)
    for node in optimised.graph.node:
        node.ClearField("doc_string")
    return optimised


def _run(model: bytes, names: list[str], inputs: dict[str, Any]) -> dict[str, Any]:
    session = open_session(model, session_options(optimise="off", n_threads=1))
    return dict(zip(names, session.run(names, inputs), strict=True))
