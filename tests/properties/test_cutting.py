"""Any small graph, cut anywhere, computes what plain onnxruntime computes."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from inferonnx.graph import boundary
from inferonnx.model import prepare

_spec = importlib.util.spec_from_file_location(
    "model_tools", Path(__file__).parents[1] / "unit" / "model" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
tools = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tools)

# All values of a random graph are (rows, WIDTH): every operator fits every value.
WIDTH = 12
FLOAT = TensorProto.FLOAT
node = helper.make_node


class Maker:
    """Draws a graph node by node; every value may be read again, or become an output."""

    def __init__(self, draw: Any, rows: int) -> None:
        self.draw = draw
        self.rows = rows
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray[Any, Any]] = {}
        self.values = ["x", "z"]

    def weight(self, *shape: int) -> str:
        """Name a weight: often a new one, sometimes one of the same shape once more."""
        same = [name for name, w in self.weights.items() if w.shape == shape]
        if same and self.draw(st.booleans()):
            return str(self.draw(st.sampled_from(same)))
        name = f"w{len(self.weights)}"
        generator = np.random.default_rng(self.draw(st.integers(0, 2**16)))
        scale = 1 / np.sqrt(max(shape[0], 1)) if len(shape) > 1 else 1
        self.weights[name] = (generator.standard_normal(shape) * scale).astype(np.float32)
        return name

    def value(self) -> str:
        return str(self.draw(st.sampled_from(self.values)))

    def add(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        output = f"v{len(self.values)}"
        self.nodes.append(node(op_type, inputs, [output], **attributes))
        self.values.append(output)
        return output

    def step(self) -> None:
        """Add one operator, or a few that belong together."""
        match self.draw(st.sampled_from(STEPS)):
            case "matmul":
                self.add("MatMul", [self.value(), self.weight(WIDTH, WIDTH)])
            case "wide":
                inner = f"i{len(self.values)}"
                self.nodes.append(node("MatMul", [self.value(), self.weight(WIDTH, 40)], [inner]))
                self.nodes.append(node("Relu", [inner], [f"{inner}r"]))
                self.add("MatMul", [f"{inner}r", self.weight(40, WIDTH)])
            case "gemm":
                trans_b = self.draw(st.integers(0, 1))
                bias = [self.weight(WIDTH)] if self.draw(st.booleans()) else []
                self.add(
                    "Gemm",
                    [self.value(), self.weight(WIDTH, WIDTH), *bias],
                    transB=trans_b,
                    alpha=self.draw(st.sampled_from([1.0, 0.5])),
                )
            case "binary":
                operator = self.draw(st.sampled_from(["Add", "Mul", "Sub", "Max"]))
                other = self.draw(st.sampled_from([self.value(), self.weight(WIDTH)]))
                self.add(operator, [self.value(), other])
            case "unary":
                operator = self.draw(st.sampled_from(["Relu", "Tanh", "Erf", "Neg", "Identity"]))
                self.add(operator, [self.value()])
            case "norm":
                scale, bias = self.weight(WIDTH), self.weight(WIDTH)
                self.add("LayerNormalization", [self.value(), scale, bias])
            case "split":
                at = len(self.values)
                self.nodes.append(node("Split", [self.value()], [f"a{at}", f"b{at}"], axis=1))
                self.add("Concat", [f"b{at}", f"a{at}"], axis=1)
            case "gather":
                picked = f"p{len(self.values)}"
                table = self.weight(50, WIDTH)
                self.nodes.append(node("Gather", [table, "i"], [picked]))
                self.add("Add", [self.value(), picked])
            case "if":
                self.add_if()

    def add_if(self) -> None:
        """Add a choice whose branches have weights inside and capture values from outside."""
        branches = {}
        for name in ("then_branch", "else_branch"):
            tag = f"{name[0]}{len(self.values)}"
            generator = np.random.default_rng(self.draw(st.integers(0, 3)))
            inner = generator.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 4
            branches[name] = helper.make_graph(
                [
                    node("MatMul", [self.value(), f"{tag}w"], [f"{tag}m"]),
                    node("Add", [f"{tag}m", self.weight(WIDTH)], [f"{tag}y"]),
                ],
                name,
                [],
                [helper.make_tensor_value_info(f"{tag}y", FLOAT, None)],
                [numpy_helper.from_array(inner, f"{tag}w")],
            )
        self.add("If", ["c"], **branches)


STEPS = ["matmul", "wide", "gemm", "binary", "unary", "norm", "split", "gather", "if"]


@st.composite
def cases(draw: Any) -> tuple[onnx.ModelProto, list[dict[str, Any]], list[int], int]:
    """Draw a model, samples for it (the second of another length), cuts and a piece size."""
    rows = draw(st.sampled_from([1, 3, 8, 17]))
    maker = Maker(draw, rows)
    for _ in range(draw(st.integers(1, 9))):
        maker.step()
    last = maker.values[-1]
    outputs = {last, *draw(st.lists(st.sampled_from(maker.values), max_size=3))}
    inputs = {
        "x": (FLOAT, ["n", WIDTH]),
        "z": (FLOAT, ["n", WIDTH]),
        "i": (TensorProto.INT64, ["n"]),
        "c": (TensorProto.BOOL, []),
    }
    model = tools.build(maker.nodes, inputs, sorted(outputs), maker.weights)
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    samples = [
        {
            "x": generator.standard_normal((n, WIDTH)).astype(np.float32),
            "z": generator.standard_normal((n, WIDTH)).astype(np.float32),
            "i": generator.integers(-50, 50, n),
            "c": np.array(bool(draw(st.booleans()))),
        }
        for n in (rows, draw(st.sampled_from([1, 9])))
    ]
    cuts = draw(st.lists(st.integers(1, 40), max_size=6, unique=True))
    return model, samples, sorted(cuts), draw(st.sampled_from([700, 2**20]))


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(case=cases())
def test_any_graph_cut_anywhere_computes_the_same(case):
    model, samples, cuts, piece_bytes = case
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        with prepare(
            file.name, sample=samples[0], piece_bytes=piece_bytes, inline_bytes=100
        ) as prepared:
            graph = prepared.graph
            n_nodes = len(graph.nodes)
            check_figures(prepared)
            for sample in samples:
                want = tools.run_plain(file.name, sample, prepack=False)
                for places in ([c for c in cuts if c < n_nodes], range(1, n_nodes)):
                    got = tools.chain(prepared, places, sample)
                    for name, value in want.items():
                        assert tools.same(got[name], value, 1e-4), name


def check_figures(prepared: Any) -> None:
    """Check what the planner is told against the shapes that were seen."""
    graph = prepared.graph
    for name, n_bytes in graph.value_bytes.items():
        shape = prepared.shapes[name]
        assert n_bytes % max(int(np.prod(shape)), 1) == 0
    for cut in range(len(graph.nodes) + 1):
        assert set(boundary(graph, cut)) <= set(graph.value_bytes)
    for name, n_bytes in graph.weight_bytes.items():
        data = prepared.weight(name)
        assert len(data.data) == n_bytes > 100
