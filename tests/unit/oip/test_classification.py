"""Tests of the classification extension."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from inferonnx.oip import classification
from inferonnx.oip.classification import (
    MAX_CLASSES,
    check_classifiable,
    class_cost,
    classify,
)
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


@pytest.mark.parametrize("n", [1, 3, 4, 8, 9, 100])
def test_the_order_is_that_of_all_values_however_many_are_sorted_at_once(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(n).integers(0, 20, 33).astype(np.float32)
    values[[3, 30]] = np.nan
    expected = classes(values, np.float32, n)
    order = sorted(range(33), key=lambda i: (np.isnan(values[i]), -values[i], i))
    assert expected == [f"{values[i]:f}:{i}" for i in order[:n]]
    monkeypatch.setattr(classification, "_RUN", 4)
    assert classes(values, np.float32, n) == expected


@pytest.mark.parametrize("n", [1, 1000, 50_000, 1 << 62])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint64])
def test_no_more_memory_is_taken_than_was_said(n: int, kind: Any) -> None:
    tensor = as_tensor(np.linspace(-1, 1, 100_000).reshape(2, 50_000).astype(kind))
    cost = class_cost(tensor, n, is_batched=True)
    assert cost.n_values == 100_000
    tracemalloc.start()
    named = classify(tensor, n, is_batched=True)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert named.n_elements == 2 * min(n, 50_000)
    assert peak_bytes < cost.n_bytes


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        (np.float32, np.finfo(np.float32).min),
        (np.float64, np.finfo(np.float64).min),
        (np.int64, np.iinfo(np.int64).min),
        (np.uint64, np.iinfo(np.uint64).max),
    ],
)
def test_the_longest_classes_are_as_long_as_is_counted(kind: Any, longest: Any) -> None:
    tensor = as_tensor(np.full(MAX_CLASSES // 10 + 1, longest, kind))
    named = classify(tensor, tensor.n_elements, is_batched=False)
    most = classification._MOST_LETTERS.get(tensor.dtype, classification._WHOLE_LETTERS)
    assert max(map(len, named.strings or ())) == most


def test_rows_that_are_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "MAX_CLASSES", 3)
    tensor = Tensor(dtype=DType.INT8, shape=(2, 4), data=bytes(8))
    with pytest.raises(InvalidRequestError, match="classification output tensor too large"):
        classify(tensor, 1, is_batched=True)
    classify(Tensor(dtype=DType.INT8, shape=(4, 3), data=bytes(12)), 1, is_batched=True)
