"""What each error becomes for a client, over HTTP and gRPC."""

import json

import pytest

from inferonnx import errors
from inferonnx.oip import MethodNotAllowedError, TooLargeError, UnsupportedError
from inferonnx.server.messages import HttpError
from inferonnx.server.replies import STATUSES, WithHeadersError, code_of, failure, verdict

INVALID, DEADLINE, MISSING, EXISTS, DENIED, EXHAUSTED, PRECONDITION = 3, 4, 5, 6, 7, 8, 9
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, UNAUTHENTICATED, UNKNOWN = 12, 13, 14, 16, 2

CASES = [
    (errors.UnauthenticatedError("x"), 401, UNAUTHENTICATED, 0),
    (errors.NonceError("x"), 401, UNAUTHENTICATED, 0),
    (errors.ForbiddenError("x"), 403, DENIED, 0),
    (errors.OwnerRefusedError("x"), 403, DENIED, 0),
    (errors.OwnerRequestError("x"), 400, INVALID, 0),
    (errors.ModelNameError("x"), 400, INVALID, 0),
    (errors.CertificateError("x"), 400, INVALID, 0),
    (errors.UsageError("x"), 400, INVALID, 0),
    (errors.TensorError("x"), 400, INVALID, 0),
    (errors.DeadlineError("x"), 504, DEADLINE, 0),
    (errors.BusyError("x", retry_after_s=7), 503, UNAVAILABLE, 7),
    (errors.UnavailableError("x"), 503, UNAVAILABLE, 1),
    (errors.ModelNotReadyError("x"), 503, UNAVAILABLE, 0),  # nor is it in a second
    (errors.KeyMismatchError("x"), 422, PRECONDITION, 0),
    (errors.AuthenticationError(), 422, PRECONDITION, 0),
    (errors.SignatureError("x"), 422, PRECONDITION, 0),
    (errors.SealedFormatError("x"), 422, PRECONDITION, 0),
    (errors.SealedVersionError("x"), 422, PRECONDITION, 0),
    (errors.PinError("x"), 422, PRECONDITION, 0),
    (errors.TargetError("x"), 422, PRECONDITION, 0),
    (errors.UploadOffsetError("x"), 409, EXISTS, 0),
    (errors.UploadEndedError("x"), 410, MISSING, 0),
    (errors.UploadLockedError("x"), 423, UNAVAILABLE, 1),
    (errors.InfeasibleBudgetError("x", needed_bytes=2, budget_bytes=1), 413, EXHAUSTED, 0),
    (errors.EngineError("x"), 500, INTERNAL, 0),
    (TooLargeError("x"), 413, EXHAUSTED, 0),
    (UnsupportedError("x"), 501, UNIMPLEMENTED, 0),
    (HttpError(415, "x"), 415, INVALID, 0),
    (HttpError(431, "x"), 431, EXHAUSTED, 0),
    (HttpError(503, "x", headers=(("Retry-After", "3"),)), 503, UNAVAILABLE, 3),
    (HttpError(417, "x"), 417, UNKNOWN, 0),
    (WithHeadersError(errors.UploadEndedError("x"), ("A", "b")), 410, MISSING, 0),
    (RuntimeError("a secret"), 500, INTERNAL, 0),
]


@pytest.mark.parametrize(("error", "status", "grpc_code", "retry_after_s"), CASES)
def test_an_error_has_its_codes_both_ways(error, status, grpc_code, retry_after_s):
    told = verdict(error)
    assert (told.status, told.grpc_code, told.retry_after_s) == (status, grpc_code, retry_after_s)
    reply = failure(error)
    assert reply.status == status
    headers = dict(reply.headers)
    assert headers["Content-Type"] == "application/json"
    assert headers.get("Retry-After") == (str(retry_after_s) if retry_after_s else None)
    assert headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
    (said,) = map(json.loads, reply.pieces)
    assert said == {"error": told.sentence}
    assert "secret" not in told.sentence


def test_every_row_of_the_table_is_tried():
    assert {kind for kind, _ in STATUSES} <= {type(error) for error, *_ in CASES}


def test_a_hint_is_part_of_the_sentence():
    told = verdict(errors.ModelNotReadyError("it is locked", hint="Unlock it."))
    assert told.sentence == "it is locked. Unlock it."


def test_headers_go_with_the_error_within():
    error = WithHeadersError(errors.UploadEndedError("it is over"), ("Upload-Offset", "3"))
    assert ("Upload-Offset", "3") in failure(error).headers
    assert code_of(error) == "upload.ended"


def test_what_is_allowed_instead_is_said():
    reply = failure(MethodNotAllowedError(("GET", "HEAD")))
    assert (reply.status, dict(reply.headers)["Allow"]) == (405, "GET, HEAD")


def test_a_log_has_codes_and_no_texts():
    assert code_of(errors.BusyError("x")) == "busy"
    assert code_of(RuntimeError("a secret")) == "bug"
