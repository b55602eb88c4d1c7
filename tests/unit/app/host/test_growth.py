"""Inputs larger than planned: refused in a sentence, or run within the budget; never neither."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import inferonnx
from inferonnx.app.host.growth import Powers, growth, powers
from inferonnx.errors import ExitCode
from inferonnx.sealed import ValueInfo


def values(*shapes):
    return [
        ValueInfo(name=f"v{i}", type="tensor(float)", shape=shape) for i, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize(
    ("inputs", "outputs", "first", "others"),
    [
        ([("n", 3, 8, 8)], [("n", 10)], 1, 2),
        ([("n", 3, 8, 8)], [("unk__1", 10), ("unk__2",)], 1, 2),
        ([("n", "seq")], [("n", "seq", "seq")], 1, 2),
        ([("n", "seq"), ("n", 4, "past", 64)], [("n", 4, "total", 64)], 1, 2),
        ([(None, 3, None, None)], [(None, 1, None, None)], 1, 2),
        ([(1, "n")], [(1, "n", "n", "n")], 3, 3),
        ([("n",)], [("n", "n")], 2, 2),  # an outer product
        ([("n",)], [("n", "n", "n")], 3, 3),
        ([(None,)], [(None, None)], 2, 2),
        ([("n",)], [("n", "m")], 2, 2),  # m can be made of n alone
        ([("n", 4)], [()], 2, 2),  # nothing tells what was within
        ([("n", 4)], [None], 2, 2),
        ([("n", 4)], [(1, 4)], 2, 2),
        ([("n", 4)], [("n", 4), ("n", "n")], 2, 2),
    ],
)
def test_what_declared_shapes_show(inputs, outputs, first, others):
    assert powers(values(*inputs), values(*outputs)) == Powers(first, others)


def test_rows_that_are_independent_are_a_batch_whatever_shapes_show():
    inputs, outputs = values(("n", 4)), values(("n", "m"), ("n", "k"))
    assert powers(inputs, outputs) == Powers(2, 2)
    assert powers(inputs, outputs, rows_independent=True) == Powers(1, 2)


@pytest.mark.parametrize(
    ("shape", "first", "factor"),
    [
        ((1, 3, 16, 16), 1, 1),
        ((1, 3, 8, 8), 1, 1),
        ((4, 3, 16, 16), 1, 4),
        ((4, 3, 16, 16), 2, 16),
        ((1, 3, 32, 16), 1, 4),
        ((2, 3, 32, 32), 1, 2 * 4 * 1),
        ((2, 3, 32, 24), 1, 2 * 4 * 2.25),
        ((16, 16), 1, 1),
        ((4, 16, 16, 16, 3), 1, 64**2),
    ],
)
def test_how_larger_inputs_are_reckoned(shape, first, factor):
    assert growth({"x": shape}, {"x": (1, 3, 16, 16)}, Powers(first, 2)) == factor


def test_two_inputs_that_grow_apart_multiply():
    shapes, planned = {"a": (1, 20), "b": (1, 30)}, {"a": (1, 10), "b": (1, 10)}
    assert growth(shapes, planned, Powers(1, 2)) == 4 * 9
    shapes, planned = {"a": (20,), "b": (30,)}, {"a": (10,), "b": (10,)}
    assert growth(shapes, planned, Powers(1, 2)) == 4 * 9


def info(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def constant(name, value, dtype=np.int64):
    return numpy_helper.from_array(np.array(value, dtype), name)


def stacking(output):
    """Nodes of a loop as long as x that stacks x as often."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Identity", ["x"], ["row"]),
        ],
        "body",
        [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL)],
        [info("on", [], TensorProto.BOOL), info("row", ["n"])],
    )
    return [
        helper.make_node("Shape", ["x"], ["length"]),
        helper.make_node("Squeeze", ["length"], ["trip"]),
        helper.make_node("Loop", ["trip", ""], [output], body=body),
    ]


