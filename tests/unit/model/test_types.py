"""Types as onnxruntime infers and spells them, and as skeletons declare them."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from inferonnx.errors import ModelError
from inferonnx.model.types import boundary_type, dims_of, may_be, type_text

FLOAT, STRING = TensorProto.FLOAT, TensorProto.STRING


def tensor(dims=None, kind=FLOAT):
    return helper.make_tensor_type_proto(kind, dims)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (tensor(), "tensor(float)"),
        (tensor(kind=TensorProto.FLOAT8E4M3FN), "tensor(float8e4m3fn)"),
        (helper.make_sequence_type_proto(tensor()), "seq(tensor(float))"),
        (
            helper.make_sequence_type_proto(helper.make_map_type_proto(STRING, tensor())),
            "seq(map(string,tensor(float)))",
        ),
        (helper.make_optional_type_proto(tensor()), "optional(tensor(float))"),
        (helper.make_sparse_tensor_type_proto(FLOAT, [1]), "sparse_tensor(float)"),
    ],
)
def test_types_are_spelled_as_onnxruntime_does(kind, text):
    assert type_text(kind) == text


def test_unknown_types_are_refused():
    with pytest.raises(ModelError, match="no known type"):
        type_text(onnx.TypeProto())
    with pytest.raises(ModelError, match="UNDEFINED"):
        type_text(onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor()))


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (None, None),
        ([], ()),
        ([1, "n", None], (1, "n", None)),
        ([-1, 0], (None, 0)),
    ],
)
def test_dims_of_tensors(dims, expected):
    assert dims_of(tensor(dims)) == expected


def test_other_types_have_no_dims():
    assert dims_of(helper.make_sequence_type_proto(tensor([1]))) is None


@pytest.mark.parametrize(
    ("dims", "seen", "declared"),
    [
        ([3, "n", None], (3, 1, 2), (3, None, None)),
        ([], (), ()),
        ([3, "n"], (4, 1), None),
        ([3], (3, 1), None),
        (None, (3,), None),
        ([3], None, None),
    ],
    ids=["open", "scalar", "size belied", "rank belied", "unknown", "not seen"],
)
def test_a_boundary_keeps_only_what_the_sample_does_not_belie(dims, seen, declared):
    kind = tensor(dims)
    assert dims_of(boundary_type(kind, seen)) == declared
    assert dims_of(kind) == (None if dims is None else tuple(dims))


def test_a_sequence_at_a_boundary_stays_as_it_is():
    kind = helper.make_sequence_type_proto(tensor([1]))
    assert boundary_type(kind, None) == kind


def test_shapes_that_dims_allow():
    assert may_be((1, "n", None), (1, 5, 0))
    assert not may_be((1,), (2,))
    assert not may_be((1,), (1, 1))
