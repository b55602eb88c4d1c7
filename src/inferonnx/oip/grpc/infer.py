"""Inferences as messages, to and from the same values as in REST.

Tensors are cut out of the message before the `protobuf` runtime sees it, and follow it
on the way out: raw ones are views on both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from inferonnx.oip.datatypes import DATATYPES, datatype_of, encode_raw, parse_raw
from inferonnx.oip.errors import BadReplyError, InvalidRequestError, OipError, shown
from inferonnx.oip.grpc.contents import parse_contents
from inferonnx.oip.grpc.parameters import (
    fill_parameters,
    plain_parameters,
    read_classification,
    read_request_parameters,
)
from inferonnx.oip.grpc.pool import message_class
from inferonnx.oip.grpc.wire import bytes_field, malformed, split_fields
from inferonnx.oip.parameters import refuse_shared_memory
from inferonnx.oip.requests import (
    Allowance,
    InferRequest,
    InferResponse,
    Limits,
    NamedTensor,
    WantedOutput,
)
from inferonnx.oip.shapes import check_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferonnx.tensors import Tensor

_INPUTS, _WANTED, _RAW_IN = 5, 6, 7
_OUTPUTS, _RAW_OUT = 5, 6
_CONTENTS = 5
_STREAM_RESPONSE = 2
_MAX_HEAD_BYTES = 64 << 10
"""A message, or one tensor's part of it, without its elements."""

FINAL = "triton_final_response"
"""Parameter of a streamed answer that says whether it is the last to its request."""


def parse_infer_request(
    data: bytes | bytearray | memoryview, *, limits: Limits | None = None
) -> InferRequest:
    """Return what a ModelInferRequest says.

    Args:
        data: Its bytes; raw tensors stay views of them.
        limits: What it may take.

    Raises:
        OipError: It breaks a rule of the protocol, or a limit.
    """
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    allowance = Allowance((limits or Limits()).tensor_bytes)
    head, parts = split_fields(view, (_INPUTS, _WANTED, _RAW_IN))
    message = _parse("ModelInferRequest", head)
    model = message.model_name
    outputs: dict[str, WantedOutput] = {}
    for part in parts[_WANTED]:
        wanted = _parse("ModelInferRequest.InferRequestedOutputTensor", bytes(part))
        if wanted.name in outputs:
            raise InvalidRequestError(f"output '{shown(wanted.name)}' already exists in request")
        given = plain_parameters(wanted.parameters)
        refuse_shared_memory(given)
        outputs[wanted.name] = WantedOutput(
            name=wanted.name, classification=read_classification(given, wanted.name)
        )
    return InferRequest(
        model_name=model,
        model_version=message.model_version,
        id=message.id,
        inputs=_tensors(
            "ModelInferRequest.InferInputTensor",
            parts[_INPUTS],
            parts[_RAW_IN],
            model,
            allowance,
        ),
        outputs=tuple(outputs.values()),
        **read_request_parameters(plain_parameters(message.parameters)),
    )


def encode_infer_request(request: InferRequest) -> list[bytes | memoryview]:
    """Return a ModelInferRequest in pieces, its inputs raw."""
    message = message_class("ModelInferRequest")(
        model_name=request.model_name, model_version=request.model_version, id=request.id
    )
    parameters = dict(request.parameters)
    if request.timeout_us:
        parameters["timeout"] = request.timeout_us
    if request.priority:
        parameters["priority"] = request.priority
    if request.empty_final_response:
        parameters["triton_enable_empty_final_response"] = True
    fill_parameters(message.parameters, parameters)
    for wanted in request.outputs:
        output = message.outputs.add(name=wanted.name)
        if wanted.classification:
            fill_parameters(output.parameters, {"classification": wanted.classification})
    return _with_raw(message, message.inputs, request.inputs, _RAW_IN)


def encode_infer_response(
    response: InferResponse, request: InferRequest
) -> list[bytes | memoryview]:
    """Return a ModelInferResponse in pieces, views of the tensors among them.

    Args:
        response: What to answer.
        request: Says which outputs; in gRPC all of them are raw.
    """
    message = message_class("ModelInferResponse")(
        model_name=response.model_name, model_version=response.model_version, id=response.id
    )
    fill_parameters(message.parameters, dict(response.parameters))
    wanted = tuple(named for named in response.outputs if request.output(named.name))
    return _with_raw(message, message.outputs, wanted, _RAW_OUT)


