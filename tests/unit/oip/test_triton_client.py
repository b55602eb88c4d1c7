"""tritonclient is the oracle: what it writes we read, what we write it reads."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tritonclient.http import InferInput, InferRequestedOutput, InferResult
from tritonclient.http._utils import _get_inference_request
from tritonclient.utils import InferenceServerException

from inferonnx.oip import (
    InferRequest,
    InferResponse,
    NamedTensor,
    WantedOutput,
    encode_error,
    encode_infer_request,
    encode_infer_response,
    encode_raw,
    parse_infer_request,
    parse_infer_response,
    unknown_model,
)
from inferonnx.tensors import DType, Tensor, as_tensor

# name in the protocol: elements as numpy has them
ARRAYS = {
    "BOOL": np.array([[True, False, True]]),
    "UINT8": np.array([[0, 255, 3]], np.uint8),
    "UINT16": np.array([[0, 65535, 3]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1, 3]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1, 3]], np.uint64),
    "INT8": np.array([[-128, 127, 3]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1, 3]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1, 3]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1, 3]], np.int64),
    "FP16": np.array([[1.5, -0.25, 65504]], np.float16),
    "FP32": np.array([[0.1, -3.4e38, 1e-45]], np.float32),
    "FP64": np.array([[0.1, -1.7e308, 5e-324]], np.float64),
    "BYTES": np.array([["a,b]", "", 'é"\\\n\0']], np.object_),
    "BF16": np.array([[1.5, -0.25, 3e38]], ml_dtypes.bfloat16),
}
IN_JSON = [name for name in ARRAYS if name not in ("FP16", "BF16")]


def body_of(*inputs: InferInput, **options: Any) -> tuple[bytes, int | None]:
    names = "request_id outputs sequence_id sequence_start sequence_end priority timeout"
    defaults: dict[str, Any] = dict.fromkeys(names.split(), None) | {
        "request_id": "",
        "sequence_id": 0,
        "sequence_start": False,
        "sequence_end": False,
        "priority": 0,
        "custom_parameters": None,
    }
    body, length = _get_inference_request(inputs=list(inputs), **(defaults | options))
    return body if isinstance(body, bytes) else body.encode(), length


def theirs(name: str, datatype: str, array: np.ndarray[Any, Any], *, binary: bool) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def parsed(body: bytes, length: int | None) -> InferRequest:
    request = parse_infer_request(body, model_name="m", header_length=length)
    assert isinstance(request, InferRequest)
    return request


@pytest.mark.parametrize(
    ("datatype", "binary"),
    [*((name, True) for name in ARRAYS), *((name, False) for name in IN_JSON)],
)
def test_a_request_of_theirs_is_read(datatype: str, binary: bool) -> None:
    array = ARRAYS[datatype]
    request = parsed(*body_of(theirs("x", datatype, array, binary=binary), request_id="7"))
    assert request.id == "7"
    (named,) = request.inputs
    assert named == NamedTensor(name="x", tensor=as_tensor(array))


def test_a_request_of_theirs_mixes_both_forms_and_says_what_it_wants() -> None:
    body, length = body_of(
        theirs("a", "FP32", ARRAYS["FP32"], binary=True),
        theirs("b", "INT64", ARRAYS["INT64"], binary=False),
        theirs("c", "BYTES", ARRAYS["BYTES"], binary=True),
        theirs("d", "BF16", ARRAYS["BF16"], binary=True),
        outputs=[
            InferRequestedOutput("y", binary_data=True),
            InferRequestedOutput("z", binary_data=False, class_count=3),
        ],
        priority=4,
        timeout=250_000,
        sequence_id=9,
        sequence_start=True,
        custom_parameters={"mood": "good", "n": 3, "on": True, "x": 0.5},
    )
    request = parsed(body, length)
    assert [named.name for named in request.inputs] == ["a", "b", "c", "d"]
    for named, datatype in zip(request.inputs, ("FP32", "INT64", "BYTES", "BF16"), strict=True):
        assert named.tensor == as_tensor(ARRAYS[datatype])
    assert request.outputs == (
        WantedOutput(name="y", binary=True),
        WantedOutput(name="z", classification=3),
    )
    assert (request.priority, request.timeout_us) == (4, 250_000)
    assert request.parameters == {"mood": "good", "n": 3, "on": True, "x": 0.5}


def test_without_outputs_theirs_asks_for_binary_ones() -> None:
    request = parsed(*body_of(theirs("x", "FP32", ARRAYS["FP32"], binary=True)))
    assert request.outputs == ()
    assert request.binary_output_default


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1)])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
def test_scalars_and_empty_tensors_of_theirs_are_read(
    datatype: str, shape: tuple[int, ...], binary: bool
) -> None:
    kind = np.float32 if datatype == "FP32" else np.object_
    array = np.full(shape, 3.5 if datatype == "FP32" else "s", kind)
    request = parsed(*body_of(theirs("x", datatype, array, binary=binary)))
    assert request.inputs[0].tensor == as_tensor(array)


@pytest.mark.parametrize(
    ("datatype", "binary"),
    [*((name, True) for name in ARRAYS), *((name, False) for name in IN_JSON)],
)
def test_a_reply_of_ours_is_read(datatype: str, binary: bool) -> None:
    array = ARRAYS[datatype]
    request = InferRequest(model_name="m", outputs=(WantedOutput(name="y", binary=binary),))
    response = InferResponse(
        model_name="m",
        model_version="3",
        id="7",
        outputs=(NamedTensor(name="y", tensor=as_tensor(array)),),
    )
    pieces, length, kind = encode_infer_response(response, request)
    assert kind == ("application/octet-stream" if binary else "application/json")
    result = InferResult.from_response_body(b"".join(pieces), header_length=length)
    assert result.get_response()["id"] == "7"
    assert result.get_response()["model_version"] == "3"
    got = result.as_numpy("y")
    assert got.shape == array.shape
    if datatype == "BYTES":
        assert [x.decode() if binary else x for x in got.flat] == list(array.flat)
    else:
        assert got.dtype == array.dtype
        assert got.tobytes() == array.tobytes()


def test_replies_of_ours_may_mix_both_forms() -> None:
    request = InferRequest(
        model_name="m",
        outputs=(WantedOutput(name="b", binary=True), WantedOutput(name="a")),
    )
    outputs = tuple(
        NamedTensor(name=name, tensor=as_tensor(ARRAYS[datatype]))
        for name, datatype in (("a", "FP64"), ("b", "INT8"), ("c", "FP32"))
    )
    pieces, length, _ = encode_infer_response(
        InferResponse(model_name="m", outputs=outputs), request
    )
    result = InferResult.from_response_body(b"".join(pieces), header_length=length)
    assert result.as_numpy("a").tolist() == ARRAYS["FP64"].tolist()
    assert result.as_numpy("b").tolist() == ARRAYS["INT8"].tolist()
    assert result.get_output("c") is None


def test_empty_binary_outputs_need_no_header() -> None:
    response = InferResponse(
        model_name="m",
        outputs=(NamedTensor(name="y", tensor=Tensor(dtype=DType.FLOAT, shape=(0, 4))),),
    )
    request = InferRequest(model_name="m", binary_output_default=True)
    pieces, length, kind = encode_infer_response(response, request)
    assert (length, kind) == (None, "application/json")
    result = InferResult.from_response_body(b"".join(pieces))
    assert result.as_numpy("y").shape == (0, 4)


def test_not_a_number_travels_in_json_both_ways() -> None:
    array = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    request = parsed(*body_of(theirs("x", "FP32", array, binary=False)))
    assert bytes(request.inputs[0].tensor.data)[4:] == array.tobytes()[4:]
    response = InferResponse(
        model_name="m", outputs=(NamedTensor(name="y", tensor=as_tensor(array)),)
    )
    pieces, _, _ = encode_infer_response(response, InferRequest(model_name="m"))
    assert b'"data":[NaN,Infinity,-Infinity,-0.0]' in b"".join(pieces)
    result = InferResult.from_response_body(b"".join(pieces))
    np.testing.assert_array_equal(result.as_numpy("y"), array)


def test_an_error_of_ours_becomes_their_exception() -> None:
    from tritonclient.http._utils import _get_error

    class Reply:
        status_code = 404

        def read(self) -> bytes:
            return encode_error(unknown_model("m"))

    error = _get_error(Reply())
    assert isinstance(error, InferenceServerException)
    assert error.message() == "Request for unknown model: 'm' is not found"
    assert error.status() == "404"


def test_our_request_says_what_theirs_says() -> None:
    array = ARRAYS["FP32"]
    request = InferRequest(
        model_name="m",
        id="7",
        inputs=(NamedTensor(name="x", tensor=as_tensor(array)),),
        outputs=(WantedOutput(name="y", binary=True),),
    )
    pieces, length = encode_infer_request(request)
    body = b"".join(pieces)
    their_body, their_length = body_of(
        theirs("x", "FP32", array, binary=True),
        request_id="7",
        outputs=[InferRequestedOutput("y", binary_data=True)],
    )
    assert json.loads(body[:length]) == json.loads(their_body[:their_length])
    assert body[length:] == their_body[their_length:] == encode_raw(as_tensor(array))


def test_their_view_of_our_reply_is_ours() -> None:
    response = InferResponse(
        model_name="m",
        outputs=(NamedTensor(name="y", tensor=as_tensor(ARRAYS["BYTES"])),),
    )
    pieces, length, _ = encode_infer_response(
        response, InferRequest(model_name="m", binary_output_default=True)
    )
    assert parse_infer_response(b"".join(pieces), header_length=length) == response
