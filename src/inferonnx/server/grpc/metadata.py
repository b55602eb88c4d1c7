"""What a gRPC call says before its messages, and what its answer says around them.

Sans-IO. Specification: grpc.github.io, "gRPC over HTTP2", Requests and Responses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.oip import InvalidRequestError, UnsupportedError
from inferonnx.server.messages import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterable

    Fields = list[tuple[bytes, bytes]]

CONTENT_TYPE = "application/grpc"

ACCEPTED = "identity, gzip, deflate"
"""Encodings of messages that are understood; what goes out is never compressed."""

MAX_SENTENCE_BYTES = 1024
"""Of an error, before it is encoded: clients take 8 KiB of trailers, with all else."""

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TYPES = re.compile(r"application/grpc(\+proto)?\s*(;.*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHead:
    """The beginning of a call.

    Attributes:
        path: `/service/method`.
        timeout_s: After which its client does not wait for it any more; None for never.
        encoding: Of its compressed messages: "identity", "gzip" or "deflate".
        authorization: All values of that name.
        request_id: What the client calls it, for logs; may be empty.
    """

    path: str
    timeout_s: float | None = None
    encoding: str = "identity"
    authorization: tuple[str, ...] = ()
    request_id: str = ""


def parse_call(fields: Iterable[tuple[bytes, bytes]]) -> CallHead:
    """Return what the header fields of a request say; the driver checked their form.

    Raises:
        HttpError: 405 or 415, it is no call of gRPC.
        InvalidRequestError: Its time-out is malformed.
        UnsupportedError: Its messages are compressed in another way than `ACCEPTED`.
    """
    values: dict[bytes, str] = {}
    authorization = []
    for name, value in fields:
        values[name] = value.decode("latin-1")
        if name == b"authorization":
            authorization.append(values[name])
    if values.get(b":method") != "POST":
        raise HttpError(405, "gRPC is spoken here: calls are POST requests")
    if _TYPES.fullmatch(values.get(b"content-type", "").lower()) is None:
        raise HttpError(415, f"the content type of a call is {CONTENT_TYPE}")
    encoding = values.get(b"grpc-encoding", "identity").lower()
    if encoding not in ACCEPTED.split(", "):
        raise UnsupportedError(f"messages may be compressed by one of: {ACCEPTED}")
    return CallHead(
        path=values.get(b":path", ""),
        timeout_s=_timeout_s(values.get(b"grpc-timeout")),
        encoding=encoding,
        authorization=tuple(authorization),
        request_id=values.get(b"x-request-id", ""),
    )


def opening_fields() -> Fields:
    """Return the header fields of an answer that has messages."""
    return [
        (b":status", b"200"),
        (b"content-type", CONTENT_TYPE.encode()),
        (b"grpc-accept-encoding", ACCEPTED.encode()),
    ]


def closing_fields(code: int, sentence: str = "", *, retry_after_s: float = 0) -> Fields:
    """Return the trailer fields that end a call.

    Args:
        code: Status code of gRPC, 0 when all is well.
        sentence: What went wrong.
        retry_after_s: When to try again; 0 says nothing about it.
    """
    fields = [(b"grpc-status", b"%d" % code)]
    if sentence:
        fields.append((b"grpc-message", encode_sentence(sentence)))
    if retry_after_s:
        fields.append((b"grpc-retry-pushback-ms", b"%d" % round(retry_after_s * 1e3)))
    return fields


def refusing_fields(status: int) -> Fields:
    """Return the header fields of an answer to what is no call."""
    fields = [(b":status", b"%d" % status), (b"content-type", b"text/plain; charset=utf-8")]
    return [*fields, (b"allow", b"POST")] if status == 405 else fields


def encode_sentence(sentence: str) -> bytes:
    """Return a sentence as a field's value: UTF-8, percent-encoded, clipped."""
    data = sentence.encode(errors="replace")[:MAX_SENTENCE_BYTES]
    data = data.decode(errors="ignore").encode()  # a character that was cut in two goes
    return b"".join(
        b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in data
    )


def _timeout_s(value: str | None) -> float | None:
    if value is None:
        return None
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise InvalidRequestError("the field grpc-timeout is not up to 8 digits and a unit")
    return int(match[1]) * _UNITS_S[match[2]]
