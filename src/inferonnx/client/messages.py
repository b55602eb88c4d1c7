"""A request and its answer, as the operations of this room see them.

An operation is a generator: it yields a `Request` and gets the `Response`, yields a
`Pause` and gets nothing, and returns its result. So it is written once, and a
transport that blocks or one of asyncio runs it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

Bytes: TypeAlias = bytes | bytearray | memoryview

MAX_DOCUMENT_BYTES = 16 << 20
"""Body of a reply that is no tensor: above the list of 10,000 models."""

MAX_TENSORS_BYTES = 1 << 30
"""Body of an infer reply: so much can't be taken for an accident, and memory holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a server. What may be secret never shows in its `repr`.

    Attributes:
        method: GET, POST, ...
        path: With its query, percent-encoded; the address's prefix is put before it.
        headers: Besides those that the transport adds.
        pieces: The body, flat bytes in order; None sends no body and no length.
        may_repeat: Sending it twice does what sending it once does, so it is sent again
            where an idle connection turns out to be closed.
        wants_token: Send the caller's token along.
        key_hash: Send it only to the server with this public key; for what is signed for it.
        max_reply_bytes: Refuse a longer body.
        timeout_s: Seconds for this request alone, within those of the whole operation.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    pieces: Sequence[Bytes] | None = field(default=None, repr=False)
    may_repeat: bool = False
    wants_token: bool = True
    key_hash: bytes | None = None
    max_reply_bytes: int = MAX_DOCUMENT_BYTES
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer.

    Attributes:
        status: Three digits.
        headers: Lower-case names; several of one name are joined by ", ".
        body: All of it.
        key_hash: SHA-256 of the server's SubjectPublicKeyInfo, from the connection.
    """

    status: int
    headers: Mapping[str, str]
    body: bytearray = field(repr=False)
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next request.

    Attributes:
        seconds: How long.
    """

    seconds: float


T = TypeVar("T")
Steps: TypeAlias = Generator[Request | Pause, Response, T]
"""An operation; what it gets after a `Pause` means nothing."""
