"""Tools of the tests that take models apart: build one, cut it, run it in pieces."""

from __future__ import annotations

import os
from itertools import pairwise

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from inferonnx.model import Prepared, prepare
from inferonnx.model.values import (
    fetch,
    is_opaque,
    numpy_value,
    run_whole,
    tensor_value,
    weight_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

onnxruntime.set_default_logger_severity(4)


def build(
    nodes: Iterable[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Any]],
    outputs: Iterable[str],
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    ir_version: int = 8,
    domains: Iterable[tuple[str, int]] = (("com.microsoft", 1),),
    **rest: Any,
) -> onnx.ModelProto:
    """Return a model; inputs are (element type, dims) by name, outputs have no declared type."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*d) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **rest)


def options(*, optimise: bool, prepack: bool = True) -> onnxruntime.SessionOptions:
    """Return the options of plain onnxruntime, or of a partition."""
    made = onnxruntime.SessionOptions()
    made.log_severity_level = 4
    made.intra_op_num_threads = 1
    if not optimise:
        made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not prepack:
        made.add_session_config_entry("session.disable_prepacking", "1")
    return made


def open_session(model: str | bytes, chosen: onnxruntime.SessionOptions) -> Any:
    return onnxruntime.InferenceSession(model, chosen, providers=["CPUExecutionProvider"])


def run_plain(path: str, feed: Mapping[str, Any], *, prepack: bool) -> dict[str, Any]:
    """Return all outputs of plain onnxruntime."""
    session = open_session(path, options(optimise=True, prepack=prepack))
    return run_whole(session, feed)


def chain(prepared: Prepared, cuts: Iterable[int], feed: Mapping[str, Any]) -> dict[str, Any]:
    """Run the partitions between `cuts` one after another and return the graph's outputs.

    Weights are inputs whose bytes come from `Prepared.weight`, as in the engine.
    """
    n_nodes = len(prepared.graph.nodes)
    edges = [0, *(cut for cut in cuts if cut not in prepared.uncuttable), n_nodes]
    live = dict(feed)
    for start, stop in pairwise(edges):
        if start == stop:
            continue
        skeleton = prepared.skeleton(start, stop)
        session = open_session(skeleton.model, options(optimise=False))
        assert [v.name for v in session.get_inputs()] == [*skeleton.inputs, *skeleton.weights]
        assert [v.name for v in session.get_outputs()] == list(skeleton.outputs)
        feeds = {name: live[name] for name in skeleton.inputs if live.get(name) is not None}
        for name in skeleton.weights:
            data = prepared.weight(name)
            assert len(data.data) == prepared.graph.weight_bytes[name]
            feeds[name] = weight_value(prepared._open_draft().weights[name])
        names = list(skeleton.outputs)
        feeds = {name: tensor_value(value) for name, value in feeds.items()}
        results = [
            numpy_or_opaque(session, feeds, n, v) for n, v in fetch(session, names, feeds).items()
        ]
        live.update(zip(names, results, strict=True))
    return {name: live.get(name) for name in prepared.graph.outputs}


def numpy_or_opaque(session: Any, feeds: Mapping[str, Any], name: str, value: Any) -> Any:
    """Return a tensor as array, a sequence or map as Python's."""
    return session.run([name], feeds)[0] if is_opaque(value) else numpy_value(value)


def same(got: Any, want: Any, rtol: float) -> bool:
    """Return whether two values agree: in every bit if `rtol` is zero."""
    if isinstance(want, np.ndarray):
        if got.dtype != want.dtype or got.shape != want.shape:
            return False
        if want.dtype.kind not in "fc" or rtol == 0:
            equal_nan = want.dtype.kind in "fc"
            return bool(np.array_equal(got, want, equal_nan=equal_nan))
        scale = float(np.abs(want[np.isfinite(want)]).max(initial=0))
        return bool(np.allclose(got, want, rtol=rtol, atol=rtol * scale, equal_nan=True))
    if isinstance(want, dict):
        return got.keys() == want.keys() and all(same(got[k], want[k], rtol) for k in want)
    if isinstance(want, list):
        return len(got) == len(want) and all(
            same(g, w, rtol) for g, w in zip(got, want, strict=True)
        )
    return bool(got == want)


def every_way(prepared: Prepared) -> Iterable[list[int]]:
    """Yield no cut, each cut alone (of many, every few), and all cuts at once."""
    n_nodes = len(prepared.graph.nodes)
    yield []
    for cut in range(1, n_nodes, 1 + n_nodes // 16):
        yield [cut]
    yield list(range(1, n_nodes))


@pytest.fixture(name="build")
def build_fixture() -> Callable[..., onnx.ModelProto]:
    """Return `build`."""
    return build


@pytest.fixture
def cut() -> Callable[..., dict[str, Any]]:
    """Return `chain`."""
    return chain


@pytest.fixture
def save(tmp_path: Path) -> Callable[[onnx.ModelProto], str]:
    """Return a function that writes a model to a file of its own."""

    def write(model: onnx.ModelProto, name: str = "model.onnx") -> str:
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return str(path)

    return write


@pytest.fixture
def check(save: Callable[[onnx.ModelProto], str]) -> Callable[..., Prepared]:
    """Return a function that takes a model apart in every way and compares the answers.

    It returns the prepared model, which stays open. `rtol` zero means every bit.
    """

    def run(
        model: onnx.ModelProto | str,
        feed: Mapping[str, Any] | None = None,
        *,
        rtol: float = 0,
        other_feeds: Iterable[Mapping[str, Any]] = (),
        **arguments: Any,
    ) -> Prepared:
        path = model if isinstance(model, str) else save(model)
        prepared = prepare(path, sample=feed, **arguments)
        for given in (prepared.sample, *other_feeds):
            want = run_plain(path, given, prepack=False)
            for cuts in every_way(prepared):
                got = chain(prepared, cuts, given)
                for name, value in want.items():
                    assert same(got[name], value, rtol), (name, cuts, got[name], value)
        return prepared

    return run
