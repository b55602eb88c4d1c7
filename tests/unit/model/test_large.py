"""A model of more than 2 GiB: nothing of it ever passes through a protobuf as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from inferonnx.model import prepare

SIDE = 11_600
N_WEIGHTS = 4  # of 538 MB each


@pytest.mark.slow
def test_a_model_over_two_gigabytes_is_taken_apart(tmp_path, cut):
    """Weights are sparse files: zero but for one number in each row."""
    n_bytes = SIDE * SIDE * 4
    weights = []
    with (tmp_path / "data.bin").open("wb") as file:
        for place in range(N_WEIGHTS):
            for row in range(SIDE):
                file.seek(place * n_bytes + (row * SIDE + (row + place) % SIDE) * 4)
                file.write(np.float32(1 + place).tobytes())
            tensor = TensorProto(name=f"w{place}", dims=[SIDE, SIDE], data_type=1)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (
                ("location", "data.bin"),
                ("offset", place * n_bytes),
                ("length", n_bytes),
            ):
                tensor.external_data.add(key=key, value=str(value))
            weights.append(tensor)
        file.truncate(N_WEIGHTS * n_bytes)
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["v0"])]
    for place in range(1, N_WEIGHTS):
        nodes.append(helper.make_node("Relu", [f"v{place - 1}"], [f"r{place}"]))
        nodes.append(helper.make_node("MatMul", [f"r{place}", f"w{place}"], [f"v{place}"]))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIDE])],
        [helper.make_tensor_value_info(f"v{N_WEIGHTS - 1}", TensorProto.FLOAT, [1, SIDE])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "large.onnx"
    path.write_bytes(model.SerializeToString())
    x = np.arange(SIDE, dtype=np.float32).reshape(1, SIDE)
    with prepare(path, sample={"x": x}, piece_bytes=64 * 2**20) as prepared:
        assert sum(prepared.graph.weight_bytes.values()) == N_WEIGHTS * n_bytes > 2**31
        assert max(prepared.graph.weight_bytes.values()) <= 64 * 2**20
        n_nodes = len(prepared.graph.nodes)
        assert sum(len(prepared.skeleton(i, i + 1).model) for i in range(n_nodes)) < 100_000
        got = cut(prepared, range(1, n_nodes), prepared.sample)
    # Row r holds 1 + place in column r + place: each product shifts and scales.
    expected = np.roll(x, sum(range(N_WEIGHTS)), axis=1) * np.prod(range(1, N_WEIGHTS + 1))
    assert np.array_equal(got[f"v{N_WEIGHTS - 1}"], expected.astype(np.float32))
