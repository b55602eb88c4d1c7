"""A reply as it goes: its head by h11, its body as it is, at the client's pace."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING

import h11

from inferonnx.server import codings
from inferonnx.server.incoming import Pace
from inferonnx.server.limits import SEND_BYTES
from inferonnx.server.peer import ClientGoneError
from inferonnx.server.pieces import lots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inferonnx.server.connection import Connection
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.messages import Head, Reply
    from inferonnx.server.pieces import Bytes

_BODILESS = (204, 304)
"""Statuses of replies that have no body and do not say how long it is."""


async def send_reply(
    connection: Connection,
    reply: Reply,
    *,
    head: Head | None,
    state: h11.Connection,
    is_last: bool,
    limits: HttpLimits,
) -> int:
    """Send a reply; return the bytes of its body when the system has taken the last one.

    Args:
        connection: Where to.
        reply: What.
        head: Of the request; None when that could not be read.
        state: h11's after the request.
        is_last: Say that the connection ends with it.
        limits: Their pace.

    Raises:
        ClientGoneError: The client left, or does not read.
    """
    headers, pieces, n_bytes = list(reply.headers), reply.pieces, reply.n_bytes
    if reply.is_compressible and head is not None:
        coding = codings.reply_coding(head.headers.get("accept-encoding", ""))
        if coding:
            pieces = await codings.compress(pieces, n_bytes, coding)
            n_bytes = sum(map(len, pieces))
            headers.append(("Content-Encoding", coding))
    if reply.status not in _BODILESS:
        headers.append(("Content-Length", str(n_bytes)))
    if is_last:
        headers.append(("Connection", "close"))
    response = h11.Response(status_code=reply.status, headers=headers)
    encoded = state.send(response)
    if reply.status in _BODILESS or (head is not None and head.method == "HEAD"):
        pieces, n_bytes = (), 0
    await _send(connection, chain((encoded,), pieces), n_bytes, limits)
    return n_bytes


def reply_pace(n_bytes: int, limits: HttpLimits) -> Pace:
    """Return the pace of a reply, which is held in memory until its last byte is sent."""
    pace = Pace(limits, grace_s=limits.reply_s, most_s=limits.reply_s)
    pace.hasten(n_bytes / limits.body_s)  # a trickle would keep the memory for hours
    return pace


async def _send(
    connection: Connection, pieces: Iterable[Bytes], n_bytes: int, limits: HttpLimits
) -> None:
    loop = asyncio.get_running_loop()
    pace = reply_pace(n_bytes, limits)
    for i, lot in enumerate(lots(pieces, SEND_BYTES)):
        if i:
            await asyncio.sleep(0)  # a long reply must not hold up the others
        connection.write(lot)
        begun_s = loop.time()
        try:
            await connection.drain(timeout_s=pace.left_s)
        except TimeoutError as error:
            raise ClientGoneError from error
        pace.note(sum(map(len, lot)), loop.time() - begun_s)
