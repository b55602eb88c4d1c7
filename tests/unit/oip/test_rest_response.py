"""Tests of replies to inferences as bodies."""

from __future__ import annotations

import json

import numpy as np
import pytest

from inferonnx.oip.errors import BadReplyError, InvalidRequestError
from inferonnx.oip.requests import (
    InferRequest,
    InferResponse,
    Limits,
    NamedTensor,
    WantedOutput,
)
from inferonnx.oip.rest_response import (
    encode_infer_response,
    most_written_bytes,
    parse_infer_response,
)
from inferonnx.tensors import DType, Tensor, as_tensor

Y = NamedTensor(name="y", tensor=as_tensor(np.array([[1.5, 2]], np.float32)))
Z = NamedTensor(name="z", tensor=as_tensor(["a", "é"]))
RESPONSE = InferResponse(
    model_name="m", model_version="3", id="7", parameters={"n": 1}, outputs=(Y, Z)
)


def test_json_and_binary_in_one_reply() -> None:
    request = InferRequest(
        model_name="m", outputs=(WantedOutput(name="z"), WantedOutput(name="y", binary=True))
    )
    pieces, length, kind = encode_infer_response(RESPONSE, request)
    body = b"".join(pieces)
    assert kind == "application/octet-stream"
    assert json.loads(body[:length]) == {
        "id": "7",
        "model_name": "m",
        "model_version": "3",
        "parameters": {"n": 1},
        "outputs": [
            {
                "name": "y",
                "datatype": "FP32",
                "shape": [1, 2],
                "parameters": {"binary_data_size": 8},
            },
            {"name": "z", "datatype": "BYTES", "shape": [2], "data": ["a", "é"]},
        ],
    }
    assert body[length:] == Y.tensor.data
    assert pieces[-1] is Y.tensor.data
    assert parse_infer_response(body, header_length=length) == RESPONSE


def test_members_that_nobody_knows_are_ignored() -> None:
    body = b'{"x":[1],"id":null,"model_name":"m","outputs":[]}'
    assert parse_infer_response(body) == InferResponse(model_name="m")


def test_only_what_was_asked_for_is_written() -> None:
    request = InferRequest(model_name="m", outputs=(WantedOutput(name="z"),))
    pieces, length, kind = encode_infer_response(RESPONSE, request)
    assert (length, kind) == (None, "application/json")
    assert parse_infer_response(b"".join(pieces)).outputs == (Z,)


def test_without_id_and_parameters_there_are_no_such_members() -> None:
    response = InferResponse(model_name="m", model_version="1")
    pieces, _, _ = encode_infer_response(response, InferRequest(model_name="m"))
    assert b"".join(pieces) == b'{"model_name":"m","model_version":"1","outputs":[]}'


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            Tensor(dtype=DType.FLOAT16, shape=(1,), data=b"\0\0"),
            (
                "sending FP16 data via JSON is not supported. Please use the binary data format "
                "for output"
            ),
        ),
        (
            Tensor(dtype=DType.BFLOAT16, shape=(0,)),
            (
                "sending BF16 data via JSON is not supported. Please use the binary data format "
                "for output"
            ),
        ),
        (
            as_tensor(np.array([b"\xff"], object)),
            (
                "'y' holds strings that are not UTF-8, which JSON can't carry. Please use the "
                "binary data format"
            ),
        ),
    ],
)
def test_what_json_can_not_carry_is_refused(tensor: Tensor, message: str) -> None:
    response = InferResponse(model_name="m", outputs=(NamedTensor(name="y", tensor=tensor),))
    with pytest.raises(InvalidRequestError) as caught:
        encode_infer_response(response, InferRequest(model_name="m"))
    assert caught.value.message == message
    request = InferRequest(model_name="m", binary_output_default=True)
    pieces, length, _ = encode_infer_response(response, request)
    assert parse_infer_response(b"".join(pieces), header_length=length) == response


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"", None),
        (b"{}", None),
        (b"[]", None),
        (b'{"outputs":7}', None),
        (b'{"outputs":[{"name":"y"}]}', None),
        (b'{"outputs":[]}x', 14),
        (b'{"outputs":[]}', 15),
        (b'{"outputs":[]}', -1),
        (b'{"model_name":7,"outputs":[]}', None),
        (b'{"parameters":{"a":[]},"outputs":[]}', None),
        (b"<html>", None),
    ],
)
def test_replies_that_are_wrong(body: bytes, length: int | None) -> None:
    with pytest.raises(BadReplyError):
        parse_infer_response(body, header_length=length)


def test_replies_have_limits_too() -> None:
    body = b'{"outputs":[{"name":"y","datatype":"INT8","shape":[3],"data":[1,2,3]}]}'
    parse_infer_response(body, limits=Limits(json_bytes=len(body), tensor_bytes=3))
    for limits in (Limits(json_bytes=len(body) - 1), Limits(tensor_bytes=2)):
        with pytest.raises(BadReplyError):
            parse_infer_response(body, limits=limits)


def test_what_is_written_is_counted_and_what_is_sent_as_it_lies_is_not() -> None:
    numbers = as_tensor(np.zeros(1000, np.float32))
    words = Tensor(dtype=DType.STRING, shape=(1000,), strings=["word"] * 1000)
    outputs = tuple(NamedTensor(name=n, tensor=t) for n, t in (("n", numbers), ("w", words)))
    response = InferResponse(model_name="m", outputs=outputs)

    def most(*names: str, binary: bool, is_json: bool = True) -> int:
        wanted = tuple(WantedOutput(name=name, binary=binary) for name in names)
        request = InferRequest(model_name="m", outputs=wanted)
        return most_written_bytes(response, request, is_json=is_json)

    assert most("n", binary=True) == most("n", binary=False, is_json=False) == 0
    assert most("n", binary=False) >= 4000
    assert most("w", binary=True) == most("w", binary=False, is_json=False) >= 8000
    assert most("w", binary=False) >= 7000
    assert most("n", "w", binary=True) == most("w", binary=True)
