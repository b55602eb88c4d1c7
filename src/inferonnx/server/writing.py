"""Replies to inference over HTTP, in memory that is counted before.

JSON takes many times what its tensors do. Where there is memory for it, it is written at
once, in a thread where that takes long; else while it is sent, after a first time that only
counts: that takes twice as long, and holds nothing but the tensors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from inferonnx.oip import (
    HEADER_LENGTH_NAME,
    encode_infer_response,
    most_held_bytes,
    most_written_bytes,
    stream_infer_response,
)
from inferonnx.server.answers import REPLY_BYTES, SLOW_BYTES
from inferonnx.server.codings import most_compressed_bytes, reply_coding
from inferonnx.server.messages import Reply
from inferonnx.server.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inferonnx.oip import InferRequest, InferResponse
    from inferonnx.server.answers import Inferred
    from inferonnx.server.pieces import Bytes
    from inferonnx.server.ports import Reservation


async def write_reply(
    reservation: Reservation, request: InferRequest, inferred: Inferred, *, accept_encoding: str
) -> Reply:
    """Return the reply; what it holds is counted until it is sent.

    Args:
        reservation: Of the request, which nobody needs any more.
        request: Says which outputs, and in which form.
        inferred: What to answer.
        accept_encoding: The client's header, "" for none.

    Raises:
        InvalidRequestError: JSON is asked for what has no form in JSON.
        BusyError: Replies that others do not read hold all the memory there is.
    """
    response = inferred.response
    n_written = most_written_bytes(response, request)
    beside_bytes = inferred.class_bytes + REPLY_BYTES
    if n_written < SLOW_BYTES:
        reply = _whole(request, response)
    elif reservation.try_hold(n_written + beside_bytes):
        reply = await in_thread(None, _whole, request, response)
    else:
        await reservation.hold(most_held_bytes(response, request) + beside_bytes)
        return await in_thread(None, _streamed, request, response)
    n_held = reply.n_bytes + REPLY_BYTES
    await reservation.hold(n_held)
    if reply_coding(accept_encoding):
        n_held += most_compressed_bytes(reply.n_bytes)
        reply = replace(reply, is_compressible=reservation.try_hold(n_held))
    return reply


def _whole(request: InferRequest, response: InferResponse) -> Reply:
    pieces, header_length, content_type = encode_infer_response(response, request)
    return _reply(pieces, None, header_length, content_type)


def _streamed(request: InferRequest, response: InferResponse) -> Reply:
    return _reply(*stream_infer_response(response, request))


def _reply(
    pieces: Iterable[Bytes], length: int | None, header_length: int | None, content_type: str
) -> Reply:
    headers = [("Content-Type", content_type)]
    if header_length is not None:
        headers.append((HEADER_LENGTH_NAME, str(header_length)))
    return Reply(status=200, headers=headers, pieces=pieces, length=length)
