"""What gRPC takes on, beside the limits that it shares with HTTP/1.1 (`server.limits`)."""

from __future__ import annotations

from inferonnx.sizes import KIB, MIB

WIDE_BYTES = MIB
"""Of a call that may come before memory is reserved for its message: one that is no larger
takes no round trip more than a small one."""

NARROW_BYTES = 64 * KIB - 1
"""The same while memory is short, HTTP/2's own first window: many calls can wait and hold
little. When its memory is reserved, a call's window opens by the whole message."""

CALM_S = 10
"""Since the last call that had to wait for memory, until it is not short any more."""

CONNECTION_BYTES = 4 * MIB
"""Under way on a connection, all calls together: a network of 100 ms and 40 MB/s. It
promises no memory, since each call has its own window."""

FRAME_BYTES = 16 * KIB
"""Longest frame: `h2` puts it together in memory that nobody reserved."""

CALLS_PER_CONNECTION = 100
"""Told to the client; it lets the others wait. RFC 9113 wants no fewer."""

CALLS = 256
"""Of all connections together; one more is refused, and its client may try again."""

UNRESERVED_BYTES = 2 * MIB
"""Held for all calls that wait for memory, or for their turn, whatever their windows
promise; nothing more is read then."""

PAUSE_S = 1.0
"""How long nothing is read; then the last call that holds something is refused."""

CALL_BYTES = 8 * KIB
"""A call without its messages: its task, its stream; measured are 4."""

IDLE_BYTES = 16 * KIB
"""An idle connection beside TLS, `h2`'s state and tables; measured are 4
(`python -m inferonnx.bench.grpc_stacks`)."""

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
