"""Small models that servers are tried with, and how their files come into a folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import inferonnx
from inferonnx.app.host.opening import open_file
from inferonnx.crypto import Secret
from inferonnx.sealed import SealWriter

if TYPE_CHECKING:
    from pathlib import Path

    from inferonnx.sealed import Probe

NUMBERS = {
    "BOOL": (TensorProto.BOOL, np.bool_),
    "UINT8": (TensorProto.UINT8, np.uint8),
    "UINT16": (TensorProto.UINT16, np.uint16),
    "UINT32": (TensorProto.UINT32, np.uint32),
    "UINT64": (TensorProto.UINT64, np.uint64),
    "INT8": (TensorProto.INT8, np.int8),
    "INT16": (TensorProto.INT16, np.int16),
    "INT32": (TensorProto.INT32, np.int32),
    "INT64": (TensorProto.INT64, np.int64),
    "FP16": (TensorProto.FLOAT16, np.float16),
    "FP32": (TensorProto.FLOAT, np.float32),
    "FP64": (TensorProto.DOUBLE, np.float64),
    "BF16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}
"""Numbers that the protocol can say: its name, ONNX's, numpy's."""

TURN_SIZE = 256
"""Side of the square that `patient` multiplies in each turn: about a millisecond."""


MANY = 250_000
"""Strings that `talkative` was measured with: so many take a moment to write."""


def numbers(path: Path) -> Path:
    """Write a model that gives back what it gets: an input and an output of each type of number."""
    inputs, outputs, nodes = [], [], []
    for word, (kind, _) in NUMBERS.items():
        inputs.append(helper.make_tensor_value_info(f"in_{word}", kind, ["n", 2]))
        outputs.append(helper.make_tensor_value_info(f"out_{word}", kind, ["n", 2]))
        nodes.append(helper.make_node("Identity", [f"in_{word}"], [f"out_{word}"]))
    return _saved(path, nodes, inputs, outputs)


def texts(path: Path) -> Path:
    """Write a model that joins two columns of strings, and gives one of them back besides."""
    return _saved(
        path,
        [
            helper.make_node("StringConcat", ["left", "right"], ["joined"]),
            helper.make_node("Identity", ["left"], ["same"]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in _SIDES],
        [helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in _JOINED],
    )


def patient(path: Path) -> Path:
    """Write a model that takes as many turns as it is told, and gives their number."""
    weight = np.eye(TURN_SIZE, dtype=np.float32)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["square_in", "secret_weight"], ["square_out"]),
            helper.make_node("Identity", ["on_in"], ["on_out"]),
        ],
        "secret_body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("on_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("square_in", TensorProto.FLOAT, weight.shape),
        ],
        [
            helper.make_tensor_value_info("on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("square_out", TensorProto.FLOAT, weight.shape),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["turns", "", "secret_weight"], ["square"], body=body),
        helper.make_node("ReduceSum", ["square"], ["sum"], keepdims=0),
    ]
    return _saved(
        path,
        nodes,
        [helper.make_tensor_value_info("turns", TensorProto.INT64, [])],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(weight, "secret_weight")],
    )


def tireless(path: Path) -> Path:
    """Write a model that takes as many turns as it is told, and does nothing in any of them."""
    sides = [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("kept", TensorProto.FLOAT, []),
    ]
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    body = helper.make_graph([], "secret_body", [turn, *sides], sides)
    return _saved(
        path,
        [helper.make_node("Loop", ["turns", "", "start"], ["end"], body=body)],
        [
            helper.make_tensor_value_info("turns", TensorProto.INT64, []),
            helper.make_tensor_value_info("start", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info("end", TensorProto.FLOAT, [])],
    )


def listed(path: Path) -> Path:
    """Write a model whose input is a sequence: onnxruntime runs it, the protocol can't say it."""
    return _saved(
        path,
        [
            helper.make_node("Constant", [], ["first"], value_int=0),
            helper.make_node("SequenceAt", ["secret_items", "first"], ["item"]),
        ],
        [helper.make_tensor_sequence_value_info("secret_items", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("item", TensorProto.FLOAT, [2])],
    )


def swelling(path: Path) -> Path:
    """Write a model that takes and gives as much memory as the numbers in its inputs say."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in SIZES]
    return _saved(
        path,
        [
            helper.make_node("ConstantOfShape", ["hidden"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("ConstantOfShape", ["shown"], ["given"]),
        ],
        inputs,
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("given", TensorProto.FLOAT, ["n"]),
        ],
    )


def talkative(path: Path) -> Path:
    """Write a model that gives as many strings as the number in its input says."""
    return _saved(
        path,
        [
            helper.make_node("ConstantOfShape", ["n"], ["zeros"]),
            helper.make_node("Cast", ["zeros"], ["words"], to=TensorProto.STRING),
        ],
        [helper.make_tensor_value_info("n", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("words", TensorProto.STRING, ["n"])],
    )


def extremes(rows: int = 2) -> dict[str, np.ndarray]:
    """Return inputs of `numbers`, by the protocol's name of the type."""
    found = {}
    for word, (_, kind) in NUMBERS.items():
        if word == "BOOL":
            content = [True, False, False]
        elif word[0] in "UI":
            content = [np.iinfo(kind).min, np.iinfo(kind).max, 7]
        else:
            content = [-0.5, ml_dtypes.finfo(kind).max, np.inf, -0.0]
        flat = [content[i % len(content)] for i in range(2 * rows)]
        found[word] = np.array(flat, kind).reshape(rows, 2)
    return found


def seal(path: Path, folder: Path, key: inferonnx.Key, **options: object) -> Path:
    """Seal a model under its file's name."""
    sealed = folder / f"{path.stem}.sealed"
    inferonnx.seal(path, sealed, key=key, **{"memory": "8GiB", **options})
    return sealed


def stock(repository: Path, *sealed: Path, version: int = 1) -> Path:
    """Put sealed files into a server's folder, as a host may do by hand."""
    for path in sealed:
        home = repository / path.stem / str(version)
        home.mkdir(parents=True)
        shutil.copy(path, home / "model.sealed")
    return repository


SIZES = ("hidden", "shown")
_SIDES, _JOINED = ("left", "right"), ("joined", "same")


def _saved(path, nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "secret_graph", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def with_probe(sealed: Path, folder: Path, key: inferonnx.Key, probe: Probe) -> Path:
    """Write a model without weights again, with another probe: signed as only its owner can."""
    opened = open_file(str(sealed), key=key)
    opened.close()
    manifest = opened.manifest
    writer = SealWriter(
        key=key.owner,
        suite=opened.verified.header.suite,
        release=1,
        block_bytes=[partition.block_bytes for partition in manifest.partitions],
        data_key=Secret(os.urandom(32)),
        wrap_salt=os.urandom(32),
    )
    end = writer.finish(replace(manifest, probe=probe))
    path = folder / sealed.name
    path.write_bytes(end.header + end.manifest)
    return path
