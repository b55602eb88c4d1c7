"""Tests of what a model takes and gives, as the protocol says it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from inferonnx.oip.errors import UnsupportedError
from inferonnx.oip.signature import ModelSignature, TensorSpec, make_signature
from inferonnx.tensors import DType


@dataclass(frozen=True)
class Value:
    name: str
    type: str
    shape: tuple[int | str | None, ...] | None = ()


def test_symbols_and_unknown_sizes_are_free() -> None:
    found = make_signature(
        [Value("a", "tensor(float)", ("batch", None, 3, -2)), Value("b", "tensor(string)", None)],
        [Value("y", "tensor(bfloat16)")],
        max_batch_size=4,
    )
    assert found == ModelSignature(
        inputs=(
            TensorSpec(name="a", dtype=DType.FLOAT, shape=(-1, -1, 3, -1)),
            TensorSpec(name="b", dtype=DType.STRING, shape=None),
        ),
        outputs=(TensorSpec(name="y", dtype=DType.BFLOAT16, shape=()),),
        max_batch_size=4,
    )
    assert [spec.datatype for spec in (*found.inputs, *found.outputs)] == ["FP32", "BYTES", "BF16"]
    assert [spec.shown_shape for spec in found.inputs] == [(-1, -1, 3, -1), (-1,)]


@pytest.mark.parametrize(
    "kind",
    ["seq(tensor(float))", "map(int64,tensor(float))", "optional(tensor(float))", "tensor(int4)",
     "tensor(complex64)", "tensor(float8e4m3fn)", "sparse_tensor(float)"],
)  # fmt: skip
def test_what_the_protocol_can_not_carry_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedError, match="has an input that is a"):
        make_signature([Value("a", kind)], [])
    with pytest.raises(UnsupportedError, match="has an output that is a"):
        make_signature([], [Value("a", kind)])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("seq(tensor(float))", "a sequence"),
        ("map(int64,tensor(float))", "a map"),
        ("optional(seq(tensor(float)))", "an optional value"),
        ("tensor(complex64)", r"a tensor\(complex64\)"),
    ],
)
def test_a_refusal_says_which_kind_and_no_name(kind: str, words: str) -> None:
    with pytest.raises(UnsupportedError, match=f"an input that is {words}, which") as caught:
        make_signature([Value("secret", kind)], [])
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(-1,), (-1, 4)], True),
        ([(-1,), (1, 4)], False),
        ([(-1,), ()], False),
        ([(-1,), None], False),
        ([(4, -1)], False),
    ],
)
def test_rows_can_be_joined_where_every_first_axis_is_free(
    shapes: list[tuple[int, ...] | None], expected: bool
) -> None:
    specs = tuple(TensorSpec(name="x", dtype=DType.FLOAT, shape=shape) for shape in shapes)
    assert ModelSignature(inputs=specs, outputs=specs).has_free_batch is expected
    for i in range(1, len(specs)):
        assert ModelSignature(inputs=specs[:i], outputs=specs[i:]).has_free_batch is expected


def test_nothing_has_no_rows() -> None:
    assert not ModelSignature(inputs=(), outputs=()).has_free_batch
