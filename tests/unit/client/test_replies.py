import json

import pytest

from inferonnx.client.messages import Request, Response
from inferonnx.client.replies import MAX_TEXT, ModelRefusedError, check, clean, document, members
from inferonnx.errors import ExitCode
from inferonnx.oip import (
    AlreadyExistsError,
    BadReplyError,
    BusyError,
    DeadlineError,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    PermissionDeniedError,
    StorageFullError,
    TooLargeError,
    UnauthenticatedError,
    UnsupportedError,
)


def response(status=200, body=b"", **headers):
    return Response(status=status, headers=headers, body=bytearray(body), key_hash=bytes(32))


def refusal(status, sentence="some sentence", **headers):
    return response(status, json.dumps({"error": sentence}).encode(), **headers)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, InvalidRequestError, ExitCode.BAD_INPUT),
        (401, UnauthenticatedError, ExitCode.REFUSED),
        (403, PermissionDeniedError, ExitCode.REFUSED),
        (404, NotFoundError, ExitCode.BAD_INPUT),
        (409, AlreadyExistsError, ExitCode.REFUSED),
        (413, TooLargeError, ExitCode.BAD_INPUT),
        (418, InvalidRequestError, ExitCode.BAD_INPUT),
        (422, ModelRefusedError, ExitCode.NOT_AUTHENTIC),
        (500, InternalError, ExitCode.UNAVAILABLE),
        (501, UnsupportedError, ExitCode.BAD_INPUT),
        (503, BusyError, ExitCode.UNAVAILABLE),
        (504, DeadlineError, ExitCode.UNAVAILABLE),
        (507, StorageFullError, ExitCode.UNAVAILABLE),
        (599, InternalError, ExitCode.UNAVAILABLE),
    ],
)
def test_an_error_is_the_servers_sentence_with_its_class_and_exit_code(status, kind, code):
    with pytest.raises(kind) as caught:
        check(refusal(status))
    assert caught.value.message == str(caught.value) == "some sentence"
    assert caught.value.exit_code is code


def test_a_method_that_is_not_there():
    with pytest.raises(MethodNotAllowedError):
        check(refusal(405))


def test_what_was_hoped_for_is_returned():
    got = response(204)
    assert check(got, 200, 204) is got
    with pytest.raises(BadReplyError, match="status 302, unasked"):
        check(response(302))
    with pytest.raises(BadReplyError, match="status 204, unasked"):
        check(got)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"other":1}', b'{"error":5}', b"[" * 9999])
def test_an_error_without_a_sentence_says_its_status(body):
    with pytest.raises(InternalError, match="status 500"):
        check(response(500, body))


def test_a_servers_text_is_clipped_and_can_not_move_the_cursor():
    with pytest.raises(InvalidRequestError) as caught:
        check(refusal(400, "\x1b[2J\r\n\u202e\ud800" + "x" * 2000))
    text = str(caught.value)
    assert text.isprintable()
    assert text == caught.value.message
    assert text.startswith("\\x1b[2J\\r\\n\\u202e\\ud800xx")
    assert len(text) < MAX_TEXT + 40
    assert clean("plain") == "plain"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("", 0), ("-1", 0), ("999999999", 0), ("Wed, 21 Oct 2026", 0), ("٣", 0)],
)
def test_a_busy_server_says_when_to_come_back(text, seconds):
    with pytest.raises(BusyError) as caught:
        check(refusal(503, **{"retry-after": text}))
    assert caught.value.retry_after_s == seconds
    assert (f"in {seconds} s" in caught.value.hint) == bool(seconds)


def test_a_missing_token_is_told_how_to_give_one():
    with pytest.raises(UnauthenticatedError) as caught:
        check(response(401, b"<html>"))
    assert "--token-file" in caught.value.hint
    with pytest.raises(PermissionDeniedError) as caught:
        check(refusal(403, "the owner's signature does not fit"))
    assert not caught.value.hint


def test_documents():
    assert document(response(body=b'{"a":[1]}')) == {"a": [1]}
    with pytest.raises(NotFoundError):
        document(refusal(404))
    for body in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        with pytest.raises(BadReplyError, match="no JSON"):
            document(response(body=body))
    assert members({"a": 1}) == {"a": 1}
    with pytest.raises(BadReplyError, match="another form"):
        members([])


def test_messages_never_show_what_may_be_secret():
    request = Request(
        method="POST", path="/x", headers=(("A", "secret"),), pieces=(b"secret",), key_hash=b"k"
    )
    assert "secret" not in repr(request)
    assert "secret" not in repr(response(body=b"secret"))
