"""The fused embedding of transformers: its word table in pieces, every bit the same."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

INT32 = TensorProto.INT32
node = helper.make_node
WORDS, WIDTH = 700, 16


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("opset", [11, 14, 17])
@pytest.mark.parametrize("with_mask", [False, True])
def test_word_tables_are_cut(check, build, opset, with_mask):
    weights = {
        "words": floats(WORDS, WIDTH, seed=1),
        "places": floats(40, WIDTH, seed=2),
        "kinds": floats(2, WIDTH, seed=3),
        "gamma": floats(WIDTH, seed=4),
        "beta": floats(WIDTH, seed=5),
    }
    inputs = {"ids": (INT32, ["b", "s"]), "seg": (INT32, ["b", "s"])}
    names = ["ids", "seg", "words", "places", "kinds", "gamma", "beta"]
    if with_mask:
        inputs["mask"] = (INT32, ["b", "s"])
        names.append("mask")
    nodes = [
        node("EmbedLayerNormalization", names, ["e", "at"], domain="com.microsoft"),
        node("Relu", ["e"], ["y"]),
    ]
    model = build(nodes, inputs, ["y", "at"], weights, opset=opset)
    rng = np.random.default_rng(0)
    feeds = [
        {
            "ids": rng.integers(0, WORDS, shape).astype(np.int32),
            "seg": rng.integers(0, 2, shape).astype(np.int32),
            "mask": np.ones(shape, np.int32),
        }
        for shape in ((2, 9), (1, 1), (3, 40))
    ]
    for feed in feeds:
        if not with_mask:
            del feed["mask"]
    prepared = check(model, feeds[0], other_feeds=feeds[1:], piece_bytes=4096)
    assert max(prepared.graph.weight_bytes.values()) <= 4096
    assert sum(n.op_type == "Gather" for n in prepared.graph.nodes) == 11
    assert any("in 11 pieces" in note for note in prepared.notes)


def test_a_small_word_table_stays(check, build):
    weights = {
        "words": floats(WORDS, WIDTH, seed=1),
        "places": floats(40, WIDTH, seed=2),
        "gamma": floats(WIDTH, seed=4),
        "beta": floats(WIDTH, seed=5),
    }
    names = ["ids", "", "words", "places", "", "gamma", "beta"]
    nodes = [node("EmbedLayerNormalization", names, ["y", "at"], domain="com.microsoft")]
    model = build(nodes, {"ids": (INT32, ["b", "s"])}, ["y"], weights)
    prepared = check(model, {"ids": np.array([[5, 0, 699]], np.int32)})
    assert len(prepared.graph.nodes) == 1