MODELS = {
    "an output of the square": (
        [
            helper.make_node("Unsqueeze", ["x", "one"], ["column"]),
            helper.make_node("Unsqueeze", ["x", "zero"], ["line"]),
            helper.make_node("MatMul", ["column", "line"], ["y"]),
        ],
        ["n"],
        info("y", ["n", "n"]),
        [constant("one", [1]), constant("zero", [0])],
    ),
    "a loop that stacks its output": (stacking("y"), ["n"], info("y", ["n", "n"]), []),
    "a loop that stacks within": (
        [*stacking("stack"), helper.make_node("ReduceSum", ["stack"], ["y"], keepdims=0)],
        ["n"],
        info("y", []),
        [],
    ),
    "the square of another axis": (
        [
            helper.make_node("Unsqueeze", ["x", "two"], ["column"]),
            helper.make_node("Unsqueeze", ["x", "one"], ["line"]),
            helper.make_node("MatMul", ["column", "line"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["y"]),
        ],
        [1, "n"],
        info("y", [1, "n", "n"]),
        [constant("one", [1]), constant("two", [2])],
    ),
    "a batch": (
        [helper.make_node("Expand", ["x", "wide"], ["e"]), helper.make_node("Relu", ["e"], ["y"])],
        ["n", 1],
        info("y", ["n", 1024]),
        [constant("wide", [1, 1024])],
    ),
}
PLANNED = 1024


@pytest.fixture(scope="module")
def key(key_path):
    return inferonnx.Key.load(key_path)


@pytest.fixture(scope="module", params=list(MODELS))
def sealed_growing(request, key, tmp_path_factory):
    """A model beside four weights of 4 MiB, planned for n = 1024; and the shape of x."""
    nodes, shape, output, constants = MODELS[request.param]
    rng = np.random.default_rng(5)
    weights = [
        numpy_helper.from_array(rng.standard_normal((1024, 1024)).astype(np.float32), f"w{i}")
        for i in range(4)
    ]
    chain = [helper.make_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(4)]
    graph = helper.make_graph(
        [*nodes, *chain],
        "g",
        [info("x", shape), info("v0", ["m", 1024])],
        [output, info("v4", ["m", 1024])],
        [*constants, *weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    folder = tmp_path_factory.mktemp("growing")
    onnx.save(model, folder / "m.onnx")
    inferonnx.seal(
        *(folder / "m.onnx", folder / "m.sealed"),
        key=key,
        memory="160MiB",
        dims={"n": PLANNED, "m": 1},
    )
    return folder / "m.sealed", shape


GROW = """
import json, sys
from math import prod
import inferonnx
from inferonnx.errors import InfeasibleBudgetError
from inferonnx.runtime.process import peak_resident_bytes
from inferonnx.tensors import DType, Tensor

path, key, memory, shape = sys.argv[1:]
key = inferonnx.Key.load(key)
if memory == "least":
    try:
        inferonnx.open(path, key=key, memory="1MiB", as_numpy=False)
    except InfeasibleBudgetError as error:
        memory = error.needed_bytes + (1 << 20)

def zeros(*shape):
    return Tensor(dtype=DType.FLOAT, shape=shape, data=memoryview(bytes(4 * prod(shape))))

ends = []
with inferonnx.open(path, key=key, memory=memory, as_numpy=False) as session:
    figures = session.figures
    n = 1024
    while len(ends) < 40:
        x = zeros(*(n if axis == "n" else axis for axis in json.loads(shape)))
        try:
            session.run(None, {"x": x, "v0": zeros(1, 1024)})
            ends.append([n, True, peak_resident_bytes()])
        except InfeasibleBudgetError as error:
            assert "larger than the model was planned for" in error.message
            assert error.needed_bytes > figures.budget_bytes
            ends.append([n, False, peak_resident_bytes()])
            break
        n = n * 9 // 8
    # It goes on with what was planned.
    session.run(None, {"x": zeros(*(1024 if a == "n" else a for a in json.loads(shape))),
                       "v0": zeros(1, 1024)})
print(json.dumps({"ends": ends, "peak": peak_resident_bytes(), **figures._asdict()}))
"""


@pytest.mark.parametrize("memory", ["least", "160MiB"])
def test_larger_inputs_are_refused_or_kept_in_the_budget(sealed_growing, key_path, memory):
    path, shape = sealed_growing
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-c", GROW),
            *(str(path), str(key_path), memory, json.dumps(shape)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["peak"] <= facts["budget_bytes"]
    sizes = [n for n, ran, _ in facts["ends"] if ran]
    assert sizes[0] == PLANNED
    assert not facts["ends"][-1][1]  # in the end it was refused
    if memory == "least":
        assert facts["streamed_bytes"] > 0
    else:
        assert sizes[-1] > PLANNED  # and not everything is


SIZES = """
import json, random, sys, threading
from math import prod
import inferonnx
from inferonnx.errors import InfeasibleBudgetError
from inferonnx.runtime.process import peak_resident_bytes
from inferonnx.tensors import DType, Tensor

path, key, memory, shape, concurrency = sys.argv[1:]
key, concurrency = inferonnx.Key.load(key), int(concurrency)
how = {"key": key, "as_numpy": False, "concurrency": concurrency}
if memory == "least":
    try:
        inferonnx.open(path, memory="1MiB", **how)
    except InfeasibleBudgetError as error:
        memory = error.needed_bytes + (1 << 20)
    while True:  # until all callers share
        with inferonnx.open(path, memory=memory, **how) as session:
            if session.figures.concurrency == concurrency:
                break
        memory += 1 << 18
if memory == "all":
    with inferonnx.open(path, memory="1GiB", **how) as session:
        memory = session.figures.peak_bytes + (1 << 20)

def zeros(*shape):
    return Tensor(dtype=DType.FLOAT, shape=shape, data=memoryview(bytes(4 * prod(shape))))

rising = [32]
while rising[-1] < 1024:
    rising.append(min(1024, rising[-1] * 9 // 8))
with inferonnx.open(path, memory=memory, **how) as session:
    def call(seed):
        for n in [*rising, *(random.Random(seed).randint(1, 1024) for _ in range(60))]:
            x = zeros(*(n if axis == "n" else axis for axis in json.loads(shape)))
            session.run(None, {"x": x, "v0": zeros(1, 1024)})
    threads = [threading.Thread(target=call, args=(i,)) for i in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = session.figures
print(json.dumps({"peak": peak_resident_bytes(), **figures._asdict()}))
"""


@pytest.mark.parametrize("memory", ["least", "all"])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_inputs_of_many_sizes_do_not_add_up(sealed_growing, key_path, memory, concurrency):
    path, shape = sealed_growing
    words = [memory, json.dumps(shape), str(concurrency)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", SIZES, str(path), str(key_path), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["peak"] <= facts["budget_bytes"]
    assert (facts["streamed_bytes"] > 0) == (memory == "least")
    assert facts["n_parallel"] == (concurrency if memory == "all" else 1)


def test_an_output_that_grows_with_a_value_is_told_afterwards(key, key_path, tmp_path):
    """No shape shows it: the plan counts it as large as on the sample (docs/memory.md)."""
    nodes = [helper.make_node("Range", ["zero", "n", "one"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("n", [], TensorProto.INT64)],
        [info("y", ["m"], TensorProto.INT64)],
        [constant("zero", 0), constant("one", 1)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    sample = {"n": np.array(1000)}
    inferonnx.seal(
        tmp_path / "m.onnx", tmp_path / "m.sealed", key=key, memory="60MiB", sample=sample
    )
    for n, code in ((1000, ExitCode.DONE), (1 << 23, ExitCode.BUG)):
        np.savez(tmp_path / "in.npz", n=np.array(n))
        done = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "inferonnx", "run", str(tmp_path / "m.sealed")),
                *("--key", str(key_path), "--input", str(tmp_path / "in.npz"), "--json"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert ("above the budget" in done.stderr) == (code == ExitCode.BUG)
