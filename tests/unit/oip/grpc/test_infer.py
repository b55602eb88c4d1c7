"""Tests of inferences as messages; tritonclient writes what we read and reads what we write."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult, service_pb2
from tritonclient.grpc._utils import _get_inference_request

from inferonnx.oip import (
    BadReplyError,
    InferRequest,
    InferResponse,
    InvalidRequestError,
    Limits,
    NamedTensor,
    TooLargeError,
    UnsupportedError,
    WantedOutput,
)
from inferonnx.oip.grpc import (
    encode_infer_request,
    encode_infer_response,
    encode_stream_error,
    encode_stream_response,
    parse_infer_request,
    parse_infer_response,
)
from inferonnx.tensors import DType, Tensor, as_tensor

Request = service_pb2.ModelInferRequest
Input = Request.InferInputTensor
Contents = service_pb2.InferTensorContents

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
    "FP16": np.array([[1.5, -0.25, np.nan]], np.float16),
    "FP32": np.array([[0.1, -3.4e38, np.nan]], np.float32),
    "FP64": np.array([[0.1, -1.7e308, np.inf]], np.float64),
    "BYTES": np.array([[b"a\0b", b"", b"\xff\xfe"]], np.object_),
    "BF16": np.array([[1.5, -0.25, 3e38]], ml_dtypes.bfloat16),
}
LISTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def of_theirs(*inputs: InferInput, **options: Any) -> bytes:
    defaults: dict[str, Any] = {
        "model_name": "m",
        "model_version": "",
        "request_id": "",
        "outputs": None,
        "sequence_id": 0,
        "sequence_start": False,
        "sequence_end": False,
        "priority": 0,
        "timeout": None,
        "parameters": None,
    }
    request = _get_inference_request(inputs=list(inputs), **(defaults | options))
    return bytes(request.SerializeToString())


def theirs(name: str, datatype: str, array: Any) -> InferInput:
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def typed(datatype: str, values: list[Any], shape: list[int] | None = None) -> Input:
    contents = Contents(**{LISTS[datatype]: values})
    shape = [len(values)] if shape is None else shape
    return Input(name="x", datatype=datatype, shape=shape, contents=contents)


def refused(request: Request) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        parse_infer_request(request.SerializeToString())
    return caught.value.message


@pytest.mark.parametrize("datatype", ARRAYS)
def test_a_raw_request_of_theirs_is_read(datatype: str) -> None:
    array = ARRAYS[datatype]
    data = of_theirs(theirs("x", datatype, array), request_id="7", model_version="3")
    assert parse_infer_request(data) == InferRequest(
        model_name="m",
        model_version="3",
        id="7",
        inputs=(NamedTensor(name="x", tensor=as_tensor(array)),),
    )


def test_raw_tensors_are_views_of_the_message() -> None:
    data = bytearray(of_theirs(theirs("x", "FP32", ARRAYS["FP32"])))
    (named,) = parse_infer_request(data).inputs
    data[-4:] = np.float32(5).tobytes()
    assert named.tensor.tolist()[0][2] == 5.0


def test_all_that_theirs_can_say() -> None:
    data = of_theirs(
        theirs("a", "FP32", ARRAYS["FP32"]),
        theirs("b", "BYTES", ARRAYS["BYTES"]),
        outputs=[InferRequestedOutput("y"), InferRequestedOutput("z", class_count=3)],
        priority=2**63,
        timeout=250_000,
        sequence_id="nine",
        sequence_start=True,
        parameters={"mood": "good", "n": 3, "on": True, "x": 0.5},
    )
    request = parse_infer_request(data)
    assert [named.name for named in request.inputs] == ["a", "b"]
    assert request.outputs == (WantedOutput(name="y"), WantedOutput(name="z", classification=3))
    assert (request.priority, request.timeout_us) == (2**63, 250_000)
    assert request.parameters == {"mood": "good", "n": 3, "on": True, "x": 0.5}
    assert not request.empty_final_response


@pytest.mark.parametrize("datatype", LISTS)
def test_typed_contents_are_read(datatype: str) -> None:
    array = ARRAYS[datatype]
    request = Request(model_name="m", inputs=[typed(datatype, array.reshape(-1).tolist(), [1, 3])])
    (named,) = parse_infer_request(request.SerializeToString()).inputs
    assert named.tensor == as_tensor(array)


@pytest.mark.parametrize("datatype", LISTS)
def test_typed_contents_may_be_empty(datatype: str) -> None:
    tensor = Input(name="x", datatype=datatype, shape=[0, 2], contents=Contents())
    request = Request(model_name="m", inputs=[tensor])
    (named,) = parse_infer_request(request.SerializeToString()).inputs
    assert named.tensor.shape == (0, 2)
    assert refused(Request(model_name="m", inputs=[typed(datatype, [], [1])]))


def test_numbers_may_stand_one_by_one_in_the_message() -> None:
    # Field 6 as fixed32 twice, not packed; parsers must take both.
    contents = b"".join(b"\x35" + np.float32(x).tobytes() for x in (1, 2))
    head = Input(name="x", datatype="FP32", shape=[2]).SerializeToString()
    tensor = head + b"\x2a" + bytes([len(contents)]) + contents
    data = b"\x2a" + bytes([len(tensor)]) + tensor
    assert Request.FromString(data).inputs[0].contents.fp32_contents == [1, 2]
    assert parse_infer_request(data).inputs[0].tensor.tolist() == [1, 2]


EXPLICIT = "unexpected explicit tensor data for input tensor 'x' for model 'm'"


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            Input(name="x", datatype="FP32", shape=[1], contents=Contents(int_contents=[1])),
            f"{EXPLICIT} of type 'INT32', expected datatype 'FP32'",
        ),
        (
            Input(name="x", datatype="FP16", shape=[1], contents=Contents(fp32_contents=[1])),
            f"{EXPLICIT} of type 'FP32', expected datatype 'FP16'",
        ),
        (
            Input(
                name="x",
                datatype="FP32",
                shape=[1],
                contents=Contents(fp32_contents=[1], fp64_contents=[1]),
            ),
            f"{EXPLICIT}, binary data was already supplied.",
        ),
        (
            typed("FP32", [1, 2], [3]),
            "input byte size mismatch for input 'x' for model 'm'. Expected 12, got 8",
        ),
        (
            Input(name="x", datatype="FP16", shape=[2], contents=Contents()),
            "input byte size mismatch for input 'x' for model 'm'. Expected 4, got 0",
        ),
        (
            typed("BYTES", [b"a", b"b"], [1]),
            (
                "unexpected number of string elements 2 for inference input 'x' for model 'm', "
                "expecting 1"
            ),
        ),
        (
            typed("BYTES", [b"a"], [2]),
            "expected 2 string elements for inference input 'x' for model 'm', got 1",
        ),
        (
            typed("INT8", [128]),
            "an element is out of range for INT8 for input tensor 'x' for model 'm'",
        ),
        (
            typed("UINT16", [65536]),
            "an element is out of range for UINT16 for input tensor 'x' for model 'm'",
        ),
        (
            Input(name="x", datatype="FP32", shape=[1]),
            "unable to find data for input tensor 'x' for model 'm' in request.",
        ),
        (Input(name="x", datatype="FP8", shape=[1]), "invalid datatype for input x"),
        (
            Input(name="x", datatype="FP32", shape=[-1]),
            "invalid shape for input 'x': shape [-1] contains one or more invalid dimensions",
        ),
        (
            Input(name="x", datatype="FP32", shape=[2**32, 2**32]),
            (
                "invalid shape for input 'x': shape [4294967296,4294967296] causes total element "
                f"count to exceed maximum size of {2**63 - 1}"
            ),
        ),
    ],
)
def test_tensors_that_are_wrong(tensor: Input, message: str) -> None:
    assert refused(Request(model_name="m", inputs=[tensor])) == message


RAW = Input(name="x", datatype="FP32", shape=[1])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            Request(model_name="m", inputs=[RAW, RAW], raw_input_contents=[bytes(4)] * 2),
            "input 'x' already exists in request",
        ),
        (
            Request(model_name="m", inputs=[typed("FP32", [1])], raw_input_contents=[bytes(4)]),
            (
                "contents field must not be specified when using raw_input_contents for 'x' for "
                "model 'm'"
            ),
        ),
        (
            Request(model_name="m", inputs=[RAW], raw_input_contents=[bytes(4)] * 2),
            "unexpected additional input data for model 'm'",
        ),
        (
            Request(model_name="m", inputs=[RAW], raw_input_contents=[bytes(5)]),
            "input byte size mismatch for input 'x' for model 'm'. Expected 4, got 5",
        ),
        (
            Request(model_name="m", outputs=[{"name": "y"}, {"name": "y"}]),
            "output 'y' already exists in request",
        ),
        (
            Request(
                model_name="m",
                outputs=[{"name": "y", "parameters": {"classification": {"string_param": "3"}}}],
            ),
            (
                "invalid value type for 'classification' parameter for output tensor 'y', expected "
                "int64_param."
            ),
        ),
        (
            Request(model_name="m", parameters={"timeout": {"string_param": "3"}}),
            "invalid value type for 'timeout' parameter, expected int64_param.",
        ),
        (
            Request(model_name="m", parameters={"timeout": {"int64_param": -3}}),
            "invalid value for 'timeout', expected value >= 0.",
        ),
        (
            Request(model_name="m", parameters={"priority": {"bool_param": True}}),
            "invalid value type for 'priority' parameter, expected int64_param or uint64_param.",
        ),
        (
            Request(model_name="m", parameters={"priority": {"int64_param": -3}}),
            "invalid value for 'priority', expected value >= 0.",
        ),
        (
            Request(model_name="m", parameters={"sequence_id": {"bool_param": True}}),
            (
                "invalid value type for 'sequence_id' parameter, expected int64_param or "
                "string_param."
            ),
        ),
        (
            Request(model_name="m", parameters={"sequence_end": {"int64_param": 1}}),
            "invalid value type for 'sequence_end' parameter, expected bool_param.",
        ),
        (
            Request(model_name="m", parameters={"triton_x": {"int64_param": 1}}),
            (
                "parameter keys starting with 'triton_' are reserved for Triton usage. Only the "
                "following keys starting with 'triton_' are allowed: "
                "triton_enable_empty_final_response"
            ),
        ),
        (
            Request(
                model_name="m",
                parameters={"triton_enable_empty_final_response": {"int64_param": 1}},
            ),
            (
                "invalid value type for 'triton_enable_empty_final_response' parameter, expected "
                "bool_param."
            ),
        ),
        (Request(model_name="m", parameters={"x": {}}), "parameter 'x' has no value"),
        (
            Request(model_name="m" * 70_000),
            "the message has 70004 bytes besides its tensors, 65536 is the most",
        ),
    ],
)
def test_requests_that_are_wrong(request_: Request, message: str) -> None:
    assert refused(request_) == message


def test_what_perf_analyzer_and_kserve_add_is_taken() -> None:
    tensor = Input(
        name="x",
        datatype="FP32",
        shape=[1],
        parameters={"binary_data_size": {"int64_param": 4}},
    )
    request = Request(
        model_name="m",
        inputs=[tensor],
        raw_input_contents=[bytes(4)],
        parameters={"triton_enable_empty_final_response": {"bool_param": True}},
    )
    found = parse_infer_request(request.SerializeToString())
    assert found.empty_final_response
    assert found.parameters == {}


def test_shared_memory_is_refused() -> None:
    shared = {"shared_memory_region": {"string_param": "r"}}
    for request in (
        Request(inputs=[Input(name="x", datatype="FP32", shape=[1], parameters=shared)]),
        Request(outputs=[{"name": "y", "parameters": shared}]),
    ):
        with pytest.raises(UnsupportedError, match="shared memory is not supported"):
            parse_infer_request(request.SerializeToString())


@pytest.mark.parametrize(
    "data", [b"\x08", b"\x0a\xff", b"\x0a\x01\xff", b"\x2a\x01\x08", b"\x32\x02\x08"]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="malformed"):
        parse_infer_request(data)


def test_contents_that_are_no_message_are_refused() -> None:
    head = Input(name="x", datatype="FP32", shape=[1]).SerializeToString()
    tensor = head + b"\x2a\x03\x32\x01a"  # field 6 as one packed byte, where floats take four
    with pytest.raises(InvalidRequestError, match="malformed"):
        parse_infer_request(b"\x2a" + bytes([len(tensor)]) + tensor)


def test_memory_is_counted_before_it_is_taken() -> None:
    strings = Request(inputs=[typed("BYTES", [b""] * 1000)]).SerializeToString()
    numbers = Request(inputs=[typed("INT64", [1] * 1000)]).SerializeToString()
    floats = Request(inputs=[typed("FP32", [1] * 1000)]).SerializeToString()
    for data, least in ((strings, 81_000), (numbers, 16_000), (floats, 8_000)):
        parse_infer_request(data, limits=Limits(tensor_bytes=least + 24))
        with pytest.raises(TooLargeError):
            parse_infer_request(data, limits=Limits(tensor_bytes=least - 1))


@pytest.mark.parametrize("datatype", ARRAYS)
def test_an_answer_of_ours_is_read(datatype: str) -> None:
    array = ARRAYS[datatype]
    tensor = as_tensor(array)
    response = InferResponse(
        model_name="m",
        model_version="3",
        id="7",
        parameters={"a": 1, "b": "c"},
        outputs=(
            NamedTensor(name="y", tensor=tensor),
            NamedTensor(name="z", tensor=Tensor(dtype=DType.FLOAT, shape=(0,))),
            NamedTensor(name="more", tensor=tensor),
        ),
    )
    request = InferRequest(model_name="m", outputs=(WantedOutput(name="z"), WantedOutput(name="y")))
    pieces = encode_infer_response(response, request)
    if datatype != "BYTES":
        assert any(piece is tensor.data for piece in pieces)
    message = service_pb2.ModelInferResponse.FromString(b"".join(pieces))
    assert (message.model_name, message.model_version, message.id) == ("m", "3", "7")
    assert message.parameters["a"].int64_param == 1
    result = InferResult(message)
    assert result.as_numpy("z").shape == (0,)
    assert result.as_numpy("more") is None
    got = result.as_numpy("y")
    if datatype == "BYTES":
        assert got.tolist() == array.tolist()
    else:
        assert got.tobytes() == array.tobytes()
    assert parse_infer_response(b"".join(pieces)) == InferResponse(
        model_name="m",
        model_version="3",
        id="7",
        parameters={"a": 1, "b": "c"},
        outputs=response.outputs[:2],
    )


def test_typed_replies_are_read_too() -> None:
    message = service_pb2.ModelInferResponse(
        model_name="m",
        outputs=[
            {"name": "y", "datatype": "INT32", "shape": [2], "contents": {"int_contents": [1, 2]}}
        ],
    )
    (named,) = parse_infer_response(message.SerializeToString()).outputs
    assert named.tensor.tolist() == [1, 2]


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x01\xff", b"\x32\x00"])
def test_replies_that_are_wrong(data: bytes) -> None:
    with pytest.raises(BadReplyError):
        parse_infer_response(data)


def test_streamed_answers_say_that_they_are_the_last() -> None:
    response = InferResponse(
        model_name="m", id="7", outputs=(NamedTensor(name="y", tensor=as_tensor(["a"])),)
    )
    pieces = encode_stream_response(response, InferRequest(model_name="m"))
    message = service_pb2.ModelStreamInferResponse.FromString(b"".join(pieces))
    assert message.error_message == ""
    assert message.infer_response.id == "7"
    assert message.infer_response.parameters["triton_final_response"].bool_param
    assert InferResult(message.infer_response).as_numpy("y").tolist() == [b"a"]


def test_streamed_errors_name_the_request() -> None:
    request = InferRequest(model_name="m", model_version="3", id="7")
    data = encode_stream_error(InvalidRequestError("why"), request)
    message = service_pb2.ModelStreamInferResponse.FromString(data)
    assert message.error_message == "why"
    assert (message.infer_response.id, message.infer_response.model_name) == ("7", "m")
    assert message.infer_response.parameters["triton_final_response"].bool_param
    bare = service_pb2.ModelStreamInferResponse.FromString(
        encode_stream_error(InvalidRequestError("why"))
    )
    assert bare.infer_response.id == ""


def test_a_bare_request_of_ours_is_bare() -> None:
    request = InferRequest(model_name="m", outputs=(WantedOutput(name="y"),))
    message = Request.FromString(b"".join(encode_infer_request(request)))
    assert message == Request(model_name="m", outputs=[{"name": "y"}])


def test_requests_of_ours_are_theirs() -> None:
    array = ARRAYS["FP32"]
    request = InferRequest(
        model_name="m",
        model_version="3",
        id="7",
        parameters={"n": 2**63, "mood": "good", "x": 0.5},
        inputs=(NamedTensor(name="x", tensor=as_tensor(array)),),
        outputs=(WantedOutput(name="y", classification=2),),
        timeout_us=9,
        priority=1,
        empty_final_response=True,
    )
    data = b"".join(encode_infer_request(request))
    message = Request.FromString(data)
    assert message.raw_input_contents[0] == array.tobytes()
    assert message.parameters["n"].uint64_param == 2**63
    assert message.outputs[0].parameters["classification"].int64_param == 2
    assert parse_infer_request(data) == request
