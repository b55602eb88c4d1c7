"""Gather from tables cut into row ranges: exact for every index, an error for every wrong one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
node = helper.make_node

TINY = 4096


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


@pytest.fixture
def lookup(build):
    """Return a function that builds a model with one Gather."""

    def make(
        table: np.ndarray[Any, Any], kind: int = INT64, rank: int = 2, opset: int = 17, **extra: Any
    ) -> onnx.ModelProto:
        dims = [f"d{i}" for i in range(rank)]
        return build(
            [node("Gather", ["t", "i"], ["y"], **extra)],
            {"i": (kind, dims)},
            ["y"],
            {"t": table},
            opset=opset,
        )

    return make


@pytest.mark.parametrize("kind", [INT64, INT32])
@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1000, 7), (333, 5, 3), (5000,), (3, 2000)], ids=str)
def test_every_index_of_every_rank(check, lookup, shape, rank, kind):
    table = floats(*shape)
    every = np.arange(-shape[0], shape[0], dtype=np.int64 if kind == INT64 else np.int32)
    feeds = (
        [{"i": every.reshape((-1, *(1,) * (rank - 1)))}]
        if rank
        else [{"i": np.asarray(e)} for e in every[:: len(every) // 5]]
    )
    if rank:
        feeds.append({"i": every[:0].reshape((0,) * rank)})
    prepared = check(lookup(table, kind, rank), feeds[0], other_feeds=feeds[1:], piece_bytes=TINY)
    rows = [prepared.weight(name).shape[0] for name in prepared.graph.weight_bytes]
    assert sum(rows) == shape[0]
    assert max(prepared.graph.weight_bytes.values()) <= max(TINY, 4 * int(np.prod(shape[1:])))
    assert f"in {len(rows)} pieces" in prepared.notes[-1]


@pytest.mark.parametrize("index", [1000, -1001, 2**40, -(2**40)])
def test_an_index_outside_the_table_is_still_an_error(check, lookup, cut, index):
    prepared = check(lookup(floats(1000, 7)), {"i": np.array([[0, 5]])}, piece_bytes=TINY)
    assert len(prepared.graph.weight_bytes) == 7
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        cut(prepared, [], {"i": np.array([[3, index]])})


@pytest.mark.parametrize(
    "dtype",
    [np.float64, np.int32, np.int64, np.uint8, np.int8, np.int16, np.uint16, np.uint32, np.float16],
    ids=lambda t: t.__name__,
)
def test_tables_of_other_types(check, lookup, dtype):
    table = (floats(3000, 3) * 40).astype(dtype)
    prepared = check(lookup(table), {"i": np.array([[0, -1, 1500, 2999]])}, piece_bytes=TINY)
    assert len(prepared.graph.weight_bytes) > 2


@pytest.mark.parametrize("opset", [10, 11, 12, 13, 21])
def test_operator_sets_with_their_own_unsqueeze(check, lookup, opset):
    model = lookup(floats(1000, 7), opset=opset)
    assert len(check(model, piece_bytes=TINY).graph.weight_bytes) == 7


@pytest.mark.parametrize(
    ("table", "extra"),
    [
        (floats(7, 1000), {"axis": 1}),
        (floats(1000, 7), {"opset": 9}),
        ((floats(100, 100) > 0), {}),
        (floats(1, 2000), {}),
    ],
    ids=["other axis", "old opset", "bool", "one row"],
)
def test_what_cannot_be_cut_stays_whole(check, lookup, table, extra):
    prepared = check(lookup(table, **extra), piece_bytes=TINY)
    assert len(prepared.graph.weight_bytes) == 1


def test_a_small_table_stays_whole(check, lookup):
    prepared = check(lookup(floats(1000, 7)))
    assert [n.op_type for n in prepared.graph.nodes] == ["Gather"]


def test_which_pieces_are_read_does_not_depend_on_the_indices(check, lookup):
    """Every partition is run and reads its weights; nothing is conditional."""
    prepared = check(lookup(floats(1000, 7)), piece_bytes=TINY)
    assert not {n.op_type for n in prepared.graph.nodes} & {"If", "Loop", "Scan"}


def test_a_constant_index(check, build):
    nodes = [node("Gather", ["t", "i"], ["g"]), node("Mul", ["g", "x"], ["y"])]
    weights = {"t": floats(1000, 7), "i": np.array([5, -5, 999])}
    model = build(nodes, {"x": (FLOAT, [1])}, ["y"], weights)
    check(model, piece_bytes=TINY, layout="generic")
