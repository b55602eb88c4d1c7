"""What gRPC takes on, beside the limits that it shares with HTTP/1.1 (`server.limits`)."""

from __future__ import annotations

from inferonnx.sizes import KIB, MIB

WIDE_BYTES = MIB
"""Of a call that may come before memory is reserved for its message, while its client has
one call at a time: an image takes no round trip more than a small message."""

WIDE_CONNECTION_BYTES = 2 * MIB
"""Of all calls of a client with wide windows, together, for which there is no memory: so much
can wait. It is what bounds them, and not how many they are: fewer calls than were offered
before can't be offered, since grpcio then may wait for ever with those that it has begun."""

NARROW_BYTES = 16 * KIB
"""The same for each of many calls: all of them can wait for memory and hold little. When it
is reserved, a call's window opens by the whole message."""

CALLS_EACH = 100
"""Calls of one connection, always; the client lets others wait. RFC 9113 wants no fewer."""

CROWD = 2
"""Calls at once at which windows become narrow."""

CALM_S = 10
"""How long a client has had one call at a time, and nobody had to wait for memory, until
its windows are wide again."""

CONNECTION_BYTES = 4 * MIB
"""Under way on a connection, all calls together, while windows are narrow or a message comes
whose memory is reserved: a network of 100 ms and 40 MB/s. It promises no memory, since each
call has its own window."""

FRAME_BYTES = 16 * KIB
"""Longest frame: `h2` puts it together in memory that nobody reserved."""

CALLS = 256
"""Of all connections together; one more is refused, and its client may try again."""

UNRESERVED_BYTES = 2 * MIB
"""Held for all calls that wait for memory, or for their turn. Beyond it nothing more is read
from who holds some; a call is refused only where another's message would not come on."""

PAUSE_S = 0.1
"""How often it is looked for that."""

CALL_BYTES = 8 * KIB
"""A call with its small message: measured are 4 for its task and its stream."""

SMALL_BYTES = 4 * KIB
"""A message that needs no memory beside it and is no longer is read at once: whether the
server lives can be asked when there is no memory for anything else."""

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
