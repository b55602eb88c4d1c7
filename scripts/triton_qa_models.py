"""The models that Triton's QA asks for, as ONNX: its names, inputs and outputs.

Triton makes most of them for several backends, and ensembles of them; what is served
here under such a name is the one graph that computes the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Dims = Sequence[int | str]

FLOAT, HALF, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BOOL
INT8, INT32, INT64, TEXT = (
    TensorProto.INT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.STRING,
)

DELAY_S = 4
"""How long `custom_identity_int32` computes: Triton's sleeps for three seconds."""


def _model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[tuple[str, int, Dims]],
    outputs: Sequence[tuple[str, int, Dims]],
    constants: Sequence[TensorProto] = (),
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "qa",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def identity(element: int, *shapes: Dims, suffixes: Sequence[str] = ()) -> ModelProto:
    """Return a model whose outputs are its inputs: INPUT0 is OUTPUT0, and so on."""
    ends = suffixes or [str(number) for number in range(len(shapes))]
    return _model(
        [helper.make_node("Identity", [f"INPUT{end}"], [f"OUTPUT{end}"]) for end in ends],
        [(f"INPUT{end}", element, shape) for end, shape in zip(ends, shapes, strict=True)],
        [(f"OUTPUT{end}", element, shape) for end, shape in zip(ends, shapes, strict=True)],
    )


def sum_and_difference(
    given: int, first: int, second: int, *, compute: int = INT32, swap: bool = False
) -> ModelProto:
    """Return a model of two inputs of 16 columns: their sum and difference, or swapped."""
    nodes = [helper.make_node("Cast", [f"INPUT{i}"], [f"number{i}"], to=compute) for i in range(2)]
    operators = ("Sub", "Add") if swap else ("Add", "Sub")
    for i, (operator, element) in enumerate(zip(operators, (first, second), strict=True)):
        nodes.append(helper.make_node(operator, ["number0", "number1"], [f"result{i}"]))
        nodes.append(helper.make_node("Cast", [f"result{i}"], [f"OUTPUT{i}"], to=element))
    return _model(
        nodes,
        [(f"INPUT{i}", given, ["rows", 16]) for i in range(2)],
        [("OUTPUT0", first, ["rows", 16]), ("OUTPUT1", second, ["rows", 16])],
    )


def nan_and_infinity() -> ModelProto:
    """Return a model whose output is NaN, both infinities, 1, 2 and 3."""
    values = np.array([np.nan, np.inf, -np.inf, 1, 2, 3], np.float32)
    return _model(
        [
            helper.make_node("ReduceSum", ["INPUT0"], ["sum"], keepdims=0),
            helper.make_node("Sub", ["sum", "sum"], ["nothing"]),
            helper.make_node("Add", ["values", "nothing"], ["OUTPUT0"]),
        ],
        [("INPUT0", FLOAT, ["n"])],
        [("OUTPUT0", FLOAT, [6])],
        [numpy_helper.from_array(values, "values")],
    )


def three_inputs() -> ModelProto:
    """Return a model that needs three inputs."""
    return _model(
        [
            helper.make_node("Concat", ["INPUT0", "INPUT1", "INPUT2"], ["all"], axis=0),
            helper.make_node("ReduceSum", ["all"], ["OUTPUT0"], keepdims=1),
        ],
        [(f"INPUT{i}", FLOAT, [f"n{i}"]) for i in range(3)],
        [("OUTPUT0", FLOAT, [1])],
    )


