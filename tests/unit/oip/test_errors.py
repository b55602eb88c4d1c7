"""Tests of the table of errors and of what the caller is told."""

from __future__ import annotations

import json

import grpc
import pytest

from inferonnx.errors import (
    AuthenticationError,
    EngineError,
    InfeasibleBudgetError,
    PinError,
    TensorError,
    UnavailableError,
)
from inferonnx.oip import errors
from inferonnx.oip.errors import (
    ERRORS,
    BusyError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    OipError,
    TooLargeError,
    as_oip_error,
    encode_error,
    parse_error,
    unknown_model,
)

GRPC_CODES = {code.value[0] for code in grpc.StatusCode} - {0}

# Triton's classes, and the codes of its HTTP and gRPC servers.
TRITONS = {
    errors.InternalError: (500, grpc.StatusCode.INTERNAL),
    errors.NotFoundError: (404, grpc.StatusCode.NOT_FOUND),
    errors.InvalidRequestError: (400, grpc.StatusCode.INVALID_ARGUMENT),
    errors.BusyError: (503, grpc.StatusCode.UNAVAILABLE),
    errors.UnsupportedError: (501, grpc.StatusCode.UNIMPLEMENTED),
    errors.CancelledError: (400, grpc.StatusCode.CANCELLED),
}


def subclasses(cls: type[OipError]) -> set[type[OipError]]:
    return {cls}.union(*(subclasses(sub) for sub in cls.__subclasses__()))


def test_every_class_is_in_the_table() -> None:
    assert set(ERRORS) == subclasses(OipError) - {OipError}


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_codes_exist(cls: type[OipError]) -> None:
    status, code = ERRORS[cls]
    assert 400 <= status < 600
    assert code in GRPC_CODES


@pytest.mark.parametrize("cls", TRITONS, ids=lambda cls: cls.__name__)
def test_codes_are_tritons(cls: type[OipError]) -> None:
    status, code = TRITONS[cls]
    assert ERRORS[cls] == (status, code.value[0])


def test_a_class_outside_of_the_table_has_its_bases_codes() -> None:
    class Special(InvalidRequestError):
        code = "oip.test"

    assert (Special("x").status, Special("x").grpc_code) == (400, 3)
    assert (OipError("x").status, OipError("x").grpc_code) == (500, 13)


def test_the_body_is_one_member_and_nothing_else() -> None:
    assert encode_error(InvalidRequestError('a "b" é \n')) == (
        '{"error":"a \\"b\\" é \\n"}'.encode()
    )
    assert encode_error("plain") == b'{"error":"plain"}'


def test_the_body_is_utf_8_whatever_the_caller_named() -> None:
    body = encode_error(unknown_model("\udc80\ud800x"))
    assert "\udc80\ud800x" in json.loads(body.decode())["error"]


def test_long_names_are_clipped() -> None:
    message = unknown_model("n" * 10_000).message
    assert len(message) < 400
    assert message.endswith("n...' is not found")


def test_unknown_versions_are_named() -> None:
    error = unknown_model("m", "7")
    assert error.message == "Request for unknown model: 'm' version 7 is not found"
    assert isinstance(error, NotFoundError)


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_a_client_gets_the_class_back(cls: type[OipError]) -> None:
    error = cls() if cls is errors.MethodNotAllowedError else cls("why")
    found = parse_error(error.status, encode_error(error))
    assert found.message == error.message
    if cls not in (errors.CancelledError, errors.BadReplyError):  # nobody sends these
        assert type(found) is cls


@pytest.mark.parametrize(("status", "cls"), [(410, NotFoundError), (423, errors.BusyError)])
def test_a_client_acts_on_statuses_of_uploads(status: int, cls: type[OipError]) -> None:
    assert type(parse_error(status, b'{"error":"why"}')) is cls


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[1]", b'{"error":3}', b'{"error":""}', b"\xff", b"[" * 5000, b'{"error":"x'],
)
def test_any_other_body_leaves_the_status(body: bytes) -> None:
    found = parse_error(418, body)
    assert type(found) is InvalidRequestError
    assert found.message == "the server answered with status 418"
    assert type(parse_error(599, body)) is InternalError


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (TensorError("why"), InvalidRequestError),
        (InfeasibleBudgetError("why", needed_bytes=2, budget_bytes=1), TooLargeError),
        (UnavailableError("why"), BusyError),
        (EngineError("why"), InternalError),
        (PinError("why"), InternalError),
        (NotFoundError("why"), NotFoundError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_of_other_rooms_keep_their_sentence(error: Exception, cls: type[OipError]) -> None:
    found = as_oip_error(error)
    assert type(found) is cls
    assert found.message == "why"


def test_errors_that_nobody_raised_on_purpose_say_nothing() -> None:
    assert as_oip_error(KeyError("the secret")).message == "internal error"
    assert as_oip_error(AuthenticationError()).message == AuthenticationError.MESSAGE
    busy = as_oip_error(MemoryError())
    assert isinstance(busy, BusyError)
    assert busy.retry_after_s == 1
