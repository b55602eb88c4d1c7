"""Which first axes are found to be a batch; every model here takes any number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from inferonnx.model import prepare, rows
from inferonnx.model.rows import _drawn, are_free

FLOAT, INT64, BOOL, STRING = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.BOOL,
    TensorProto.STRING,
)
node = helper.make_node


def weight(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 4


def axes(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


@pytest.fixture
def tried(build, tmp_path):
    """Prepare a model of nodes, inputs and weights; return what was found and the notes on it."""

    def run(nodes, inputs, outputs=("y",), weights=None, sample=None, **rest):
        model = build(nodes, inputs, outputs, weights, **rest)
        for value in model.graph.output:  # declared, as exporters do
            if not value.HasField("type"):
                value.type.tensor_type.elem_type = FLOAT
        onnx.save(model, tmp_path / "m.onnx")
        with prepare(
            tmp_path / "m.onnx", sample=sample, layout="generic", try_batch=True
        ) as prepared:
            notes = [note for note in prepared.notes if "batched" in note]
            return prepared.rows_independent, notes

    return run


X = {"x": (FLOAT, ["batch", 6])}


def residual_net():
    weights = {"w0": weight(8, 3, 3, 3), "w1": weight(8, 8, 3, 3), "w2": weight(8, 10)}
    weights |= {f"bn{i}": np.abs(weight(8, seed=i)) + 0.5 for i in range(4)}
    nodes = [
        node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "bn0", "bn1", "bn2", "bn3"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("Conv", ["c", "w1"], ["d"], pads=[1, 1, 1, 1]),
        node("Add", ["c", "d"], ["e"]),
        node("GlobalAveragePool", ["e"], ["f"]),
        node("Flatten", ["f"], ["g"]),
        node("MatMul", ["g", "w2"], ["h"]),
        node("Softmax", ["h"], ["y"], axis=1),
    ]
    return nodes, {"x": (FLOAT, ["batch", 3, 8, 8])}, ("y",), weights


def embedding_net():
    weights = {"table": weight(50, 8), "one": axes(1), "two": axes(2), "scale": weight(8)}
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("Cast", ["mask"], ["m"], to=FLOAT),
        node("Unsqueeze", ["m", "two"], ["m1"]),
        node("Mul", ["e", "m1"], ["em"]),
        node("ReduceSum", ["em", "one"], ["s"], keepdims=0),
        node("Mul", ["s", "scale"], ["y"]),
    ]
    inputs = {"ids": (INT64, ["batch", "seq"]), "mask": (INT64, ["batch", "seq"])}
    return nodes, inputs, ("y",), weights


@pytest.mark.parametrize("net", [residual_net, embedding_net])
def test_a_batch_of_images_or_of_tokens_has_independent_rows(tried, net):
    assert tried(*net()) == (True, [])


@pytest.mark.parametrize("n_rows", [1, 5])
def test_a_sample_of_any_number_of_rows_will_do(tried, n_rows):
    nodes, inputs, outputs, weights = residual_net()
    sample = {"x": weight(n_rows, 3, 8, 8, seed=9)}
    assert tried(nodes, inputs, outputs, weights, sample) == (True, [])


def over_rows(op_type, **attributes):
    """x beside what `op_type` makes of all its rows: alone, each row has an answer of its own."""
    return [node(op_type, ["x"], ["m"], **attributes), node("Add", ["x", "m"], ["y"])]


DEPENDENT = {
    "mean": over_rows("ReduceMean", axes=[0]),
    "less the mean": [
        node("ReduceMean", ["x"], ["m"], axes=[0]),
        node("Sub", ["x", "m"], ["y"]),
    ],
    "softmax": [node("Softmax", ["x"], ["s"], axis=0), node("Mul", ["x", "s"], ["y"])],
    "softmax alone": [node("Softmax", ["x"], ["y"], axis=0)],
    "all elements": over_rows("ReduceMax", keepdims=0),
    "a little of the mean": [
        node("ReduceMean", ["x"], ["m"], axes=[0]),
        node("Constant", [], ["k"], value_float=1e-4),
        node("Mul", ["m", "k"], ["mk"]),
        node("Add", ["x", "mk"], ["y"]),
    ],
    "running sum": [
        node("Constant", [], ["zero"], value_int=0),
        node("CumSum", ["x", "zero"], ["y"]),
    ],
    "transposed": [
        node("Transpose", ["x"], ["t"], perm=[1, 0]),
        node("MatMul", ["x", "t"], ["xt"]),
        node("MatMul", ["xt", "x"], ["y"]),
    ],
    "first row": [
        node("Constant", [], ["zero"], value_ints=[0]),
        node("Gather", ["x", "zero"], ["first"]),
        node("Add", ["x", "first"], ["y"]),
    ],
    "pairs": [
        node("Constant", [], ["pairs"], value_ints=[-1, 12]),
        node("Reshape", ["x", "pairs"], ["y"]),
    ],
    "one answer for all": [node("ReduceMean", ["x"], ["y"], axes=[0])],
    "a sum of all": [node("ReduceSum", ["x"], ["y"], keepdims=0)],
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_rows_that_change_each_other_are_not_independent(tried, name):
    sample = {"x": weight(2 if name == "pairs" else 1, 6, seed=3)}
    independent, notes = tried(DEPENDENT[name], X, sample=sample)
    assert not independent
    if name not in ("one answer for all", "a sum of all", "transposed"):  # by their signature
        assert len(notes) == 1


def test_a_state_that_goes_from_row_to_row_is_seen(tried):
    weights = {"w": weight(1, 16, 6), "r": weight(1, 16, 4, seed=1)}
    nodes = [
        node("Unsqueeze", ["x", "one"], ["steps"]),  # (time, 1, 6): the first axis is time
        node("LSTM", ["steps", "w", "r"], ["all"], hidden_size=4),
        node("Squeeze", ["all", "both"], ["y"]),
    ]
    weights |= {"one": axes(1), "both": axes(1, 2)}
    independent, notes = tried(nodes, X, ("y",), weights)
    assert not independent
    assert "are not independent" in notes[0]


def test_what_mixes_rows_with_a_longer_axis_shows_though_the_sample_has_one_of_it(tried):
    nodes = [
        # As if an exporter had mixed up (batch, time) and (time, batch).
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "swap"], ["swapped"]),
        node("Reshape", ["x", "swapped"], ["t"]),
        node("CumSum", ["t", "zero"], ["sums"]),
        node("Reshape", ["sums", "shape"], ["y"]),
    ]
    weights = {"swap": axes(1, 0), "zero": np.array(0, np.int64)}
    inputs = {"x": (FLOAT, ["batch", "time"])}
    sample = {"x": weight(1, 1, seed=3)}
    independent, notes = tried(nodes, inputs, ("y",), weights, sample)
    assert not independent
    assert "are not independent" in notes[0]
    # Over time alone, in the same dress, they are.
    nodes[2:4] = [node("CumSum", ["x", "one"], ["sums"])]
    weights["one"] = np.array(1, np.int64)
    assert tried(nodes, inputs, ("y",), weights, sample) == (True, [])


def test_integers_are_varied_where_the_sample_has_one_alone(tried):
    # A mean of ones is one: rows that were all alike would show nothing.
    nodes = [
        node("Cast", ["x"], ["f"], to=FLOAT),
        node("ReduceMean", ["f"], ["m"], axes=[0]),
        node("Add", ["f", "m"], ["y"]),
    ]
    assert tried(nodes, {"x": (INT64, ["batch", 6])}) == (
        False,
        ["requests are not batched: the rows of a batch are not independent"],
    )
    assert tried([node("Cast", ["x"], ["y"], to=FLOAT)], {"x": (INT64, ["batch", 6])})[0]


def test_indices_that_a_table_does_not_have_are_no_reason(tried):
    nodes = [node("Gather", ["table", "x"], ["e"]), node("Flatten", ["e"], ["y"])]
    for n_entries in (2, 3):
        weights = {"table": weight(n_entries, 4)}
        assert tried(nodes, {"x": (INT64, ["batch", 6])}, ("y",), weights) == (True, [])


def test_strings_and_bools_are_rows_like_any_other(tried):
    nodes = [
        node(
            "LabelEncoder",
            ["x"],
            ["y"],
            domain="ai.onnx.ml",
            keys_strings=["a", "the end"],
            values_floats=[1.0, 2.0],
            default_float=-1.0,
        )
    ]
    domains = [("ai.onnx.ml", 2)]
    assert tried(nodes, {"x": (STRING, ["batch", 8])}, domains=domains) == (True, [])
    nodes = [node("Cast", ["x"], ["y"], to=FLOAT)]
    assert tried(nodes, {"x": (BOOL, ["batch", 9])}) == (True, [])


def test_several_inputs_and_outputs_are_rows_together(tried):
    nodes = [
        node("Mul", ["x", "scale"], ["y"]),
        node("ReduceSum", ["x"], ["z"], keepdims=0),
    ]
    inputs = X | {"scale": (FLOAT, ["batch", 1])}
    assert tried(nodes[:1], inputs) == (True, [])
    assert not tried(nodes, inputs, ("y", "z"))[0]


@pytest.mark.parametrize("op_type", ["DynamicQuantizeLinear", "If", "NonZero"])
def test_operators_that_a_trial_may_not_show_are_named(tried, op_type):
    x = X
    if op_type == "DynamicQuantizeLinear":
        nodes = [
            node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
            node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ]
    elif op_type == "If":
        bodies = {}
        for name, kind in (("then_branch", "Relu"), ("else_branch", "Neg")):
            out = onnx.ValueInfoProto(name=f"{kind}_y")
            bodies[name] = helper.make_graph([node(kind, ["x"], [out.name])], kind, [], [out])
        nodes = [
            node("ReduceMax", ["x"], ["top"], keepdims=0),
            node("Constant", [], ["limit"], value_float=1e6),
            node("Greater", ["top", "limit"], ["huge"]),
            node("If", ["huge"], ["y"], **bodies),
        ]
    else:
        nodes = [
            node("NonZero", ["x"], ["at"]),
            node("Cast", ["at"], ["f"], to=FLOAT),
            node("Constant", [], ["flat"], value_ints=[0, 1]),
            node("ReduceMean", ["f"], ["m"], keepdims=0),
            node("Add", ["x", "m"], ["y"]),
        ]
    independent, notes = tried(nodes, x)
    assert not independent
    assert notes == [f"requests are not batched: {op_type} may look at several rows"]


@pytest.mark.parametrize(
    "kind", [np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64, np.complex128]
)
def test_the_largest_numbers_of_a_type_are_varied_too(kind):
    info = np.iinfo(kind) if np.issubdtype(kind, np.integer) else np.finfo(kind)
    sample = np.array([[info.min, info.max]], kind)
    drawn = rows._drawn(sample, sample, np.random.default_rng(1), (0, 3), 1.0)
    assert (drawn.dtype, drawn.shape) == (sample.dtype, sample.shape)
    assert drawn.tobytes() != sample.tobytes()


def test_a_slow_model_is_not_tried_and_the_owner_is_told(tried, monkeypatch):
    monkeypatch.setattr(rows, "SLOW_S", 0.0)
    independent, notes = tried(*residual_net())
    assert not independent
    assert "too long to try" in notes[0]


def test_a_model_that_gives_all_rows_one_answer_can_not_be_tried(tried):
    nodes = [
        node("Constant", [], ["zero"], value_float=0.0),
        node("Mul", ["x", "zero"], ["y"]),
    ]
    independent, notes = tried(nodes, X)
    assert not independent
    assert "could not be tried" in notes[0]


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": (FLOAT, [1, 6])},
        {"x": (FLOAT, ["batch", 6]), "c": (FLOAT, [1])},
        {"x": (FLOAT, ["batch", 6]), "c": (FLOAT, [])},
    ],
)
def test_a_first_axis_that_is_not_free_needs_no_trial(tried, inputs):
    nodes = [node("Sum", list(inputs), ["y"])]
    assert tried(nodes, inputs) == (False, [])


def test_nothing_is_tried_unasked(build, tmp_path):
    onnx.save(build(*residual_net()), tmp_path / "m.onnx")
    with prepare(tmp_path / "m.onnx", layout="generic") as prepared:
        assert not prepared.rows_independent


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([("n", 3), (None, 4), ("m",)], True),
        ([("n", 3), (1, 3)], False),
        ([("n", 3), ()], False),
        ([("n", 3), None], False),
        ([("n", "n")], False),
        ([("n", 3), ("m", "n")], False),
        ([(None, None)], True),
        ([], False),
    ],
)
def test_a_first_axis_is_free_when_it_is_open_and_ties_no_other(shapes, expected):
    assert are_free(shapes) is expected


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "uint64"])
@pytest.mark.parametrize("ends", [False, True], ids=["equal", "all"])
def test_whole_numbers_are_drawn_from_what_their_type_holds(dtype, ends):
    info = np.iinfo(dtype)
    sample = np.array([info.min if ends else info.max, info.max], dtype)
    drawn = _drawn(sample, sample, np.random.default_rng(0), (0, 1000), 1.0)
    assert drawn.dtype == sample.dtype
