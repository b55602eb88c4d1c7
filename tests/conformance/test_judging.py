"""Right answers pass, wrong ones do not, and no crash ends the suite."""

import signal
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from inferonnx.backend.cases import with_constants
from inferonnx.backend.judging import difference, is_same, judge_plain, judge_sealed
from inferonnx.backend.plain import run_plain
from inferonnx.backend.workers import judge_all

A, B = np.array([1, 2], np.float32), np.array([0.1, 0.2], np.float32)


class Deadly:
    """Ends the process that unpickles it, as a fault in a library would."""

    def __reduce__(self):
        return signal.raise_signal, (int(signal.SIGSEGV),)


def test_both_sides_pass_with_the_right_answer_and_agree_to_the_bit(sum_case):
    case = with_constants(sum_case(A, B, answer=A + B))
    plain, answers = judge_plain(case)
    sealed = judge_sealed(case, answers)
    assert plain.passed
    assert sealed.passed
    assert sealed.same_bits
    assert sealed.n_partitions == 1
    assert sealed.n_streamed == 1


def test_neither_side_passes_with_a_wrong_answer(sum_case):
    case = sum_case(A, B, answer=A)
    plain, answers = judge_plain(case)
    sealed = judge_sealed(case, answers)
    for outcome in (plain, sealed):
        assert (outcome.passed, outcome.answered) == (False, True)
        assert "Not equal to tolerance" in outcome.why
    assert sealed.same_bits


def test_answers_unlike_plain_onnxruntimes_are_told(sum_case):
    case = sum_case(A, B, answer=A + B)
    assert not judge_sealed(case, [[np.nextafter(A + B, np.float32(9))]]).same_bits


def test_a_model_that_nobody_runs_is_an_outcome_of_both_sides(sum_case):
    case = replace(sum_case(A, B), model=sum_case(A, B).model.replace(b"Sum", b"Som"))
    plain, answers = judge_plain(case)
    assert not plain.answered
    assert answers == []
    sealed = judge_sealed(case, answers)
    assert not sealed.answered
    assert "Som" in sealed.why


@pytest.mark.parametrize(
    ("expected", "got", "why"),
    [
        (A, A + 1e-5, ""),
        (A, A + 0.1, "tolerance"),
        (A, A.astype(np.float64), "float64, and float32 is expected"),
        (A, A.reshape(1, 2), "shape"),
        (A, [A], "list, and float32 is expected"),
        ([A, B], [A, B], ""),
        ([A, B], [A, A], "tolerance"),
        ([A, B], [A], "1 elements, and 2"),
        (np.array(["a", "b"]), np.array(["a", "b"], object), ""),
        (np.array(["a", "b"]), np.array(["a", "c"], object), "Mismatch"),
        (A.astype(ml_dtypes.int4), A.astype(ml_dtypes.int4), ""),
        (A.astype(ml_dtypes.int4), B.astype(ml_dtypes.int4), "tolerance"),
        (A.astype(ml_dtypes.int4), A.astype(ml_dtypes.uint4), "uint4, and int4 is expected"),
        (A.astype(ml_dtypes.float8_e5m2), A.astype(ml_dtypes.float8_e5m2), ""),
        (np.array([np.inf, np.nan]), np.array([np.inf, np.nan]), ""),
        (np.array([np.inf, np.nan]), np.array([np.inf, np.inf]), "nan"),
    ],
)
def test_difference(expected, got, why):
    told = difference([expected], [got], rtol=1e-3, atol=1e-7)
    assert (why in told) if why else (told == "")


def test_a_missing_output_is_a_difference():
    assert difference([A, B], [A], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (A, A.copy(), True),
        (A, -A, False),
        (np.float32([0.0]), np.float32([-0.0]), False),
        (np.float32([np.nan]), np.float32([np.nan]), True),
        (A, A.reshape(2, 1), False),
        (A, A.view(np.int32), False),
        ([A, [B]], [A, [B]], True),
        ([A], [A, B], False),
        ({"a": 1.0}, {"a": 1.0}, True),
        ({"a": 1.0}, {"b": 1.0}, False),
        (np.array(["a"], object), np.array(["a"], object), True),
        (None, None, True),
        (None, A, False),
    ],
)
def test_is_same(left, right, same):
    assert is_same(left, right) is same


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2fnuz", "int4", "uint4", "int2"]
)
def test_plain_onnxruntime_takes_and_gives_types_that_numpy_lacks(dtype):
    values = np.array([1, 0, 1], getattr(ml_dtypes, dtype))
    number = helper.np_dtype_to_tensor_dtype(values.dtype)
    info = [helper.make_tensor_value_info(name, number, [3]) for name in "xy"]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["y"], to=number),
    ]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
    ((got,),) = run_plain(model.SerializeToString(), [[values]])
    assert is_same(got, values)


def test_a_case_that_kills_its_process_ends_nothing_else(sum_case):
    good = sum_case(A, B, answer=A + B)
    deadly = replace(good, data_sets=(([Deadly()], []),))
    first, second, third = judge_all([good, deadly, good], n_workers=1)
    for outcome in (second.plain, second.sealed):
        assert outcome.why == "the process died of SIGSEGV"
        assert not outcome.answered
    for verdict in (first, third):
        assert verdict.plain.passed
        assert verdict.sealed.passed
        assert verdict.sealed.same_bits


def test_a_case_that_hangs_is_ended(sum_case):
    (verdict,) = judge_all([sum_case(A, B)], n_workers=1, limit_s=0.0)
    assert verdict.plain.why == "took more than 0 seconds"
