"""A model taken apart: its figures, its skeletons, what can't be an input, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inferonnx.errors import ModelError, PlanError, UsageError
from inferonnx.model import measure, prepare, walk

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
node = helper.make_node


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def mlp(build):
    nodes = [
        node("Gemm", ["x", "w1", "b1"], ["h"], transB=1, name="up"),
        node("Erf", ["h"], ["e"], name="bend"),
        node("Gemm", ["e", "w2"], ["y"], transB=1, name="down"),
    ]
    weights = {"w1": floats(40, 20, seed=1), "b1": floats(40, seed=2), "w2": floats(30, 40, seed=3)}
    return build(nodes, {"x": (FLOAT, ["n", 20])}, ["y"], weights)


def test_the_graph_holds_names_bytes_and_times(save, mlp):
    with prepare(save(mlp), sample={"x": floats(3, 20)}) as prepared:
        graph = prepared.graph
        assert [n.name for n in graph.nodes] == ["up", "bend", "down"]
        assert [n.weights for n in graph.nodes] == [("w1",), (), ("w2",)]
        assert [n.inputs for n in graph.nodes] == [("x",), ("h",), ("e",)]
        assert graph.weight_bytes == {"w1": 3200, "w2": 4800}
        assert graph.value_bytes == {"x": 240, "h": 480, "e": 480, "y": 360}
        assert all(0 < t < 1 for t in graph.times_s)
        assert prepared.shapes == {"x": (3, 20), "h": (3, 40), "e": (3, 40), "y": (3, 30)}
        assert (prepared.layout, prepared.probe) == ("generic", None)


def test_a_skeleton_is_small_and_holds_nothing_for_people(save, mlp):
    mlp.graph.doc_string = mlp.doc_string = mlp.graph.node[0].doc_string = "a trade secret"
    with prepare(save(mlp)) as prepared:
        skeleton = prepared.skeleton(0, 2)
        assert (skeleton.inputs, skeleton.outputs, skeleton.weights) == (("x",), ("e",), ("w1",))
        model = onnx.load_model_from_string(skeleton.model)
        assert len(skeleton.model) < 500
        assert b"trade secret" not in skeleton.model
        assert [n.name for n in model.graph.node] == ["", ""]
        assert [t.name for t in model.graph.initializer] == ["b1"]
        assert not model.graph.value_info
        assert {entry.domain for entry in model.opset_import} == {""}
        kinds = {v.name: v.type.tensor_type for v in model.graph.input}
        assert [d.dim_value for d in kinds["w1"].shape.dim] == [40, 20]
        assert [d.WhichOneof("value") for d in kinds["x"].shape.dim] == [None, "dim_value"]


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (2, 1), (-1, 2), (0, 4)])
def test_a_range_that_is_no_partition_is_refused(save, mlp, start, stop):
    with prepare(save(mlp)) as prepared, pytest.raises(PlanError):
        prepared.skeleton(start, stop)


def test_inline_bytes_decide_what_is_streamed(save, mlp):
    for limit, names in (
        (0, {"w1", "w2", "b1"}),
        (160, {"w1", "w2"}),
        (3200, {"w2"}),
        (4800, set()),
    ):
        with prepare(save(mlp), inline_bytes=limit) as prepared:
            assert set(prepared.graph.weight_bytes) == names


def test_pinned_weights_become_constants(save, mlp, cut):
    with prepare(save(mlp)) as prepared:
        prepared.pin_constant(["w1"])
        assert prepared.graph.weight_bytes == {"w2": 4800}
        assert prepared.graph.nodes[0].weights == ()
        skeleton = prepared.skeleton(0, 1)
        assert skeleton.weights == ()
        model = onnx.load_model_from_string(skeleton.model)
        pinned = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}["w1"]
        assert np.array_equal(pinned, floats(40, 20, seed=1))
        got = cut(prepared, [1, 2], prepared.sample)
        assert np.allclose(got["y"], prepared.expected["y"], rtol=1e-5, atol=1e-5)
        with pytest.raises(UsageError, match="no weight 'w1'"):
            prepared.weight("w1")
        with pytest.raises(UsageError, match="no weight 'zz'"):
            prepared.pin_constant(["zz"])


def test_a_closed_model_gives_nothing(save, mlp):
    with prepare(save(mlp)) as prepared:
        pass
    with pytest.raises(UsageError, match="closed"):
        prepared.weight("w1")
    with pytest.raises(UsageError, match="closed"):
        prepared.skeleton(0, 1)


def test_unknown_layouts_and_dims_are_refused(save, mlp):
    with pytest.raises(UsageError, match="no layout 'avx9'"):
        prepare(save(mlp), layout="avx9")
    with pytest.raises(UsageError, match="no dim 'm'"):
        prepare(save(mlp), dims={"m": 3})


def test_progress_is_told(save, mlp):
    said: list[str] = []
    with prepare(save(mlp), progress=said.append):
        pass
    assert said[0] == "reading the model"
    assert said[-1] == "measuring times"


def refuse_as_inputs(monkeypatch, refused):
    """Let onnxruntime refuse sessions in which one of these weights is an input."""
    real = walk.open_session

    def open_session(model, options):
        names = {value.name for value in onnx.load_model_from_string(model).graph.input}
        if names & refused:
            raise RuntimeError("this operator takes its weight only as a constant")
        return real(model, options)

    monkeypatch.setattr(walk, "open_session", open_session)


def test_a_weight_that_is_refused_as_input_is_pinned(save, mlp, cut, monkeypatch):
    refuse_as_inputs(monkeypatch, {"w2"})
    with prepare(save(mlp)) as prepared:
        assert set(prepared.graph.weight_bytes) == {"w1"}
        assert any("'w2', 4800 bytes, is not streamed" in note for note in prepared.notes)
        got = cut(prepared, [1, 2], prepared.sample)
        assert np.allclose(got["y"], prepared.expected["y"], rtol=1e-5, atol=1e-5)


def test_only_the_refused_one_of_several_weights_is_pinned(save, mlp, monkeypatch):
    refuse_as_inputs(monkeypatch, {"b1"})
    with prepare(save(mlp), inline_bytes=0) as prepared:
        assert set(prepared.graph.weight_bytes) == {"w1", "w2"}


def test_a_node_that_is_refused_altogether_is_named(save, mlp, monkeypatch):
    refuse_as_inputs(monkeypatch, {"h"})
    monkeypatch.setattr(measure, "COUNTED_NODES", 1)
    with pytest.raises(ModelError, match="does not run node 'bend' by itself"):
        prepare(save(mlp))


def test_a_weight_with_which_another_answer_comes_out_is_pinned(save, mlp, monkeypatch):
    real = walk.weight_value

    def spoilt(weight):
        zeros = np.zeros_like(weight.stored)
        return real(replace(weight, stored=zeros) if weight.shape == (30, 40) else weight)

    monkeypatch.setattr(walk, "weight_value", spoilt)
    with prepare(save(mlp)) as prepared:
        assert set(prepared.graph.weight_bytes) == {"w1"}


def test_an_answer_that_nothing_explains_is_an_error(save, mlp, monkeypatch):
    from inferonnx.model.prepare import run_whole

    def other(session, sample):
        return {name: value + 1 for name, value in run_whole(session, sample).items()}

    monkeypatch.setattr(sys.modules["inferonnx.model.prepare"], "run_whole", other)
    with pytest.raises(ModelError, match="computes another 'y'"):
        prepare(save(mlp))


def test_an_index_that_rounding_turns_is_only_noted(build, save, monkeypatch):
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("ArgMax", ["m"], ["y"], axis=1)]
    model = build(nodes, {"x": (FLOAT, [1, 20])}, ["y"], {"w": floats(20, 30)})
    real = sys.modules["inferonnx.model.prepare"].run_whole

    def other(session, sample):
        return {name: value + 1 for name, value in real(session, sample).items()}

    monkeypatch.setattr(sys.modules["inferonnx.model.prepare"], "run_whole", other)
    with prepare(save(model)) as prepared:
        assert any("output 'y' differs" in note for note in prepared.notes)


@pytest.mark.parametrize("seed", [{}, {"seed": 7.0}], ids=["no seed", "seed"])
def test_random_numbers_are_no_error(build, save, seed):
    """Without a seed, onnxruntime takes one from the node's place, and cutting moves it."""
    nodes = [node("Tanh", ["x"], ["v0"])]
    nodes += [node("Erf", [f"v{i}"], [f"v{i + 1}"]) for i in range(11)]
    nodes += [node("RandomNormalLike", ["v11"], ["r"], **seed), node("Add", ["r", "w"], ["y"])]
    model = build(nodes, {"x": (FLOAT, [400])}, ["y"], {"w": floats(400)})
    with prepare(save(model)) as prepared:
        assert len(prepared.graph.nodes) == 14
        assert any("random numbers" in note for note in prepared.notes) == (not seed)


def test_nothing_is_left_in_folders(save, mlp, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    with prepare(save(mlp)) as prepared:
        prepared.weight("w1")
        own = f"inferonnx-{os.getpid()}-"
        assert not [name for name in os.listdir("/dev/shm") if name.startswith(own)]
    assert not list((tmp_path / "empty").iterdir())


def test_nothing_is_left_when_the_process_is_killed(save, mlp, tmp_path):
    """The optimised weights lie in files without a name: they end with the process."""
    program = textwrap.dedent(
        """
        import sys, time
        from inferonnx.model import prepare
        prepared = prepare(sys.argv[1])
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, save(mlp)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "(deleted)" in maps
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx"]
    own = f"inferonnx-{process.pid}-"
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(own)]
