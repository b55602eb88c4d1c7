"""Replies of endpoints, and what an error becomes on the wire: the one table for HTTP and gRPC."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import (
    AuthenticationError,
    BusyError,
    CertificateError,
    DeadlineError,
    ForbiddenError,
    InferonnxError,
    KeyMismatchError,
    ModelNameError,
    ModelNotReadyError,
    NonceError,
    OwnerRefusedError,
    OwnerRequestError,
    PinError,
    SealedFormatError,
    SignatureError,
    TargetError,
    UnauthenticatedError,
    UploadEndedError,
    UploadLockedError,
    UploadOffsetError,
)
from inferonnx.oip import ERRORS, MethodNotAllowedError, as_oip_error, encode_error
from inferonnx.oip.messages import encode_document
from inferonnx.server.messages import JSON, HttpError, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUSES: tuple[tuple[type[InferonnxError], int], ...] = (
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (OwnerRefusedError, 403),
    (NonceError, 401),
    (OwnerRequestError, 400),
    (ModelNameError, 400),
    (CertificateError, 400),
    (DeadlineError, 504),
    (BusyError, 503),
    (ModelNotReadyError, 503),
    (KeyMismatchError, 422),
    (AuthenticationError, 422),
    (SignatureError, 422),
    (SealedFormatError, 422),
    (PinError, 422),
    (TargetError, 422),
    (UploadOffsetError, 409),
    (UploadEndedError, 410),
    (UploadLockedError, 423),
)
"""Errors that are not the protocol's own, most special first; others go by `oip.ERRORS`."""


class WithHeadersError(InferonnxError):
    """An error whose reply has more headers than others.

    Attributes:
        error: What went wrong.
        headers: Of the reply, beside the usual.
    """

    code = "reply.headers"  # never seen: the error within has its own

    def __init__(self, error: InferonnxError, *headers: tuple[str, str]) -> None:
        """Keep both."""
        super().__init__(error.message, where=error.where, hint=error.hint)
        self.error = error
        self.headers = headers


GRPC_CODES: dict[int, int] = {
    **dict(reversed(list(ERRORS.values()))),  # 400 is INVALID_ARGUMENT
    410: 5,  # NOT_FOUND: it was there
    415: 3,  # INVALID_ARGUMENT
    422: 9,  # FAILED_PRECONDITION: the file is not what it should be
    423: 14,  # UNAVAILABLE: somebody else uses it
    431: 8,  # RESOURCE_EXHAUSTED
}
"""Status code of gRPC for each status of HTTP; errors of the protocol have their own."""


class Verdict(NamedTuple):
    """What a client is told about an error.

    Attributes:
        status: Of HTTP.
        grpc_code: Of gRPC.
        sentence: What went wrong, and what to do.
        retry_after_s: When to try again; 0 says nothing about it.
    """

    status: int
    grpc_code: int
    sentence: str
    retry_after_s: int


def document(content: object, *, status: int = 200) -> Reply:
    """Return a reply of JSON."""
    return Reply(
        status=status, headers=(("Content-Type", JSON),), pieces=(encode_document(content),)
    )


def empty(status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    """Return a reply without a body."""
    return Reply(status=status, headers=headers)


def text(content: str, content_type: str) -> Reply:
    """Return a reply of text."""
    return Reply(status=200, headers=(("Content-Type", content_type),), pieces=(content.encode(),))


def verdict(error: Exception) -> Verdict:
    """Return what the client is told about an error: one sentence, with its codes."""
    if isinstance(error, HttpError):
        after = next((int(v) for k, v in error.headers if k == "Retry-After"), 0)
        return Verdict(error.status, GRPC_CODES.get(error.status, 2), error.message, after)
    if isinstance(error, WithHeadersError):
        return verdict(error.error)
    told = as_oip_error(error)
    status = next((s for kind, s in STATUSES if isinstance(error, kind)), told.status)
    code = told.grpc_code if status == told.status else GRPC_CODES[status]
    sentence = told.message
    if isinstance(error, InferonnxError) and error.hint:
        sentence = f"{error.message}. {error.hint}"
    after = getattr(error, "retry_after_s", 0) or getattr(told, "retry_after_s", 0)
    # A model that waits for its owner, or for another file, is not ready in a second either.
    is_soon = status in (423, 503) and not isinstance(error, ModelNotReadyError)
    return Verdict(status, code, sentence, after or int(is_soon))


def failure(error: Exception) -> Reply:
    """Return what the client is told about an error, in the protocol's form over HTTP."""
    if isinstance(error, HttpError):
        return error.reply()
    if isinstance(error, WithHeadersError):
        reply = failure(error.error)
        return replace(reply, headers=(*reply.headers, *error.headers))
    told = verdict(error)
    headers = [("Content-Type", JSON)]
    if told.retry_after_s:
        headers.append(("Retry-After", str(told.retry_after_s)))
    if told.status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    if isinstance(error, MethodNotAllowedError):
        headers.append(("Allow", ", ".join(error.allowed)))
    return Reply(status=told.status, headers=headers, pieces=(encode_error(told.sentence),))


def code_of(error: Exception) -> str:
    """Return the stable code of an error, for logs."""
    if isinstance(error, WithHeadersError):
        error = error.error
    return error.code if isinstance(error, InferonnxError) else "bug"
