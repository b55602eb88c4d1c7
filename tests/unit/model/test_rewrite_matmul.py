"""Products with a constant right operand: every form, every shape, cut into pieces or not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from inferonnx.model.rewrite_matmul import spans

FLOAT = TensorProto.FLOAT
node = helper.make_node

# Every piece is this small, so that the weights of the tests are cut.
TINY = 4096


def floats(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def kinds(prepared: Any) -> list[str]:
    return [n.op_type for n in prepared.graph.nodes]


@pytest.mark.parametrize("piece_bytes", [2**20, TINY], ids=["whole", "pieces"])
@pytest.mark.parametrize(
    "shape",
    [(20,), (1, 20), (7, 20), (8, 20), (33, 20), (2, 3, 20), (2, 9, 20), (8, 1, 20), (2, 2, 2, 20)],
    ids=str,
)
def test_matmul_of_any_rank_and_rows(check, build, shape, piece_bytes):
    dims = [*[f"d{i}" for i in range(len(shape) - 1)], 20]
    model = build(
        [node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["y"])],
        {"x": (FLOAT, dims)},
        ["y", "m"],
        {"w": floats(20, 130, seed=1)},
    )
    others = [{"x": floats(*(s + 2 for s in shape[:-1]), 20)}]
    others += [{"x": np.zeros((*(0 for _ in shape[:-1]), 20), np.float32)}] if shape[1:] else []
    prepared = check(
        model, {"x": floats(*shape)}, other_feeds=others, rtol=1e-5, piece_bytes=piece_bytes
    )
    flipped = len(shape) > 1 and shape[-2] >= 8
    assert ("Transpose" in kinds(prepared)) == flipped
    assert kinds(prepared).count("FusedMatMul") == (1 if piece_bytes > TINY else 3)
    assert max(prepared.graph.weight_bytes.values()) <= piece_bytes
    assert sum(prepared.graph.weight_bytes.values()) == 20 * 130 * 4
    assert len(prepared.notes) == (piece_bytes == TINY)


@pytest.mark.parametrize("piece_bytes", [2**20, TINY], ids=["whole", "pieces"])
@pytest.mark.parametrize("rows", [1, 8], ids=["few", "many"])
@pytest.mark.parametrize("bias", [None, (), (1,), (130,), (1, 130), "rows", "full", "computed"])
@pytest.mark.parametrize(("trans_a", "trans_b"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm_keeps_bias_factors_and_transpositions(
    check, build, rows, bias, trans_a, trans_b, piece_bytes
):
    shape = {"rows": (rows, 1), "full": (rows, 130), "computed": (130,)}.get(bias, bias)
    weights = {"w": floats(*((130, 20) if trans_b else (20, 130)), seed=1)}
    nodes = []
    if shape is not None:
        weights["c"] = floats(*shape, seed=2)
    if bias == "computed":
        nodes.append(node("Add", ["c", "zero"], ["b"]))
    inputs = {"x": (FLOAT, [20, rows] if trans_a else [rows, 20]), "zero": (FLOAT, [1])}
    names = ["x", "w"] if bias is None else ["x", "w", "b" if bias == "computed" else "c"]
    nodes.append(node("Gemm", names, ["y"], transA=trans_a, transB=trans_b, alpha=0.5, beta=3.0))
    model = build(nodes, inputs, ["y"], weights)
    prepared = check(model, rtol=1e-5, piece_bytes=piece_bytes)
    cut = piece_bytes == TINY and bias != "computed"
    assert kinds(prepared).count("Gemm") == (3 if cut else 1)
    flipped = rows >= 8 and bias not in {"rows", "full", "computed"}
    assert ("Transpose" in kinds(prepared)) == flipped


def test_gemm_in_the_first_form_is_left_alone(check, build):
    weights = {"w": floats(130, 20), "c": floats(130)}
    model = build(
        [node("Gemm", ["x", "w", "c"], ["y"], transB=1)], {"x": (FLOAT, [1, 20])}, ["y"], weights
    )
    prepared = check(model)  # every bit
    assert kinds(prepared) == ["Gemm"]
    assert set(prepared.graph.weight_bytes) == {"w"}


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("activation", ["Relu", "LeakyRelu", "HardSigmoid"])
def test_a_fused_activation_stays_in_every_piece(check, build, rows, activation):
    nodes = [
        node("Gemm", ["x", "w", "c"], ["g"]),
        node(activation, ["g"], ["y"], **({"alpha": 0.3} if activation != "Relu" else {})),
    ]
    weights = {"w": floats(20, 400), "c": floats(400)}
    model = build(nodes, {"x": (FLOAT, [rows, 20])}, ["y"], weights)
    prepared = check(model, rtol=1e-5, piece_bytes=TINY)
    assert kinds(prepared).count("FusedGemm") == 9


@pytest.mark.parametrize(
    "attributes",
    [
        {"alpha": 0.25},
        {"transB": 1, "alpha": 2.0},
        {"transA": 1},
        {"transA": 1, "transB": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("piece_bytes", [2**20, TINY], ids=["whole", "pieces"])
def test_fused_matmul_keeps_its_attributes(check, build, attributes, piece_bytes):
    shape = [2, 20, 9] if attributes.get("transA") else [2, 9, 20]
    weight = floats(130, 20) if attributes.get("transB") else floats(20, 130)
    nodes = [node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", **attributes)]
    model = build(nodes, {"x": (FLOAT, shape)}, ["y"], {"w": weight})
    check(model, rtol=1e-5, piece_bytes=piece_bytes)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.float16], ids=lambda t: t.__name__)
def test_other_types_are_cut_in_their_own_form(check, build, dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    weight = (floats(20, 400) * 4).astype(dtype)
    model = build(
        [node("MatMul", ["x", "w"], ["y"])], {"x": (kind, ["n", 20])}, ["y"], {"w": weight}
    )
    prepared = check(model, {"x": np.ones((3, 20), dtype)}, rtol=1e-3, piece_bytes=TINY)
    if dtype is not np.float16:  # that is computed as float, with casts around
        assert kinds(prepared).count("MatMul") > 2
        assert max(prepared.graph.weight_bytes.values()) <= TINY


def test_one_weight_of_two_products_is_stored_once(check, build):
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "w"], ["y"]),
    ]
    model = build(nodes, {"x": (FLOAT, [1, 40])}, ["y"], {"w": floats(40, 40) / 6})
    prepared = check(model, rtol=1e-5)
    assert list(prepared.graph.weight_bytes.values()) == [6400]


def test_a_weight_that_is_also_read_as_it_is_is_kept_too(check, build):
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "w"], ["y"])]
    model = build(nodes, {"x": (FLOAT, [1, 40])}, ["y"], {"w": floats(40, 40)})
    prepared = check(model, rtol=1e-5)
    assert sorted(prepared.graph.weight_bytes.values()) == [6400, 6400]


def test_products_of_two_weights_or_of_higher_rank_are_left_alone(check, build):
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    model = build(nodes, {"x": (FLOAT, [3, 1, 20])}, ["y"], {"w": floats(3, 20, 40)})
    prepared = check(model)
    assert kinds(prepared) == ["MatMul"]


def test_names_that_are_taken_are_not_taken_again(check, build):
    nodes = [node("MatMul", ["x", "w"], ["w.T"]), node("Relu", ["w.T"], ["w.T.0"])]
    model = build(nodes, {"x": (FLOAT, [9, 20])}, ["w.T.0"], {"w": floats(20, 200)})
    check(model, rtol=1e-5, piece_bytes=TINY)


def test_cutting_at_blocks_does_not_change_bits(check, build):
    weights = {"w": floats(1000, 300), "c": floats(1000)}
    nodes = [node("Gemm", ["x", "w", "c"], ["y"], transB=1)]
    check(build(nodes, {"x": (FLOAT, [1, 300])}, ["y"], weights), piece_bytes=2**17)


@given(
    n_rows=st.integers(1, 5000),
    row_bytes=st.integers(1, 3000),
    piece_bytes=st.integers(1, 100_000),
    block=st.sampled_from([1, 16]),
)
def test_spans_cover_all_rows_in_order_within_the_limit(n_rows, row_bytes, piece_bytes, block):
    found = spans(n_rows, row_bytes, piece_bytes, block)
    assert found[0][0] == 0
    assert found[-1][1] == n_rows
    assert all(one[1] == other[0] for one, other in pairwise(found))
    lengths = [stop - start for start, stop in found]
    assert all(length % block == 0 for length in lengths[:-1])
    assert len(set(lengths[:-1])) <= 1
    assert 0 < lengths[-1] <= lengths[0]
    assert all(length * row_bytes <= max(piece_bytes, block * row_bytes) for length in lengths)
