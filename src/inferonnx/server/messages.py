"""What an HTTP request and its answer are: values, and the error that is an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from inferonnx.errors import InferonnxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from inferonnx.server.peer import Peer
    from inferonnx.server.pieces import Bytes

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its body.

    Attributes:
        method: As sent; methods are case-sensitive.
        path: As sent, before any decoding and without the query; of a target in
            absolute form, its path.
        query: What follows the first `?`, as sent.
        headers: Lower-case names. Fields that came several times are joined by ", ",
            which no field of one value takes for a value.
        version: "1.1" or "1.0".
        peer: Who asks.
    """

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, str]
    version: str
    peer: Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer.

    Attributes:
        status: 200 to 599.
        headers: Without those that frame the message, which are added.
        pieces: The body, in order; flat bytes, sent as they are.
        length: Of all pieces, where they are made while they are sent.
        is_compressible: Compress it where the client names one coding alone. For infer
            replies only: Triton's asyncio client fails on others.
        close: End the connection after it.
    """

    status: int
    headers: Sequence[tuple[str, str]] = ()
    pieces: Iterable[Bytes] = ()
    length: int | None = None
    is_compressible: bool = False
    close: bool = False

    @property
    def n_bytes(self) -> int:
        """How long the body is."""
        if self.length is not None:
            return self.length
        return sum(memoryview(piece).nbytes for piece in self.pieces)


@dataclass(slots=True, kw_only=True)
class ExchangeFigures:
    """What one exchange took; times are the loop's, in seconds, 0 where it never came to it.

    A client that left before it had the reply shows in `sent_s` being 0.

    Attributes:
        number: Of the exchange, in the order of their beginning; for logs.
        details: What else the handler wants to be logged: names and codes, nothing of
            a body.
        status: Of the reply; 0 when there was none.
        n_received: Bytes of the body as they came.
        n_sent: Bytes of the reply's body.
        begun_s: The first byte of the request was there.
        headed_s: Its head was read.
        received_s: Its body was read.
        replied_s: The handler was done.
        sent_s: The system took the last byte of the reply.
        engine_s: Time inside the engine, where the request came to it.
    """

    number: int
    details: dict[str, object] = field(default_factory=dict)
    status: int = 0
    n_received: int = 0
    n_sent: int = 0
    begun_s: float = 0
    headed_s: float = 0
    received_s: float = 0
    replied_s: float = 0
    sent_s: float = 0
    engine_s: float = 0


class HttpError(InferonnxError):
    """A request that is refused; handlers may raise it too.

    Attributes:
        status: Of the reply.
        headers: Of the reply, beside the usual.
        close: The rest of what the client sends can't be understood: end the connection.
    """

    code: ClassVar[str] = "http"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        close: bool = False,
    ) -> None:
        """Keep the sentence and what the reply is made of."""
        super().__init__(message)
        self.status = status
        self.headers = tuple(headers)
        self.close = close

    def reply(self) -> Reply:
        """Return the answer that says it."""
        return error_reply(self.status, self.message, headers=self.headers, close=self.close)


def error_reply(
    status: int, sentence: str, *, headers: Sequence[tuple[str, str]] = (), close: bool = False
) -> Reply:
    """Return an error in the one form that all clients of the protocol read."""
    body = json.dumps({"error": sentence}).encode()
    return Reply(
        status=status, headers=(("Content-Type", JSON), *headers), pieces=(body,), close=close
    )
