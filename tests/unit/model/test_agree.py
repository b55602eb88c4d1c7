"""What counts as the same answer."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from inferonnx.model.agree import differing, is_float

nan, inf = np.nan, np.inf


def array(*values, dtype=np.float32):
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("got", "expected", "agree"),
    [
        (array(1, 100.5), array(1, 100), True),
        (array(1, 102), array(1, 100), False),
        (array(1, nan), array(1, nan), True),
        (array(1, nan), array(1, 2), False),
        (array(inf), array(inf), True),
        (array(inf), array(-inf), False),
        (array(0, 0), array(0, 0), True),
        (array(1e-3), array(0), False),
        (array(nan), array(nan), True),
        (array(), array(), True),
        (array(1), array(1, 1), False),
        ([1], array(1), False),
        (array(1, 2, dtype=np.int64), array(1, 2, dtype=np.int64), True),
        (array(1, 2, dtype=np.int64), array(1, 3, dtype=np.int64), False),
        (np.array(["a"], object), np.array(["a"], object), True),
        (np.array(["a"], object), np.array(["b"], object), False),
        (array(1, 1.004, dtype=ml_dtypes.bfloat16), array(1, 1, dtype=ml_dtypes.bfloat16), True),
        (array(2, dtype=ml_dtypes.bfloat16), array(1, dtype=ml_dtypes.bfloat16), False),
        (array(1, dtype=ml_dtypes.float8_e5m2), array(1, dtype=ml_dtypes.float8_e5m2), True),
        (array(1.25, dtype=ml_dtypes.float8_e5m2), array(1, dtype=ml_dtypes.float8_e5m2), False),
        ([array(1)], [array(1)], True),
        ([array(1)], [array(1), array(1)], False),
        ({1: 0.5}, {1: 0.5004}, True),
        ({1: 0.5}, {2: 0.5}, False),
        ({1: 0.5}, {1: 0.6}, False),
        ({"a": 1}, {"a": 2}, False),
        ([{1: 0.5}], [{1: 0.5}], True),
        (None, None, True),
        (None, array(1), False),
        (array(1), None, False),
    ],
)
def test_agreement(got, expected, agree):
    assert differing({"y": got}, {"y": expected}) == (() if agree else ("y",))


def test_a_missing_value_differs():
    assert differing({}, {"y": array(1)}) == ("y",)


def test_floats_are_told_from_others():
    assert is_float(array(1))
    assert is_float(array(1, dtype=np.complex64))
    assert not is_float(array(1, dtype=np.int8))
    assert not is_float([1.0])
