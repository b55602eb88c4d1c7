"""A request for an inference as the body of an HTTP request, both ways.

The body is JSON, then the binary form of those inputs that are not in the JSON, in the
order of `inputs`; a header says how long the JSON is. Tensors in binary form are views
of the body.
"""

from __future__ import annotations

from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.parameters import (
    as_boolean,
    as_members,
    as_text,
    as_unsigned,
    read_request_parameters,
    read_text,
    refuse_shared_memory,
)
from inferonnx.oip.requests import Allowance, InferRequest, Limits, RawRequest, WantedOutput
from inferonnx.oip.rest_reading import TensorReader, no_array
from inferonnx.oip.rest_writing import Body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from inferonnx.oip.json_text import JsonReader

HEADER_LENGTH_NAME = "Inference-Header-Content-Length"
"""Header that says how many bytes of the body are JSON."""

_MAX_HEADER_LENGTH = 2**31 - 1


def parse_header_length(text: str | None, body_bytes: int) -> int | None:
    """Return how long the JSON part is, None when no header says so.

    Args:
        text: Value of the header `HEADER_LENGTH_NAME`, None when it is absent.
        body_bytes: Length of the body, not compressed.

    Raises:
        InvalidRequestError: The header is no number, or longer than the body.
    """
    if text is None:
        return None
    sign, digits = text[:1] == "-", text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidRequestError(f"Unable to parse {HEADER_LENGTH_NAME}, got: {shown(text)}")
    if len(digits) > 10 or int(digits) > _MAX_HEADER_LENGTH:
        raise InvalidRequestError(
            f"Unable to parse {HEADER_LENGTH_NAME}, value is out of range "
            f"[ {-_MAX_HEADER_LENGTH - 1}, {_MAX_HEADER_LENGTH} ], got: {shown(text)}"
        )
    length = int(digits)
    if sign or length > body_bytes:
        raise _outside(text, body_bytes)
    return length


def parse_infer_request(
    body: bytes | bytearray | memoryview,
    *,
    model_name: str,
    model_version: str = "",
    header_length: int | None = None,
    limits: Limits | None = None,
) -> InferRequest | RawRequest:
    """Return what the body of an inference request says.

    Args:
        body: All of it, not compressed; tensors in binary form stay views of it.
        model_name: From the path.
        model_version: From the path; may be empty.
        header_length: Bytes of JSON, 0 for none at all; None when no header says so, then
            all of it is JSON.
        limits: What it may take.

    Raises:
        OipError: The body breaks a rule of the protocol, or a limit.
    """
    view = memoryview(body).cast("B") if len(body) else memoryview(b"")
    stop = len(view) if header_length is None else header_length
    if not 0 <= stop <= len(view):
        raise _outside(str(stop), len(view))
    if not stop:
        return RawRequest(model_name=model_name, model_version=model_version, data=view)
    limits = limits or Limits()
    if stop > limits.json_bytes:
        raise InvalidRequestError(
            f"request JSON size of {stop} bytes exceeds the maximum allowed input size of "
            f"{limits.json_bytes} bytes."
        )
    reader = TensorReader(view, stop, model_name, Allowance(limits.tensor_bytes))
    return InferRequest(model_name=model_name, model_version=model_version, **_fields(reader))


def encode_infer_request(
    request: InferRequest, *, json_inputs: Collection[str] = ()
) -> tuple[list[bytes | memoryview], int | None]:
    """Return the body of a request in pieces, and the value of its length header.

    Args:
        request: What to ask.
        json_inputs: Names of inputs that are to be JSON; all others are binary.

    Raises:
        OipError: An input has no JSON form, or no form at all.
    """
    body = Body()
    members: dict[str, Any] = {"id": request.id} if request.id else {}
    parameters = dict(request.parameters)
    if request.timeout_us:
        parameters["timeout"] = request.timeout_us
    if request.priority:
        parameters["priority"] = request.priority
    if request.binary_output_default and not request.outputs:
        parameters["binary_data_output"] = True
    if parameters:
        members["parameters"] = parameters
    if request.outputs:
        members["outputs"] = [_output(wanted) for wanted in request.outputs]
    body.open(members, "inputs")
    for named in request.inputs:
        body.add(named, is_binary=named.name not in json_inputs, side="input")
    body.close()
    return body.written()


def _output(wanted: WantedOutput) -> dict[str, Any]:
    parameters: dict[str, Any] = {"binary_data": wanted.binary}
    if wanted.classification:
        parameters["classification"] = wanted.classification
    return {"name": wanted.name, "parameters": parameters}


def _fields(reader: TensorReader) -> dict[str, Any]:
    """Return the fields of an `InferRequest` that the body has."""
    text = reader.json
    fields: dict[str, Any] = {}
    for name in reader.members():
        match name:
            case "id":
                value = text.value()
                fields["id"] = "" if value is None else as_text(value, name)
            case "parameters":
                fields |= read_request_parameters(as_members(text.value(), name))
            case "inputs":
                fields["inputs"] = reader.tensors(name)
            case "outputs":
                fields["outputs"] = _outputs(text)
            case _:
                text.value()  # KServe sends "model_name"; others may add what they like
    if "inputs" not in fields:
        raise InvalidRequestError(
            "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"
        )
    reader.finish()
    return fields


def _outputs(text: JsonReader) -> tuple[WantedOutput, ...]:
    if not text.is_array():
        if text.value() is None:
            return ()
        raise no_array("outputs")
    outputs: dict[str, WantedOutput] = {}
    for _ in text.elements():
        wanted = _output_of(as_members(text.value(), "outputs"))
        if wanted.name in outputs:
            raise InvalidRequestError(f"output '{shown(wanted.name)}' already exists in request")
        outputs[wanted.name] = wanted
    return tuple(outputs.values())


def _output_of(members: dict[str, Any]) -> WantedOutput:
    parameters = as_members(members.get("parameters"), "parameters")
    name = read_text(members, "name")
    refuse_shared_memory(parameters)
    return WantedOutput(
        name=name,
        binary=as_boolean(parameters.get("binary_data", False), "binary_data"),
        classification=as_unsigned(parameters.get("classification", 0), "classification"),
    )


def _outside(got: str, body_bytes: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"inference header size should be in range (0, {body_bytes}), got: {shown(got)}"
    )
