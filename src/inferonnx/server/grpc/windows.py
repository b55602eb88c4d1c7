"""How much the client of a connection may send: on each call, and altogether."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from h2.exceptions import H2Error
from h2.settings import SettingCodes

from inferonnx.server.grpc import limits as most
from inferonnx.server.limits import AHEAD_BYTES, RECEIVE_BYTES

if TYPE_CHECKING:
    from h2.connection import H2Connection

    from inferonnx.server.connection import Connection
    from inferonnx.server.grpc.commons import Commons
    from inferonnx.server.grpc.sender import Sender

FIRST_WINDOW = 65_535
"""Of a connection, by the standard."""

_WIDE: dict[SettingCodes | int, int] = {
    SettingCodes.INITIAL_WINDOW_SIZE: most.WIDE_BYTES,
    SettingCodes.MAX_CONCURRENT_STREAMS: most.WIDE_CALLS,
}
_NARROW: dict[SettingCodes | int, int] = {
    SettingCodes.INITIAL_WINDOW_SIZE: most.NARROW_BYTES,
    SettingCodes.MAX_CONCURRENT_STREAMS: most.NARROW_CALLS,
}


class Windows:
    """The windows that we open for a client.

    Attributes:
        n_calls: Under way on the connection.
    """

    def __init__(
        self, connection: Connection, state: H2Connection, sender: Sender, commons: Commons
    ) -> None:
        """Begin before anything was sent."""
        self.n_calls = 0
        self._connection, self._state = connection, state
        self._sender, self._commons = sender, commons
        self._loop = asyncio.get_running_loop()
        self._is_wide: bool | None = None
        self._crowded_s = -float("inf")
        self._consumed = 0

    def begin(self) -> None:
        """Open the connection's window, behind the first settings."""
        self._state.increment_flow_control_window(most.CONNECTION_BYTES - FIRST_WINDOW)
        self.fit()

    def fit(self) -> None:
        """Choose wide or narrow windows by how many calls there are, and by memory."""
        now_s = self._loop.time()
        if self.n_calls >= most.WIDE_CALLS:
            self._crowded_s = now_s
        elif not self.n_calls:
            self._connection.ahead_bytes = AHEAD_BYTES
        is_wide = now_s - max(self._crowded_s, self._commons.short_s) >= most.CALM_S
        if is_wide is not self._is_wide:
            self._is_wide = is_wide
            with suppress(H2Error):
                self._state.update_settings(_WIDE if is_wide else _NARROW)
            self._sender.flush_soon()

    def open(self, number: int, n_bytes: int) -> None:
        """Let the client send so much on a stream, and a little of what follows it."""
        if n_bytes > RECEIVE_BYTES:
            # Fewer system calls. While a message comes, nothing is in the memory that is
            # reserved for its answer: what comes at once counts as that.
            self._connection.ahead_bytes = RECEIVE_BYTES
        with suppress(H2Error, KeyError):  # it may just have ended
            there = self._state.streams[number].inbound_flow_control_window
            if there < n_bytes + most.NARROW_BYTES // 2:
                more = n_bytes + most.NARROW_BYTES - there
                self._state.increment_flow_control_window(more, number)
        self._sender.flush_soon()

    def came(self, number: int, n_bytes: int, *, padding: int) -> None:
        """Count what came; the connection's window is opened again when half is used up."""
        self._consumed += n_bytes
        with suppress(H2Error, KeyError):
            if padding:
                self._state.increment_flow_control_window(padding, number)
            if self._consumed >= most.CONNECTION_BYTES // 2:
                self._state.increment_flow_control_window(self._consumed)
                self._consumed = 0
