"""What a client may ask of a connection, and for how long it may take its time.

Each limit has its reason beside it. Those that an operator sets have their defaults, with
the reasons, in `control.limits`. Tests shorten the deadlines; nothing else should need to.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferonnx.control import limits as settings
from inferonnx.sizes import KIB, MIB

FEED_BYTES = 4 * KIB
"""Ciphertext that OpenSSL gets at once. Its buffer keeps for ever the most that it ever
held: 22 KiB a connection with whole records, 5 with these, at no cost that shows."""

RECORD_BYTES = 4 * KIB
"""Sent in one TLS record, for the same reason; the standard's largest is 16 KiB."""

RECEIVE_BYTES = 64 * KIB
"""One buffer for all connections, filled by one system call: each is an enclave's exit."""

SEND_BYTES = 64 * KIB
"""Encrypted at once of a long reply, and all of it that may wait for a slow client."""

AHEAD_BYTES = 16 * KIB
"""Received of a connection that nobody reads from; TCP holds the client back after that."""

IDLE_BYTES = 36 * KIB
"""Most that an idle connection holds (`python -m inferonnx.bench.connections`): what the
budget keeps for each that may be open."""

BUSY_BYTES = 64 * KIB
"""Most that it holds beside the bodies of request and reply, whatever its client does."""

LINGER_MOST_S = 30
"""Longest that bytes are thrown away after our last one, however busily they come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of TLS connections.

    Attributes:
        n_connections: Open at once, each with `IDLE_BYTES` to `BUSY_BYTES`.
        n_per_address: From one IP address; 0 is no limit, since a proxy is one address.
        handshake_s: From accept to the end of the handshake.
        linger_s: After our last byte, for the client to close or go on sending, which is
            thrown away: a reset sent too early would take the reply out of its hands.
    """

    n_connections: int = settings.DEFAULT_CONNECTIONS
    n_per_address: int = 0
    handshake_s: float = settings.DEFAULT_HANDSHAKE_TIMEOUT_S
    linger_s: float = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of HTTP/1.1 on one connection.

    Attributes:
        head_bytes: Request line and header fields.
        n_fields: Header fields of a request.
        body_bytes: A body that is held in memory, encoded and decoded, unless the
            endpoint says less.
        upload_bytes: A body that is streamed; the repository has its own quota.
        n_chunks: Chunks of a body in memory: one-byte chunks cost far more than they carry.
        idle_s: Between requests.
        head_s: From the first byte of a request to the end of its head.
        grace_s: Time that a body has beyond its rate, for slow starts. One in memory never has
            more in hand, whatever it has sent before: others may wait for the memory.
        bytes_per_s: Least rate of a body or reply.
        reply_s: Time that a reply has beyond its rate, and the most that it ever has in hand:
            others wait for the memory.
        body_s: Longest that a body in memory may take, as others wait for the memory; and
            what a reply may take beyond `reply_s`.
        admission_s: Longest wait for memory at a time; then 503, and the client tries again.
        discard_bytes: Rest of a refused body that is read, so that the connection lives:
            a handshake costs about as much.
    """

    head_bytes: int = settings.DEFAULT_HEADER_BYTES
    n_fields: int = settings.DEFAULT_HEADERS
    body_bytes: int = settings.DEFAULT_BODY_BYTES
    upload_bytes: int = settings.DEFAULT_QUOTA_BYTES
    n_chunks: int = settings.DEFAULT_CHUNKS
    idle_s: float = settings.DEFAULT_IDLE_TIMEOUT_S
    head_s: float = settings.DEFAULT_HEADER_TIMEOUT_S
    grace_s: float = 10
    reply_s: float = settings.DEFAULT_REPLY_TIMEOUT_S
    bytes_per_s: int = settings.DEFAULT_BODY_RATE_BYTES
    body_s: float = settings.DEFAULT_BODY_TIMEOUT_S
    admission_s: float = 30
    discard_bytes: int = MIB
