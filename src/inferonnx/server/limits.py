"""What a client may ask of a connection, and for how long it may take its time.

Each limit has its reason beside it. Tests shorten the deadlines; nothing else should
need to.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferonnx.sizes import GIB, KIB, MIB

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

IDLE_BYTES = 35 * KIB
"""Most that an idle connection holds (`python -m inferonnx.bench.connections`)."""

BUSY_BYTES = 64 * KIB
"""Most that it holds beside the bodies of request and reply, whatever its client does."""

LINGER_MOST_S = 30
"""Longest that bytes are thrown away after our last one, however busily they come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of TLS connections.

    Attributes:
        n_connections: Open at once, each with `IDLE_BYTES` to `BUSY_BYTES`: more than
            that many clients share connections through a proxy.
        n_per_address: From one IP address; 0 is no limit, since a proxy is one address.
        handshake_s: From accept to the end of the handshake: three round trips.
        linger_s: After our last byte, for the client to close or go on sending, which is
            thrown away: a reset sent too early would take the reply out of its hands.
    """

    n_connections: int = 128
    n_per_address: int = 0
    handshake_s: float = 10
    linger_s: float = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of HTTP/1.1 on one connection.

    Attributes:
        head_bytes: Request line and header fields. Tokens and tracing headers take 2 KiB.
        n_fields: Header fields of a request; browsers send twenty.
        body_bytes: A body that is held in memory, encoded and decoded, unless the
            endpoint says less.
        upload_bytes: A body that is streamed; the repository has its own quota.
        n_chunks: Chunks of a body in memory: one-byte chunks cost far more than they carry.
        idle_s: Between requests. Clients keep connections for a minute and do not
            repeat a POST that meets a close, so it is longer than that.
        head_s: From the first byte of a request to the end of its head.
        grace_s: Time that a body has beyond its rate, for slow starts. One in memory never has
            more in hand, whatever it has sent before: others may wait for the memory.
        bytes_per_s: Least rate of a body or reply: a phone on a bad day has more.
        reply_s: Time that a reply has beyond its rate, and the most that it ever has in hand:
            others wait for the memory.
        body_s: Longest that a body in memory may take, as others wait for the memory; and
            what a reply may take beyond `reply_s`.
        admission_s: Longest wait for memory at a time; then 503, and the client tries again.
        discard_bytes: Rest of a refused body that is read, so that the connection lives:
            a handshake costs about as much.
    """

    head_bytes: int = 16 * KIB
    n_fields: int = 64
    body_bytes: int = 64 * MIB
    upload_bytes: int = 1024 * GIB
    n_chunks: int = 65_536
    idle_s: float = 90
    head_s: float = 10
    grace_s: float = 10
    reply_s: float = 60
    bytes_per_s: int = 4 * KIB
    body_s: float = 300
    admission_s: float = 30
    discard_bytes: int = MIB
