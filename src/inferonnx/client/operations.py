"""What every server of the Open Inference Protocol can be asked, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from inferonnx.client.messages import MAX_TENSORS_BYTES, Request
from inferonnx.client.replies import check, document, members
from inferonnx.control import parse_version
from inferonnx.errors import InferonnxError, ModelNameError, UsageError
from inferonnx.oip import (
    BINARY_TYPE,
    HEADER_LENGTH_NAME,
    JSON_TYPE,
    BadReplyError,
    InferRequest,
    Limits,
    NamedTensor,
    WantedOutput,
    encode_infer_request,
    parse_header_length,
    parse_infer_response,
)
from inferonnx.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferonnx.client.messages import Response, Steps
    from inferonnx.oip import InferResponse

MAX_TIMEOUT_US = (1 << 63) - 1
"""Servers keep a time-out in a signed integer of 64 bits, some of them."""

_JSON = (("Content-Type", JSON_TYPE),)
_READY, _NOT_READY = (200,), (400, 503)


def make_infer_request(
    model: str,
    inputs: Mapping[str, Any],
    *,
    version: str | int = "",
    outputs: Sequence[str] | None = None,
    request_id: str = "",
    timeout_s: float | None = None,
) -> InferRequest:
    """Return a request whose tensors are views of the caller's, where that can be.

    Raises:
        TensorError: An input is no tensor.
        UsageError: Names are missing or come twice.
    """
    if outputs is not None and (not outputs or len(set(outputs)) < len(outputs)):
        raise UsageError("outputs are some of the model's, each once", hint="None means all.")
    wanted = tuple(WantedOutput(name=name, binary=True) for name in outputs or ())
    timeout_us = 0 if timeout_s is None else min(max(1, int(timeout_s * 1e6)), MAX_TIMEOUT_US)
    return InferRequest(
        model_name=model,
        model_version=_version(version),
        id=request_id,
        inputs=tuple(NamedTensor(name=n, tensor=as_tensor(inputs[n])) for n in inputs),
        outputs=wanted,
        binary_output_default=True,
        timeout_us=timeout_us,
    )


def infer(request: InferRequest) -> Steps[InferResponse]:
    """Ask for an inference. It changes nothing, so it may be asked for twice."""
    pieces, length = encode_infer_request(request)
    headers = [("Content-Type", JSON_TYPE if length is None else BINARY_TYPE)]
    if length is not None:
        headers.append((HEADER_LENGTH_NAME, str(length)))
    response = check(
        (
            yield Request(
                method="POST",
                path=model_path(request.model_name, request.model_version) + "/infer",
                headers=tuple(headers),
                pieces=pieces,
                may_repeat=True,
                max_reply_bytes=MAX_TENSORS_BYTES,
            )
        )
    )
    return _inferred(request, response)


def is_live() -> Steps[bool]:
    """Ask whether the server answers at all; anything but yes is no."""
    return (yield _get("/v2/health/live", wants_token=False)).status == 200


def is_ready(model: str, version: str | int) -> Steps[bool]:
    """Ask whether a model is ready, or without one the server; an unknown model is an error."""
    request = _get("/v2/health/ready", wants_token=False)
    if model:
        request = _get(model_path(model, _version(version)) + "/ready")
    return check((yield request), *_READY, *_NOT_READY).status in _READY


def metadata(model: str, version: str | int) -> Steps[dict[str, Any]]:
    """Ask what a model takes and gives, or without one what the server is."""
    path = model_path(model, _version(version)) if model else "/v2"
    return members(document((yield _get(path))))


def model_config(model: str, version: str | int) -> Steps[dict[str, Any]]:
    """Ask for a model's configuration in Triton's words."""
    return members(document((yield _get(model_path(model, _version(version)) + "/config"))))


def model_statistics(model: str, version: str | int) -> Steps[list[dict[str, Any]]]:
    """Ask for counts and times; of all models when `model` is empty."""
    path = model_path(model, _version(version)) if model else "/v2/models"
    found = members(document((yield _get(path + "/stats")))).get("model_stats")
    return _objects(found)


def index(*, ready: bool) -> Steps[list[dict[str, Any]]]:
    """Ask for the index of the repository; of the ready models alone if `ready`."""
    body = b'{"ready":true}' if ready else b"{}"
    request = Request(
        method="POST", path="/v2/repository/index", headers=_JSON, pieces=(body,), may_repeat=True
    )
    return _objects(document((yield request)))


def load(model: str) -> Steps[None]:
    """Ask to load a model."""
    yield from _repository(model, "load")


def unload(model: str) -> Steps[None]:
    """Ask to unload a model: its key is forgotten."""
    yield from _repository(model, "unload")


def _repository(model: str, action: str) -> Steps[None]:
    request = Request(
        method="POST",
        path=f"/v2/repository/models/{quoted(model)}/{action}",
        headers=_JSON,
        pieces=(b"{}",),
        may_repeat=True,  # loaded twice is loaded
    )
    check((yield request))


def model_path(model: str, version: str) -> str:
    """Return the path of a model, of its newest version when `version` is empty."""
    path = f"/v2/models/{quoted(model)}"
    return f"{path}/versions/{version}" if version else path


def quoted(name: str) -> str:
    """Return a model's name as a segment of a path. Other servers' names may be anything.

    Raises:
        ModelNameError: It can't be one segment.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ModelNameError(f"{name[:128]!r} can't be the name of a model")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError as error:
        raise ModelNameError(f"{name[:128]!r} can't be the name of a model") from error


def _version(version: str | int) -> str:
    return "" if version == "" else str(parse_version(str(version)))


def _get(path: str, *, wants_token: bool = True) -> Request:
    return Request(method="GET", path=path, may_repeat=True, wants_token=wants_token)


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise BadReplyError("the server's answer is JSON of another form")
    return [members(entry) for entry in value]


def _inferred(request: InferRequest, response: Response) -> InferResponse:
    """Return the answer of an inference, held against what was asked for."""
    text = response.headers.get(HEADER_LENGTH_NAME.lower())
    try:
        length = parse_header_length(text, len(response.body))
    except InferonnxError as error:
        raise BadReplyError(f"the header {HEADER_LENGTH_NAME} of the answer is wrong") from error
    answer = parse_infer_response(
        response.body, header_length=length, limits=Limits(tensor_bytes=MAX_TENSORS_BYTES)
    )
    given = {named.name for named in answer.outputs}
    missing = [wanted.name for wanted in request.outputs if wanted.name not in given]
    if missing:
        raise BadReplyError(f"the answer lacks the output {missing[0]!r:.200}")
    return answer
