"""Tests of the sentence that a wrong input gets."""

from __future__ import annotations

import pytest

from inferonnx.errors import TensorError
from inferonnx.tensors import DType, Tensor, validate

IMAGE = Tensor(dtype=DType.UINT8, shape=(1, 3, 2, 2), data=bytes(12))


@pytest.mark.parametrize(
    "shape", [(1, 3, 2, 2), ("batch", 3, None, "w"), None, (-1, 3, 2, 2), ["n", "n", "n", "n"]]
)
def test_what_fits_passes(shape: tuple | None) -> None:
    validate("image", IMAGE, "tensor(uint8)", shape)


def test_a_scalar_and_an_empty_tensor_pass() -> None:
    validate("x", Tensor(dtype=DType.UINT8, shape=(), data=b"1"), "tensor(uint8)", ())
    validate("x", Tensor(dtype=DType.UINT8, shape=(0,)), "tensor(uint8)", (0,))


@pytest.mark.parametrize(
    ("type_text", "shape", "sentence", "hint"),
    [
        (
            "tensor(float)",
            None,
            "input 'image' must hold float, but the tensor holds uint8",
            "Convert it to float before.",
        ),
        (
            "seq(tensor(float))",
            None,
            "input 'image' must be seq(tensor(float)), not a tensor",
            "Give it as a Python list or dict of tensors, through the Python API.",
        ),
        (
            "tensor(uint8)",
            ("batch", 12),
            "input 'image' must have 2 axes [batch, 12], but the tensor has 4 axes [1, 3, 2, 2]",
            "Reshape it to [batch, 12].",
        ),
        (
            "tensor(uint8)",
            (None,),
            "input 'image' must have 1 axis [?], but the tensor has 4 axes [1, 3, 2, 2]",
            "Reshape it to [?].",
        ),
        (
            "tensor(uint8)",
            ("batch", 3, 224, 2),
            (
                "axis 2 of input 'image' must have size 224, not 2: "
                "the model wants [batch, 3, 224, 2], the tensor is [1, 3, 2, 2]"
            ),
            "Give a tensor of shape [batch, 3, 224, 2].",
        ),
    ],
)
def test_what_does_not_fit_is_said(
    type_text: str, shape: tuple | None, sentence: str, hint: str
) -> None:
    with pytest.raises(TensorError) as caught:
        validate("image", IMAGE, type_text, shape)
    assert caught.value.message == sentence
    assert caught.value.hint == hint
    assert caught.value.where == "image"
