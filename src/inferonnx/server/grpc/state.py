"""What `h2` is told before a connection begins, and what it can't say itself."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, GoAwayFrame

from inferonnx.server.grpc import limits as most

LAST_STREAM = 2**31 - 1
"""In a GOAWAY: the end is near, and what is sent until then still counts."""


class _State(H2Connection):
    MAX_CLOSED_STREAMS = most.CLOSED_STREAMS


def make_state(head_bytes: int) -> H2Connection:
    """Return h2's state with our settings in the first frame that it sends.

    A client may begin before it has read them, and with what the standard lets it assume:
    so they are no less than that. A smaller window comes behind them, and holds when the
    client has said that it knows.
    """
    state = _State(
        H2Configuration(
            client_side=False,
            # Our own fields are constants in the form that the standard wants.
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    state.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: most.CALLS_EACH,
            SettingCodes.MAX_HEADER_LIST_SIZE: head_bytes,
            SettingCodes.INITIAL_WINDOW_SIZE: most.WIDE_BYTES,
            SettingCodes.MAX_FRAME_SIZE: most.FRAME_BYTES,
        },
    )
    state.max_inbound_frame_size = most.FRAME_BYTES
    state.decoder.max_header_list_size = head_bytes
    return state


def goodbye(last: int) -> bytes:
    """Return a GOAWAY; after one of its own, h2 takes nothing any more."""
    return GoAwayFrame(0, last_stream_id=last).serialize()


def _shown(frame: DataFrame) -> str:
    return f"{len(frame.data)} bytes"


# h2 makes a text of each frame for a log that nobody keeps. Of a message that would be all its
# bytes as hex: a quarter of what a large request takes, and tensors where nobody looks for them.
DataFrame._body_repr = _shown  # type: ignore[method-assign, assignment]
