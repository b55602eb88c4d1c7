"""Tests of the classification extension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inferonnx.oip import classification
from inferonnx.oip.classification import check_classifiable, classify
from inferonnx.oip.datatypes import DATATYPES
from inferonnx.oip.errors import InvalidRequestError
from inferonnx.tensors import DType, Tensor, as_tensor


def classes(values: Any, kind: Any, n: int, *, is_batched: bool = False) -> Any:
    return classify(as_tensor(np.array(values, kind)), n, is_batched=is_batched).tolist()


@pytest.mark.parametrize(
    ("values", "kind", "n", "expected"),
    [
        ([0.1, 0.7, 0.2], np.float32, 2, ["0.700000:1", "0.200000:2"]),
        ([1e20, -1.5], np.float64, 5, ["100000000000000000000.000000:0", "-1.500000:1"]),
        ([3, -1, 7], np.int8, 3, ["7:2", "3:0", "-1:1"]),
        ([2**64 - 1, 0], np.uint64, 1, ["18446744073709551615:0"]),
        ([-(2**63), 5], np.int64, 2, ["5:1", "-9223372036854775808:0"]),
        ([1, 1, 1], np.int32, 2, ["1:0", "1:1"]),
        ([np.nan, 1, np.inf, -np.inf], np.float32, 3, ["inf:2", "1.000000:1", "nan:0"]),
        ([[1, 2], [4, 3]], np.float32, 2, ["4.000000:2", "3.000000:3"]),
        ([], np.float32, 2, []),
    ],
)
def test_the_largest_come_first(values: Any, kind: Any, n: int, expected: list[str]) -> None:
    assert classes(values, kind, n) == expected


def test_values_are_written_as_cplusplus_writes_them() -> None:
    # std::to_string(0.1f) and of 16777217.0, which is no float
    assert classes([0.1], np.float32, 1) == ["0.100000:0"]
    assert classes([16777217.0], np.float64, 1) == ["16777217.000000:0"]


def test_each_row_has_classes_of_its_own() -> None:
    values = [[[1, 2], [3, 4]], [[8, 7], [6, 5]]]
    assert classes(values, np.float32, 2, is_batched=True) == [
        ["4.000000:3", "3.000000:2"],
        ["8.000000:0", "7.000000:1"],
    ]
    assert classes(5, np.float32, 2, is_batched=True) == ["5.000000:0"]
    empty = classify(as_tensor(np.zeros((0, 4), np.float32)), 2, is_batched=True)
    assert empty.shape == (0, 0)
    assert classify(as_tensor(np.zeros((3, 0), np.float32)), 2, is_batched=True).shape == (3, 0)


@pytest.mark.parametrize("name", ["BOOL", "FP16", "BF16", "BYTES"])
def test_types_without_an_order_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_classifiable(DATATYPES[name])
    assert caught.value.message == (
        f"class result not available for output due to unsupported type '{name}'"
    )


def test_rows_that_are_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "MAX_CLASSES", 3)
    tensor = Tensor(dtype=DType.INT8, shape=(2, 4), data=bytes(8))
    with pytest.raises(InvalidRequestError, match="classification output tensor too large"):
        classify(tensor, 1, is_batched=True)
    classify(Tensor(dtype=DType.INT8, shape=(4, 3), data=bytes(12)), 1, is_batched=True)
