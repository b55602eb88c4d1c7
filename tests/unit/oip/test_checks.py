"""Tests of requests held against a signature, in Triton's words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inferonnx.oip.checks import (
    check_request,
    make_response,
    parse_model_version,
    resolve_raw,
)
from inferonnx.oip.errors import InvalidRequestError
from inferonnx.oip.requests import (
    InferRequest,
    InferResponse,
    NamedTensor,
    RawRequest,
    WantedOutput,
)
from inferonnx.oip.signature import ModelSignature, TensorSpec
from inferonnx.tensors import DType, Tensor, as_tensor

A = NamedTensor(name="a", tensor=as_tensor(np.zeros((2, 4), np.float32)))
B = NamedTensor(name="b", tensor=as_tensor(np.zeros(2, np.int32)))


def named(name: str, array: Any) -> NamedTensor:
    return NamedTensor(name=name, tensor=as_tensor(array))


def ask(*inputs: NamedTensor, **fields: Any) -> InferRequest:
    # Only y: h is FP16, which JSON does not carry.
    return InferRequest(
        model_name="m", inputs=inputs, **({"outputs": (WantedOutput(name="y"),)} | fields)
    )


def refused(request: InferRequest, signature: ModelSignature) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        check_request(request, signature)
    return caught.value.message


def batched(signature: ModelSignature, most: int) -> ModelSignature:
    return ModelSignature(inputs=signature.inputs, outputs=signature.outputs, max_batch_size=most)


def test_inputs_come_in_the_order_of_the_model(signature: ModelSignature) -> None:
    found = check_request(ask(B, A), signature)
    assert list(found.items()) == [("a", A.tensor), ("b", B.tensor)]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            ask(),
            (
                "expected 2 inputs but got 0 inputs for model 'm'. Got input(s) [], but missing "
                "required input(s) ['a','b']. Please provide all required input(s)."
            ),
        ),
        (
            ask(A),
            (
                "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['a'], but missing "
                "required input(s) ['b']. Please provide all required input(s)."
            ),
        ),
        (
            ask(A, B, named("c", ["x"])),
            (
                "expected 2 inputs but got 3 inputs for model 'm'. Got input(s) ['a','b','c'], but "
                "missing required input(s) []. Please provide all required input(s)."
            ),
        ),
        (ask(A, named("c", ["x"])), "unexpected inference input 'c' for model 'm'"),
        (
            ask(named("a", np.zeros((2, 4))), B),
            "inference input 'a' data-type is 'FP64', but model 'm' expects 'FP32'",
        ),
        (
            ask(named("a", np.zeros((2, 5), np.float32)), B),
            "unexpected shape for input 'a' for model 'm'. Expected [-1,4], got [2,5].",
        ),
        (
            ask(named("a", np.zeros(4, np.float32)), B),
            "unexpected shape for input 'a' for model 'm'. Expected [-1,4], got [4].",
        ),
        (
            ask(A, named("b", np.int32(1))),
            "unexpected shape for input 'b' for model 'm'. Expected [-1], got [].",
        ),
        (
            ask(A, B, outputs=(WantedOutput(name="z"),)),
            "unexpected inference output 'z' for model 'm'",
        ),
        (
            ask(A, B, outputs=()),
            (
                "sending FP16 data via JSON is not supported. Please use the binary data format "
                "for output"
            ),
        ),
        (
            ask(A, B, outputs=(WantedOutput(name="h", classification=1),)),
            "class result not available for output due to unsupported type 'FP16'",
        ),
    ],
)
def test_requests_that_the_model_can_not_take(
    request_: InferRequest, message: str, signature: ModelSignature
) -> None:
    assert refused(request_, signature) == message


def test_halves_go_out_in_binary_form(signature: ModelSignature) -> None:
    check_request(ask(A, B, outputs=(), binary_output_default=True), signature)
    check_request(ask(A, B, outputs=(WantedOutput(name="h", binary=True),)), signature)
    check_request(ask(A, B, outputs=()), signature, is_json=False)


def test_any_shape_is_taken_where_the_model_says_none() -> None:
    signature = ModelSignature(
        inputs=(TensorSpec(name="a", dtype=DType.FLOAT, shape=None),), outputs=()
    )
    for shape in [(), (1,), (2, 0, 3)]:
        check_request(ask(named("a", np.zeros(shape, np.float32)), outputs=()), signature)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            ask(A, named("b", np.int32(1))),
            "input 'b' has no shape but model requires batch dimension for 'm'",
        ),
        (
            ask(A, named("b", np.zeros(3, np.int32))),
            "input 'b' batch size does not match other inputs for 'm'",
        ),
        (
            ask(named("a", np.zeros((5, 4), np.float32)), named("b", np.zeros(5, np.int32))),
            "inference request batch-size must be <= 4 for 'm'",
        ),
    ],
)
def test_batches_that_the_model_can_not_take(
    request_: InferRequest, message: str, signature: ModelSignature
) -> None:
    assert refused(request_, batched(signature, 4)) == message


def test_batches_that_fit_are_taken(signature: ModelSignature) -> None:
    check_request(ask(A, B), batched(signature, 2))


def test_names_of_any_length_make_short_messages(signature: ModelSignature) -> None:
    long = "n" * 100_000
    for request in (
        ask(A, named(long, ["x"])),
        ask(A, B, outputs=(WantedOutput(name=long),)),
        ask(named(long, ["x"])),
    ):
        assert len(refused(request, signature)) < 1000


def single(dtype: DType, *shape: int, most: int = 0) -> ModelSignature:
    spec = TensorSpec(name="x", dtype=dtype, shape=shape)
    return ModelSignature(inputs=(spec,), outputs=(spec,), max_batch_size=most)


@pytest.mark.parametrize(
    ("signature_", "data", "shape"),
    [
        (single(DType.FLOAT, 2, 2), bytes(16), (2, 2)),
        (single(DType.FLOAT, -1, 2), bytes(16), (2, 2)),
        (single(DType.FLOAT, -1, 2), b"", (0, 2)),
        (single(DType.FLOAT, -1, -1, most=8), bytes(16), (1, 4)),
        (single(DType.FLOAT, -1, 2, -1, most=8), bytes(16), (1, 2, 2)),
        (single(DType.FLOAT, -1, -1), bytes(16), (1, 4)),
        (single(DType.FLOAT, -1, 2, -1), bytes(16), (1, 2, 2)),
        (single(DType.FLOAT, -1, 0), b"", (0, 0)),
        (single(DType.FLOAT), bytes(4), ()),
    ],
)
def test_shapes_of_raw_requests_are_deduced(
    signature_: ModelSignature, data: bytes, shape: tuple[int, ...]
) -> None:
    raw = RawRequest(model_name="m", model_version="3", data=memoryview(data))
    request = resolve_raw(raw, signature_)
    assert request == InferRequest(
        model_name="m",
        model_version="3",
        inputs=(NamedTensor(name="x", tensor=Tensor(dtype=DType.FLOAT, shape=shape, data=data)),),
        binary_output_default=True,
    )
    check_request(request, signature_)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_raw_string_is_the_whole_body(shape: tuple[int, ...]) -> None:
    raw = RawRequest(model_name="m", data=memoryview(b"\xffa\0"))
    (found,) = resolve_raw(raw, single(DType.STRING, *shape)).inputs
    assert found.tensor.shape == shape
    assert found.tensor.strings is not None
    assert found.tensor.strings[0].encode(errors="surrogateescape") == b"\xffa\0"


def test_a_raw_string_is_one_row_of_one_string() -> None:
    raw = RawRequest(model_name="m", data=memoryview(b"a"))
    (found,) = resolve_raw(raw, single(DType.STRING, -1, 1)).inputs
    assert found.tensor.shape == (1, 1)


BYTE_ONLY = "For BYTE datatype raw input 'x', the model must have input shape [1]"


@pytest.mark.parametrize(
    ("signature_", "data", "message"),
    [
        (
            single(DType.FLOAT, -1, -1, -1),
            b"",
            (
                "The shape of the raw input 'x' can not be deduced because there are more than one "
                "variable-sized dimension"
            ),
        ),
        (
            single(DType.FLOAT, 2, 2),
            b"",
            "input byte size mismatch for input 'x' for model 'm'. Expected 16, got 0",
        ),
        (
            single(DType.FLOAT, -1, 2),
            bytes(15),
            "input byte size mismatch for input 'x' for model 'm'. Expected 8, got 15",
        ),
        (single(DType.STRING, -1), b"", BYTE_ONLY),
        (single(DType.STRING, 2), b"", BYTE_ONLY),
        (
            ModelSignature(inputs=(), outputs=()),
            b"",
            (
                "Raw request must only have 1 input (found 1) to be deduced but got 0 inputs in "
                "'m' model configuration"
            ),
        ),
    ],
)
def test_raw_requests_that_say_too_little(
    signature_: ModelSignature, data: bytes, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        resolve_raw(RawRequest(model_name="m", data=memoryview(data)), signature_)
    assert caught.value.message == message


def test_raw_requests_need_a_rank() -> None:
    for dtype in (DType.FLOAT, DType.STRING):
        spec = TensorSpec(name="x", dtype=dtype, shape=None)
        with pytest.raises(InvalidRequestError):
            resolve_raw(
                RawRequest(model_name="m", data=memoryview(b"")),
                ModelSignature(inputs=(spec,), outputs=()),
            )


def test_answers_hold_what_was_asked_for(signature: ModelSignature) -> None:
    y = as_tensor(np.array([[1, 3, 2, 0], [9, 8, 7, 6]], np.float32))
    h = as_tensor(np.zeros((2, 4), np.float16))
    every = make_response(ask(A, B, id="7", outputs=()), signature, [y, h], model_version="3")
    assert every == InferResponse(
        model_name="m",
        model_version="3",
        id="7",
        outputs=(NamedTensor(name="y", tensor=y), NamedTensor(name="h", tensor=h)),
    )
    wanted = (WantedOutput(name="y", classification=2),)
    some = make_response(ask(A, B, outputs=wanted), signature, [y, h], model_version="3")
    (only,) = some.outputs
    assert only.tensor.tolist() == [
        ["3.000000:1", "2.000000:2"],
        ["9.000000:0", "8.000000:1"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("1", 1), ("0", 0), ("01", 1), (str(2**63 - 1), 2**63 - 1)],
)
def test_versions(text: str, expected: int | None) -> None:
    assert parse_model_version(text) == expected


@pytest.mark.parametrize("text", ["abc", "-1", "+1", " 1", "1 ", "1.0", "٣", str(2**63), "9" * 99])
def test_versions_that_are_none(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="failed to get model version from specified"):
        parse_model_version(text)
