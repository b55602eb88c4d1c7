"""What gRPC takes on, beside the limits that it shares with HTTP/1.1 (`server.limits`)."""

from __future__ import annotations

from inferonnx.sizes import KIB, MIB

STREAM_BYTES = 64 * KIB - 1
"""Of a call that may come before memory is reserved for its message: HTTP/2's own first
window. When it is reserved the window opens by the whole message, so that a large one
costs a round trip and then flows at the network's pace."""

CONNECTION_BYTES = 4 * MIB
"""Under way on a connection, all calls together: a network of 100 ms and 40 MB/s. It
promises no memory, since each call has its own window."""

FRAME_BYTES = 16 * KIB
"""Longest frame: `h2` puts it together in memory that nobody reserved."""

CALLS_PER_CONNECTION = 100
"""Told to the client; it lets the others wait. RFC 9113 wants no fewer."""

CALLS = 256
"""Of all connections together; one more is refused, and its client may try again."""

UNRESERVED_BYTES = MIB
"""Held for all calls that wait for memory; beyond it the call that brings more is refused."""

CALL_BYTES = 16 * KIB
"""A call without its messages: tasks, streams, header fields (bench: `bench.connections`)."""

IDLE_BYTES = 48 * KIB
"""An idle connection beside TLS: `h2`'s state and tables (bench: `bench.connections`)."""

KEEPALIVE_S = 60
"""Silence after which a client with calls under way is asked whether it is there."""

PING_S = 20
"""What it has for the answer."""

AT_ONCE = 8
"""Requests of one stream that are computed at the same time; answers keep their order."""

GOODBYE_S = 1
"""From the announcement of an end until calls are not taken any more: what is on its way
should still arrive."""

CLOSED_STREAMS = 1000
"""Ended streams that `h2` remembers, for frames that come late. Its own number is 65,536."""
