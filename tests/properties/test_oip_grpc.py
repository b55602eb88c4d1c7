"""Inferences as messages: what goes in comes out; what is broken raises OipError, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from inferonnx.oip import (
    DATATYPES,
    InferRequest,
    InferResponse,
    Limits,
    NamedTensor,
    OipError,
    WantedOutput,
)
from inferonnx.oip.grpc import (
    METHODS,
    encode_infer_request,
    encode_infer_response,
    encode_message,
    parse_infer_request,
    parse_infer_response,
    parse_message,
)
from inferonnx.tensors import TEXT_ERRORS, DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BYTES = st.binary(max_size=6).map(lambda raw: raw.decode(errors=TEXT_ERRORS))
NAMES = st.lists(TEXT, max_size=4, unique=True)
PARAMETERS = st.dictionaries(
    TEXT.map(lambda name: f"p{name}"),
    st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT,
    max_size=3,
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    dtype = draw(st.sampled_from(sorted(DATATYPES.values())))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    n = 1
    for size in shape:
        n *= size
    if dtype is DType.STRING:
        texts = draw(st.lists(BYTES, min_size=n, max_size=n))
        return Tensor(dtype=dtype, shape=shape, strings=texts)
    byte = st.integers(0, 1 if dtype is DType.BOOL else 255)
    n_bytes = dtype.n_bytes(n)
    data = bytes(draw(st.lists(byte, min_size=n_bytes, max_size=n_bytes)))
    return Tensor(dtype=dtype, shape=shape, data=data)


@st.composite
def named(draw: st.DrawFn) -> tuple[NamedTensor, ...]:
    return tuple(NamedTensor(name=name, tensor=draw(tensors())) for name in draw(NAMES))


@st.composite
def requests(draw: st.DrawFn) -> InferRequest:
    return InferRequest(
        model_name=draw(TEXT),
        model_version=draw(TEXT),
        id=draw(TEXT),
        parameters=draw(PARAMETERS),
        inputs=draw(named()),
        outputs=tuple(
            WantedOutput(name=name, classification=draw(st.integers(0, 2**64 - 1)))
            for name in draw(NAMES)
        ),
        timeout_us=draw(st.integers(0, 2**64 - 1)),
        priority=draw(st.integers(0, 2**64 - 1)),
        empty_final_response=draw(st.booleans()),
    )


def use(data: bytes) -> None:
    """Read bytes as every message there is; only OipError may come of it."""
    limits = Limits(tensor_bytes=1 << 20)
    readers: list[Callable[[], object]] = [
        lambda: parse_infer_request(data, limits=limits),
        lambda: parse_infer_response(data, limits=limits),
    ]
    readers += [
        lambda name=name: parse_message(name, data)  # type: ignore[misc]
        for kinds in METHODS.values()
        for name in kinds
    ]
    for read in readers:
        try:
            read()
        except OipError as error:
            message = error.message
        else:
            message = ""
        assert len(message) < 20_000


@given(requests())
def test_requests_come_through(request: InferRequest) -> None:
    data = b"".join(encode_infer_request(request))
    assert parse_infer_request(data) == request
    theirs = service_pb2.ModelInferRequest.FromString(data)
    assert parse_infer_request(theirs.SerializeToString()) == request


@given(named(), TEXT, PARAMETERS)
def test_answers_come_through(
    outputs: tuple[NamedTensor, ...], text: str, parameters: dict[str, Any]
) -> None:
    response = InferResponse(
        model_name=text, model_version="1", id=text, parameters=parameters, outputs=outputs
    )
    data = b"".join(encode_infer_response(response, InferRequest(model_name="m")))
    assert parse_infer_response(data) == response
    theirs = service_pb2.ModelInferResponse.FromString(data)
    assert parse_infer_response(theirs.SerializeToString()) == response


@given(st.data(), requests())
def test_any_damage_is_read_or_refused(data: st.DataObject, request: InferRequest) -> None:
    body = bytearray(b"".join(encode_infer_request(request)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        match data.draw(st.integers(0, 2)):
            case 0:
                del body[at:]
            case 1:
                del body[at : at + data.draw(st.integers(1, 5))]
            case 2:
                body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    use(bytes(body))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    use(data)


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y"]),
        "datatype": st.sampled_from([*DATATYPES, "FP8"]),
        "shape": st.lists(st.integers(-2, 3) | st.sampled_from([2**31, 2**62]), max_size=4),
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "shared_memory_region", "x"]),
            st.sampled_from([{}, {"int64_param": 1}, {"string_param": "x"}]),
            max_size=2,
        ),
        "contents": st.fixed_dictionaries(
            {},
            optional={
                "bool_contents": st.lists(st.booleans(), max_size=3),
                "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
                "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=3),
                "fp32_contents": st.lists(st.floats(width=32), max_size=3),
                "bytes_contents": st.lists(st.binary(max_size=3), max_size=3),
            },
        ),
    },
)


@given(
    st.lists(VALUES, max_size=3),
    st.lists(st.binary(max_size=16), max_size=3),
    st.dictionaries(
        st.sampled_from(["timeout", "priority", "sequence_id", "sequence_end", "triton_x", "z"]),
        st.sampled_from([{}, {"int64_param": -1}, {"uint64_param": 3}, {"double_param": 1.5}]),
        max_size=2,
    ),
)
def test_any_request_of_theirs_is_read_or_refused(
    inputs: list[dict[str, Any]], raws: list[bytes], parameters: dict[str, Any]
) -> None:
    message = service_pb2.ModelInferRequest(
        inputs=inputs, raw_input_contents=raws, parameters=parameters
    )
    use(message.SerializeToString())


@given(st.sampled_from(sorted({name for kinds in METHODS.values() for name in kinds})), st.data())
def test_documents_come_through(name: str, data: st.DataObject) -> None:
    try:
        document = parse_message(name, data.draw(st.binary(max_size=30)))
        again = encode_message(name, document)
    except (OipError, KeyError):  # an enum's value that we don't know has no name
        return
    found = parse_message(name, again)
    assert repr(found) == repr(document)