def encode_stream_response(
    response: InferResponse, request: InferRequest
) -> list[bytes | memoryview]:
    """Return the answer to a request of a stream, marked as the last one to it."""
    from dataclasses import replace

    final = replace(response, parameters={**response.parameters, FINAL: True})
    pieces = encode_infer_response(final, request)
    return [bytes_field(_STREAM_RESPONSE, sum(map(len, pieces))), *pieces]


def encode_stream_error(error: OipError | str, request: InferRequest | None = None) -> bytes:
    """Return what a stream says of a request that failed; the stream goes on."""
    sentence = error if isinstance(error, str) else error.message
    message = message_class("ModelStreamInferResponse")(error_message=sentence)
    if request is not None:
        message.infer_response.id = request.id
        message.infer_response.model_name = request.model_name
        message.infer_response.model_version = request.model_version
    fill_parameters(message.infer_response.parameters, {FINAL: True})
    return bytes(message.SerializeToString())


def parse_infer_response(
    data: bytes | bytearray | memoryview, *, limits: Limits | None = None
) -> InferResponse:
    """Return what a ModelInferResponse says.

    Raises:
        BadReplyError: It breaks a rule of the protocol, or a limit.
    """
    view = memoryview(data).cast("B") if len(data) else memoryview(b"")
    allowance = Allowance((limits or Limits()).tensor_bytes)
    try:
        head, parts = split_fields(view, (_OUTPUTS, _RAW_OUT))
        message = _parse("ModelInferResponse", head)
        return InferResponse(
            model_name=message.model_name,
            model_version=message.model_version,
            id=message.id,
            parameters=plain_parameters(message.parameters),
            outputs=_tensors(
                "ModelInferResponse.InferOutputTensor",
                parts[_OUTPUTS],
                parts[_RAW_OUT],
                message.model_name,
                allowance,
            ),
        )
    except OipError as error:
        raise BadReplyError(f"the reply can't be read: {error.message}") from error


def _tensors(
    name: str, parts: list[memoryview], raws: list[memoryview], model: str, allowance: Allowance
) -> tuple[NamedTensor, ...]:
    """Return the tensors whose messages and raw elements these are."""
    found: dict[str, NamedTensor] = {}
    raw = iter(raws)
    for part in parts:
        head, cut = split_fields(part, (_CONTENTS,))
        contents = cut[_CONTENTS]
        message = _parse(name, head)
        if message.name in found:
            raise InvalidRequestError(f"input '{shown(message.name)}' already exists in request")
        if contents and raws:
            raise InvalidRequestError(
                "contents field must not be specified when using raw_input_contents for "
                f"'{shown(message.name)}' for model '{shown(model)}'"
            )
        tensor = _tensor(message, contents, raw, model, allowance)
        found[message.name] = NamedTensor(name=message.name, tensor=tensor)
    if next(raw, None) is not None:
        raise InvalidRequestError(f"unexpected additional input data for model '{shown(model)}'")
    return tuple(found.values())


def _tensor(
    message: Any,
    contents: list[memoryview],
    raws: Iterator[memoryview],
    model: str,
    allowance: Allowance,
) -> Tensor:
    name = message.name
    dtype = DATATYPES.get(message.datatype)
    if dtype is None:
        raise InvalidRequestError(f"invalid datatype for input {shown(name)}")
    shape = tuple(message.shape)
    check_shape(name, shape, dtype)
    refuse_shared_memory(plain_parameters(message.parameters))
    if contents:
        return parse_contents(
            dtype, shape, contents, name=name, model_name=model, allowance=allowance
        )
    view = next(raws, None)
    if view is None:
        raise InvalidRequestError(
            f"unable to find data for input tensor '{shown(name)}' for model '{shown(model)}' "
            "in request."
        )
    return parse_raw(dtype, shape, view, name=name, model_name=model, allowance=allowance)


def _with_raw(
    message: Any, heads: Any, tensors: tuple[NamedTensor, ...], number: int
) -> list[bytes | memoryview]:
    """Return a message in pieces, with `tensors` added to it."""
    pieces: list[bytes | memoryview] = []
    for named in tensors:
        heads.add(
            name=named.name,
            datatype=datatype_of(named.tensor.dtype),
            shape=named.tensor.shape,
        )
        raw = encode_raw(named.tensor)
        pieces += [bytes_field(number, len(raw)), raw]
    return [message.SerializeToString(), *pieces]


def _parse(name: str, head: bytes) -> Any:
    if len(head) > _MAX_HEAD_BYTES:
        raise InvalidRequestError(
            f"the message has {len(head)} bytes besides its tensors, {_MAX_HEAD_BYTES} is the most"
        )
    try:
        return message_class(name).FromString(head)
    except DecodeError as error:
        raise malformed() from error
