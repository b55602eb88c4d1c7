"""Tests of inference requests as bodies: what is read, and each way to be wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inferonnx.oip.errors import InvalidRequestError, TooLargeError, UnsupportedError
from inferonnx.oip.requests import (
    InferRequest,
    Limits,
    NamedTensor,
    RawRequest,
    WantedOutput,
)
from inferonnx.oip.rest_request import (
    encode_infer_request,
    parse_header_length,
    parse_infer_request,
)
from inferonnx.tensors import DType, Tensor, as_tensor

if TYPE_CHECKING:
    from conftest import Rest

ONE_OF = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in "
    "'parameters', 'shared_memory_region' in 'parameters'. But"
)
BIG = 2**63 - 1
MANY = "Unable to parse 'data': Shape does not match true shape of 'data' field"


def refused(rest: Rest, body: Any, blobs: bytes | None = None, **options: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        rest.parse(body, blobs, **options)
    return caught.value.message


def test_a_plain_request_is_read(rest: Rest) -> None:
    request = rest.parse({"id": "7", "inputs": [rest.tensor()], "outputs": [{"name": "y"}]})
    assert request == InferRequest(
        model_name="m",
        id="7",
        inputs=(NamedTensor(name="x", tensor=as_tensor(np.array([1, 2], np.float32))),),
        outputs=(WantedOutput(name="y"),),
    )


def test_the_order_of_members_does_not_matter(rest: Rest) -> None:
    members = rest.tensor()
    for first in members:
        turned = {first: members[first]} | members
        assert rest.parse([turned]) == rest.parse([members])
    turned = {"outputs": [], "inputs": [members], "id": "7"}
    assert rest.parse(turned) == rest.parse({"id": "7", "inputs": [members]})


def test_binary_inputs_are_views_of_the_body_in_the_order_of_inputs(rest: Rest) -> None:
    text = json.dumps(
        {
            "inputs": [
                rest.binary(4, "a", shape=[4], datatype="UINT8"),
                rest.tensor("b"),
                rest.binary(0, "c", shape=[0], datatype="FP64"),
                rest.binary(2, "d", shape=[1], datatype="FP16"),
            ]
        }
    ).encode()
    body = bytearray(text + b"abcd" + b"\x00\x3c")
    request = parse_infer_request(body, model_name="m", header_length=len(text))
    assert isinstance(request, InferRequest)
    a, b, c, d = (named.tensor for named in request.inputs)
    assert bytes(a.data) == b"abcd"
    assert b.tolist() == [1.0, 2.0]
    assert c.shape == (0,)
    assert d.tolist() == [1.0]
    body[len(text)] = ord("z")
    assert bytes(a.data) == b"zbcd"


@pytest.mark.parametrize(
    ("shape", "data"),
    [([], [5]), ([], 5), ([0], []), ([2, 0], [[], []]), ([0], [1, 2]), ([1, 1], [[5]])],
)
def test_scalars_and_empty_tensors(rest: Rest, shape: list[int], data: Any) -> None:
    tensor = rest.tensor(shape=shape, data=data)
    if data == 5:
        assert refused(rest, [tensor]) == (
            "Unable to parse 'data': attempt to access JSON non-array as array"
        )
        return
    (named,) = rest.parse([tensor]).inputs
    assert named.tensor.shape == tuple(shape)
    assert named.tensor.n_elements == (0 if 0 in shape else 1)


@pytest.mark.parametrize("value", [None, {}, {"mood": "good"}, {"a": 1, "b": 0.5, "c": True}])
def test_parameters_of_the_request(rest: Rest, value: Any) -> None:
    assert rest.parse({"inputs": [], "parameters": value}).parameters == (value or {})


def test_parameters_that_mean_something(rest: Rest) -> None:
    parameters = {
        "binary_data_output": True,
        "timeout": 2**64 - 1,
        "priority": 3,
        "sequence_id": "seven",
        "sequence_start": True,
        "sequence_end": False,
        "headers": "x",
    }
    request = rest.parse({"parameters": parameters, "inputs": []})
    assert request.binary_output_default
    assert (request.timeout_us, request.priority) == (2**64 - 1, 3)
    assert request.parameters == {"headers": "x"}
    assert rest.parse({"parameters": {"sequence_id": 7}, "inputs": []}).parameters == {}


def test_members_that_nobody_knows_are_ignored(rest: Rest) -> None:
    body = {"model_name": "other", "x": [{"y": None}], "inputs": [rest.tensor(z=[1])]}
    assert rest.parse(body) == rest.parse([rest.tensor()])
    assert rest.parse(body).model_name == "m"


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([], ()),
        (None, ()),
        ([{"name": "y"}], (WantedOutput(name="y"),)),
        ([{"name": "y", "parameters": None}], (WantedOutput(name="y"),)),
        (
            [{"name": "y", "parameters": {"binary_data": True, "classification": 3}}],
            (WantedOutput(name="y", binary=True, classification=3),),
        ),
    ],
)
def test_outputs(rest: Rest, outputs: Any, expected: tuple[WantedOutput, ...]) -> None:
    assert rest.parse({"inputs": [], "outputs": outputs}).outputs == expected


def test_what_is_asked_of_an_output() -> None:
    named = InferRequest(model_name="m", outputs=(WantedOutput(name="y", binary=True),))
    assert named.output("y") == WantedOutput(name="y", binary=True)
    assert named.output("z") is None
    unnamed = InferRequest(model_name="m", binary_output_default=True)
    assert unnamed.output("z") == WantedOutput(name="z", binary=True)


def expect(what: str, name: str) -> str:
    return f"Unable to parse '{name}': attempt to access JSON {what}"


def lacking(n_bytes: int) -> str:
    return f"unexpected size for input 'x', expecting {n_bytes} additional bytes for model 'm'"


def missing(name: str) -> str:
    return f"Unable to parse '{name}': attempt to access non-existing object member '{name}'"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, missing("inputs")),
        (b"[]", missing("inputs")),
        (b"7", missing("inputs")),
        ({"inputs": {}}, expect("non-array as array", "inputs")),
        ({"inputs": None}, expect("non-array as array", "inputs")),
        ({"inputs": [7]}, f"{ONE_OF} no field is set"),
        ({"inputs": [], "id": 7}, expect("non-string as string", "id")),
        ({"inputs": [], "outputs": {}}, expect("non-array as array", "outputs")),
        ({"inputs": [], "outputs": [7]}, expect("non-object as object", "outputs")),
        ({"inputs": [], "outputs": [{}]}, missing("name")),
        ({"inputs": [], "outputs": [{"name": 7}]}, expect("non-string as string", "name")),
        ({"inputs": [], "outputs": [{"name": "y"}] * 2}, "output 'y' already exists in request"),
        (
            {"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
            expect("non-boolean as boolean", "binary_data"),
        ),
        (
            {"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": -1}}]},
            expect("non-unsigned-integer as unsigned-integer", "classification"),
        ),
        ({"inputs": [], "parameters": []}, expect("non-object as object", "parameters")),
        (
            {"inputs": [], "parameters": {"timeout": -1}},
            expect("non-unsigned-integer as unsigned-integer", "timeout"),
        ),
        (
            {"inputs": [], "parameters": {"timeout": 2**64}},
            expect("non-unsigned-integer as unsigned-integer", "timeout"),
        ),
        (
            {"inputs": [], "parameters": {"priority": 1.0}},
            expect("non-unsigned-integer as unsigned-integer", "priority"),
        ),
        (
            {"inputs": [], "parameters": {"sequence_start": 1}},
            expect("non-boolean as boolean", "sequence_start"),
        ),
        (
            {"inputs": [], "parameters": {"sequence_id": -1}},
            expect("non-unsigned-integer as unsigned-integer", "sequence_id"),
        ),
        (
            {"inputs": [], "parameters": {"triton_x": 1}},
            (
                "parameter keys starting with 'triton_' are reserved for Triton usage and should "
                "not be specified."
            ),
        ),
        (
            {"inputs": [], "parameters": {"x": [1]}},
            "parameter 'x' has invalid type. It should be either 'int', 'bool', or 'string'.",
        ),
    ],
)
def test_requests_that_are_wrong(rest: Rest, body: Any, message: str) -> None:
    assert refused(rest, body) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ...}, missing("name")),
        ({"name": 7}, expect("non-string as string", "name")),
        ({"datatype": ...}, missing("datatype")),
        ({"datatype": 7}, expect("non-string as string", "datatype")),
        ({"datatype": "FP8"}, "invalid datatype for input x"),
        ({"datatype": "fp32"}, "invalid datatype for input x"),
        ({"shape": ...}, missing("shape")),
        ({"shape": 2}, expect("non-array as array", "shape")),
        ({"shape": None}, expect("non-array as array", "shape")),
        ({"shape": [-2]}, expect("non-unsigned-integer as unsigned-integer", "shape")),
        ({"shape": [2.0]}, expect("non-unsigned-integer as unsigned-integer", "shape")),
        ({"shape": [True]}, expect("non-unsigned-integer as unsigned-integer", "shape")),
        ({"shape": [2**64]}, expect("non-unsigned-integer as unsigned-integer", "shape")),
        (
            {"shape": [2**63]},
            (f"invalid shape for input 'x': shape [{2**63}] contains one or more invalid "
            "dimensions"),
        ),
        (
            {"shape": [2**4, 2**60 + 2]},
            (f"invalid shape for input 'x': shape [16,{2**60 + 2}] causes total element count to "
            f"exceed maximum size of {BIG}"),
        ),
        (
            {"shape": [2**2, 2**60 - 2]},
            (f"byte size overflow for input 'x': element count ({2**62 - 8}) * data type size (4) "
            f"exceeds maximum allowed size ({BIG})"),
        ),
        ({"shape": [1] * 65}, "invalid shape for input 'x': it has more than 64 axes"),
        ({"data": ...}, f"{ONE_OF} no field is set"),
        (
            {"parameters": {"binary_data_size": 8}},
            f"{ONE_OF} set 'data' 'binary_data_size'",
        ),
        (
            {"parameters": {"binary_data_size": 8, "shared_memory_region": "r"}},
            f"{ONE_OF} set 'data' 'binary_data_size' 'shared_memory_region'",
        ),
        ({"parameters": 7}, expect("non-object as object", "parameters")),
        ({"data": 7}, expect("non-array as array", "data")),
        ({"data": {"a": 1}}, expect("non-array as array", "data")),
        ({"data": None}, expect("non-array as array", "data")),
        ({"data": [1, 2, 3]}, MANY),
        ({"data": [1]}, "Failed to parse 'data' field: shape does not match true shape"),
        ({"data": ["a", "b"]}, expect("non-number as double", "data")),
        (
            {"datatype": "FP16"},
            ("receiving FP16 data via JSON is not supported. Please use the binary data format "
            "for input x"),
        ),
        (
            {"datatype": "BF16"},
            ("receiving BF16 data via JSON is not supported. Please use the binary data format "
            "for input x"),
        ),
    ],
)  # fmt: skip
def test_inputs_that_are_wrong(rest: Rest, change: dict[str, Any], message: str) -> None:
    members = {k: v for k, v in (rest.tensor() | change).items() if v is not ...}
    assert refused(rest, [members]) == message


def test_inputs_twice(rest: Rest) -> None:
    assert refused(rest, [rest.tensor(), rest.tensor()]) == "input 'x' already exists in request"


@pytest.mark.parametrize(
    ("size", "blobs", "message"),
    [
        (8, b"1234567", lacking(1)),
        (2**64 - 1, b"1", lacking(2**64 - 2)),
        (8, b"123456789", "unexpected additional input data for model 'm'"),
        (0, b"12345678", "input byte size mismatch for input 'x' for model 'm'. Expected 8, got 0"),
        (7, b"1234567", "input byte size mismatch for input 'x' for model 'm'. Expected 8, got 7"),
        (-1, b"", expect("non-unsigned-integer as unsigned-integer", "binary_data_size")),
        ("8", b"", expect("non-unsigned-integer as unsigned-integer", "binary_data_size")),
        (8.0, b"", expect("non-unsigned-integer as unsigned-integer", "binary_data_size")),
        (2**64, b"", expect("non-unsigned-integer as unsigned-integer", "binary_data_size")),
        (None, b"", expect("non-unsigned-integer as unsigned-integer", "binary_data_size")),
    ],
)  # fmt: skip
def test_binary_sizes_that_lie(rest: Rest, size: Any, blobs: bytes, message: str) -> None:
    assert refused(rest, [rest.binary(size)], blobs) == message


def test_binary_data_needs_the_header(rest: Rest) -> None:
    assert refused(rest, [rest.binary(8)]) == (lacking(8))
    assert refused(rest, [rest.tensor()], b"x") == "unexpected additional input data for model 'm'"


def test_shared_memory_is_refused(rest: Rest) -> None:
    members = rest.tensor(parameters={"shared_memory_region": "r"})
    del members["data"]
    output = {"name": "y", "parameters": {"shared_memory_region": "r"}}
    for body in ({"inputs": [members]}, {"inputs": [], "outputs": [output]}):
        with pytest.raises(UnsupportedError, match="shared memory is not supported"):
            rest.parse(body)


def test_limits(rest: Rest) -> None:
    body = json.dumps({"inputs": [rest.tensor(shape=[3], data=[1, 2, 3])]}).encode()
    n = len(body)
    rest.parse(body, limits=Limits(json_bytes=n, tensor_bytes=12))
    assert refused(rest, body, limits=Limits(json_bytes=n - 1)) == (
        f"request JSON size of {n} bytes exceeds the maximum allowed input size of {n - 1} bytes."
    )
    with pytest.raises(TooLargeError):
        rest.parse(body, limits=Limits(tensor_bytes=11))
    # What lies in the body takes nothing more, strings excepted.
    rest.parse([rest.binary(8)], bytes(8), limits=Limits(tensor_bytes=0))


@pytest.mark.parametrize("length", [0, None])
def test_a_body_without_json_is_raw(length: int | None) -> None:
    body = b"\0\0\0\0" if length == 0 else b""
    found = parse_infer_request(body, model_name="m", model_version="3", header_length=length)
    assert found == RawRequest(model_name="m", model_version="3", data=memoryview(body))


@pytest.mark.parametrize("length", [-1, 3])
def test_the_json_part_lies_within_the_body(length: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_infer_request(b"{}", model_name="m", header_length=length)
    assert caught.value.message == (
        f"inference header size should be in range (0, 2), got: {length}"
    )


NAME = "Inference-Header-Content-Length"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("0", 0),
        ("100", 100),
        ("007", 7),
        ("abc", f"Unable to parse {NAME}, got: abc"),
        ("", f"Unable to parse {NAME}, got: "),
        ("1x", f"Unable to parse {NAME}, got: 1x"),
        ("1.0", f"Unable to parse {NAME}, got: 1.0"),
        ("+1", f"Unable to parse {NAME}, got: +1"),
        ("1_0", f"Unable to parse {NAME}, got: 1_0"),
        ("٣", f"Unable to parse {NAME}, got: ٣"),
        ("-1", "inference header size should be in range (0, 100), got: -1"),
        ("101", "inference header size should be in range (0, 100), got: 101"),
        (
            "2147483648",
            (
                f"Unable to parse {NAME}, value is out of range [ -2147483648, 2147483647 ], "
                "got: 2147483648"
            ),
        ),
        (
            "9" * 5000,
            (
                f"Unable to parse {NAME}, value is out of range [ -2147483648, 2147483647 ], "
                f"got: {'9' * 256}..."
            ),
        ),
    ],
)
def test_the_header_that_says_how_long_the_json_is(
    text: str | None, expected: int | str | None
) -> None:
    if not isinstance(expected, str):
        assert parse_header_length(text, 100) == expected
        return
    with pytest.raises(InvalidRequestError) as caught:
        parse_header_length(text, 100)
    assert caught.value.message == expected


def test_written_requests_are_read_again() -> None:
    request = InferRequest(
        model_name="m",
        model_version="2",
        id="7",
        parameters={"mood": "good"},
        inputs=(
            NamedTensor(name="a", tensor=as_tensor(np.arange(6, dtype=np.int16).reshape(2, 3))),
            NamedTensor(name="b", tensor=as_tensor(["x", "y"])),
            NamedTensor(name="c", tensor=Tensor(dtype=DType.BFLOAT16, shape=(0,))),
        ),
        outputs=(WantedOutput(name="y", binary=True, classification=2), WantedOutput(name="z")),
        timeout_us=5,
        priority=1,
    )
    for json_inputs in ((), ("a",), ("a", "b")):
        pieces, length = encode_infer_request(request, json_inputs=json_inputs)
        found = parse_infer_request(
            b"".join(pieces), model_name="m", model_version="2", header_length=length
        )
        assert found == request


def test_a_request_all_in_json_has_no_header() -> None:
    request = InferRequest(
        model_name="m",
        inputs=(NamedTensor(name="a", tensor=as_tensor(["x"])),),
        binary_output_default=True,
    )
    pieces, length = encode_infer_request(request, json_inputs=("a",))
    assert length is None
    assert parse_infer_request(b"".join(pieces), model_name="m") == request


def test_halves_are_not_written_as_json() -> None:
    tensor = Tensor(dtype=DType.FLOAT16, shape=(1,), data=b"\0\0")
    request = InferRequest(model_name="m", inputs=(NamedTensor(name="a", tensor=tensor),))
    with pytest.raises(InvalidRequestError) as caught:
        encode_infer_request(request, json_inputs=("a",))
    assert caught.value.message == (
        "sending FP16 data via JSON is not supported. Please use the binary data format for input a"
    )
