"""The answer to an inference as the body of an HTTP reply, both ways."""

from __future__ import annotations

from inferonnx.oip.datatypes import most_raw_bytes
from inferonnx.oip.errors import BadReplyError, OipError
from inferonnx.oip.json_data import most_text_bytes
from inferonnx.oip.parameters import as_members, as_text, custom_parameter
from inferonnx.oip.requests import Allowance, InferResponse, Limits
from inferonnx.oip.rest_reading import TensorReader
from inferonnx.oip.rest_writing import Body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from inferonnx.oip.requests import InferRequest

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"


def encode_infer_response(
    response: InferResponse, request: InferRequest
) -> tuple[list[bytes | memoryview], int | None, str]:
    """Return the body of a reply in pieces, the value of its length header, and its type.

    Args:
        response: What to answer; only the outputs that were asked for are written.
        request: Says which outputs, and which of them binary.

    Returns:
        Pieces, views of the tensors among them; the length of the JSON part, None when
        nothing follows it and the header is to be left out; the content type.

    Raises:
        InvalidRequestError: JSON is asked for what has no form in JSON.
    """
    body = _body(response, request)
    pieces, length = body.written()
    return pieces, *_headers(body, length)


def stream_infer_response(
    response: InferResponse, request: InferRequest
) -> tuple[Iterable[bytes | memoryview], int, int | None, str]:
    """As `encode_infer_response`, at twice the time, and no text of a tensor is held.

    Returns:
        Pieces, which are written anew each time that they are gone through; how long they are
        together; and the rest as there.
    """
    body = _body(response, request)
    n_bytes, length = body.measured()
    return body, n_bytes, *_headers(body, length)


def most_held_bytes(response: InferResponse, request: InferRequest) -> int:
    """Return the most that the pieces of `stream_infer_response` hold."""
    n_bytes = 0
    for named in response.outputs:
        if request.output(named.name) is not None:
            n_bytes += len(named.tensor.data) + most_raw_bytes(named.tensor.strings or ())
    return n_bytes


def _body(response: InferResponse, request: InferRequest) -> Body:
    body = Body()
    members: dict[str, Any] = {"id": response.id} if response.id else {}
    members["model_name"] = response.model_name
    members["model_version"] = response.model_version
    if response.parameters:
        members["parameters"] = dict(response.parameters)
    body.open(members, "outputs")
    for named in response.outputs:
        wanted = request.output(named.name)
        if wanted is not None:
            body.add(named, is_binary=wanted.binary, side="output")
    body.close()
    return body


def _headers(body: Body, length: int | None) -> tuple[int | None, str]:
    # As Triton does: when all that is binary is empty there is nothing behind the JSON.
    return (length, BINARY_TYPE) if body.has_blobs else (None, JSON_TYPE)


def most_written_bytes(
    response: InferResponse, request: InferRequest, *, is_json: bool = True
) -> int:
    """Return the most that elements take in a reply that are not sent as they lie in memory.

    Args:
        response: What is answered.
        request: Says which outputs, and which of them binary.
        is_json: Whether others are JSON; in gRPC all are binary.
    """
    n_bytes = 0
    for named in response.outputs:
        wanted = request.output(named.name)
        if wanted is not None and is_json and not wanted.binary:
            n_bytes += most_text_bytes(named.tensor)
        elif wanted is not None and named.tensor.strings is not None:
            n_bytes += most_raw_bytes(named.tensor.strings)
    return n_bytes


def parse_infer_response(
    body: bytes | bytearray | memoryview,
    *,
    header_length: int | None = None,
    limits: Limits | None = None,
) -> InferResponse:
    """Return what the body of a reply says.

    Args:
        body: All of it, not compressed; tensors in binary form stay views of it.
        header_length: Bytes of JSON; None when no header says so, then all of it is JSON.
        limits: What it may take.

    Raises:
        BadReplyError: It breaks a rule of the protocol, or a limit.
    """
    view = memoryview(body).cast("B") if len(body) else memoryview(b"")
    stop = len(view) if header_length is None else header_length
    limits = limits or Limits()
    if not 0 <= stop <= min(len(view), limits.json_bytes):
        raise BadReplyError(f"the reply has {len(view)} bytes, {stop} of them JSON")
    try:
        reader = TensorReader(view, stop, "", Allowance(limits.tensor_bytes))
        return InferResponse(**_fields(reader))
    except OipError as error:
        raise BadReplyError(f"the reply can't be read: {error.message}") from error


def _fields(reader: TensorReader) -> dict[str, Any]:
    text = reader.json
    fields: dict[str, Any] = {"model_name": ""}
    for name in reader.members():
        match name:
            case "id" | "model_name" | "model_version":
                value = text.value()
                fields[name] = "" if value is None else as_text(value, name)
            case "parameters":
                members = as_members(text.value(), name)
                fields[name] = {key: custom_parameter(key, members[key]) for key in members}
            case "outputs":
                fields[name] = reader.tensors(name)
            case _:
                text.value()
    if "outputs" not in fields:
        raise BadReplyError("it has no outputs")
    reader.finish()
    return fields