def slow_identity() -> ModelProto:
    """Return an identity that takes about `DELAY_S` on this machine."""
    n_turns = 10_000
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # this one, so that its time is all there is
    session = onnxruntime.InferenceSession(
        _turning(n_turns).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    times = []
    for _ in range(3):  # the best, and what it computed: a busy machine adds to both
        began = time.thread_time()
        session.run(None, {"INPUT0": np.zeros((1, 1), np.int32)})
        times.append(time.thread_time() - began)
    return _turning(int(n_turns * DELAY_S / min(times)))


def _turning(n_turns: int) -> ModelProto:
    """Return an identity of integers that adds up a row of zeros `n_turns` times on the way.

    onnxruntime does that on one thread: it takes as long whatever their number.
    """
    size = 1 << 16
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("CumSum", ["state_in", "axis"], ["state_out"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("go_in", BOOL, []),
            helper.make_tensor_value_info("state_in", FLOAT, [1, size]),
        ],
        [
            helper.make_tensor_value_info("go_out", BOOL, []),
            helper.make_tensor_value_info("state_out", FLOAT, [1, size]),
        ],
    )
    return _model(
        [
            helper.make_node("Cast", ["INPUT0"], ["given"], to=FLOAT),
            helper.make_node("ReduceSum", ["given"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["row", "sum"], ["start"]),
            helper.make_node("Loop", ["turns", "", "start"], ["end"], body=body),
            helper.make_node("ReduceSum", ["end"], ["whole"], keepdims=0),
            helper.make_node("Sub", ["whole", "whole"], ["nothing"]),
            helper.make_node("Cast", ["nothing"], ["zero"], to=INT32),
            helper.make_node("Add", ["INPUT0", "zero"], ["OUTPUT0"]),
        ],
        [("INPUT0", INT32, ["rows", 1])],
        [("OUTPUT0", INT32, ["rows", 1])],
        [
            numpy_helper.from_array(np.array(1, np.int64), "axis"),
            numpy_helper.from_array(np.zeros((1, size), np.float32), "row"),
            numpy_helper.from_array(np.array(n_turns, np.int64), "turns"),
        ],
    )


def _zeros() -> dict[str, Callable[[], ModelProto]]:
    """Return the identities of L0_infer_zero: by backend or ensemble, with and without batch."""
    found: dict[str, Callable[[], ModelProto]] = {}
    kinds: tuple[tuple[str, int, int, int], ...] = (
        ("float32", FLOAT, 1, 1),
        ("float32", FLOAT, 3, 1),
        ("float16", HALF, 1, 2),
        ("float16", HALF, 3, 2),
        ("object", TEXT, 1, 1),
        ("object", TEXT, 3, 2),
        ("bool", BOOL, 1, 1),
    )
    for name, element, n_inputs, rank in kinds:
        prefixes = [
            "onnx",
            *(["simple_zero", "sequence_zero", "fan_zero"] if name != "object" else []),
        ]
        for prefix in prefixes:
            for batch, infix in ((["rows"], ""), ([], "_nobatch")):
                shapes = [
                    [*batch, *(f"n{i}_{axis}" for axis in range(rank))] for i in range(n_inputs)
                ]
                found[f"{prefix}{infix}_zero_{n_inputs}_{name}"] = (
                    lambda element=element, shapes=shapes: identity(element, *shapes)
                )
    return found


MODELS: dict[str, Callable[[], ModelProto]] = {
    **_zeros(),
    "simple": lambda: sum_and_difference(INT32, INT32, INT32),
    "simple_identity": lambda: identity(TEXT, ["rows", "n"]),
    "simple_identity_int64": lambda: identity(INT64, ["rows", "n"]),
    "onnx_zero_1_object_1_element": lambda: identity(TEXT, ["rows", 1]),
    "onnx_zero_1_float32_queue": lambda: identity(FLOAT, ["rows", "n"]),
    "onnx_scalar_1dim": lambda: identity(FLOAT, [1], suffixes=[""]),
    "onnx_scalar_2dim": lambda: identity(FLOAT, [1, 1], suffixes=[""]),
    "string_identity": lambda: identity(TEXT, [8]),
    "nan_inf_output": nan_and_infinity,
    "identity_fp32": lambda: identity(FLOAT, ["rows", "n"]),
    "identity_bytes": lambda: identity(TEXT, ["rows", "n"]),
    "input_all_required": three_inputs,
    "pt_identity": lambda: identity(FLOAT, ["rows", 8]),
    "onnx_object_int32_int32": lambda: sum_and_difference(TEXT, INT32, INT32),
    "custom_identity_int32": slow_identity,
    "libtorch_int32_int8_int8": lambda: sum_and_difference(INT32, INT8, INT8),
    "onnx_int32_int8_int8": lambda: sum_and_difference(INT32, INT8, INT8),
    **{
        f"{platform}_int32_int32_int32": lambda: sum_and_difference(INT32, INT32, INT32, swap=True)
        for platform in ("onnx", "plan")
    },
    **{
        f"{platform}_float32_float32_float32": lambda: sum_and_difference(
            FLOAT, FLOAT, FLOAT, compute=FLOAT
        )
        for platform in ("onnx", "plan", "libtorch")
    },
}
"""How each is made."""

SAMPLES: dict[str, dict[str, np.ndarray]] = {
    "onnx_object_int32_int32": {f"INPUT{i}": np.full((8, 16), "1", dtype=object) for i in range(2)},
}
"""Inputs to seal with, where made-up ones do not do: texts that are numbers."""

VERSIONS: dict[str, tuple[int, ...]] = {
    **{f"{platform}_int32_int32_int32": (1, 2, 3) for platform in ("onnx", "plan")},
    **{f"{platform}_float32_float32_float32": (1, 3) for platform in ("onnx", "plan", "libtorch")},
}
"""Those of which there are others than version 1."""
