"""How much the client of a connection may send: on each call, and altogether.

What waits for memory takes part of the connection's window with it until it has some:
so a client that begins many calls while windows are wide sends no more than can wait.
When it knows that they are narrow, or a message comes that has its memory, the
connection's window is opened further, so that nothing waits behind what waits.
"""

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


class Windows:
    """The windows that we open for a client.

    Attributes:
        n_calls: Under way on the connection.
        n_filling: Those of them whose message comes into memory that is reserved.
    """

    def __init__(
        self, connection: Connection, state: H2Connection, sender: Sender, commons: Commons
    ) -> None:
        """Begin before anything was sent."""
        self.n_calls = self.n_filling = 0
        self._connection, self._state = connection, state
        self._sender, self._commons = sender, commons
        self._loop = asyncio.get_running_loop()
        self._is_wide = True  # by the first settings
        self._n_unknown = 1  # settings of which the client has not said that it knows them
        self._crowded_s = -float("inf")
        self._held_bytes = 0

    def settled(self) -> None:
        """Take note that the client knows settings of ours, the earliest first."""
        self._n_unknown -= 1
        self._open_all()

    def hold(self, change: int) -> None:
        """Count bytes of the connection's calls that have no memory, or have it now."""
        self._held_bytes += change
        self._commons.hold(change)
        if change < 0:
            self._open_all()

    def fit(self) -> None:
        """Choose wide or narrow windows by how many calls there are, and by memory."""
        now_s = self._loop.time()
        if self.n_calls >= most.CROWD:
            self._crowded_s = now_s
        elif not self.n_calls:
            self._connection.ahead_bytes = AHEAD_BYTES
        is_wide = now_s - max(self._crowded_s, self._commons.short_s) >= most.CALM_S
        if is_wide is not self._is_wide:
            self._is_wide = is_wide
            n_bytes = most.WIDE_BYTES if is_wide else most.NARROW_BYTES
            with suppress(H2Error):
                self._state.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: n_bytes})
                self._n_unknown += 1
        self._open_all()

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
        self._open_all()

    def pad(self, number: int, n_bytes: int) -> None:
        """Give the padding of a frame back to its call's window."""
        with suppress(H2Error, KeyError):
            if n_bytes:
                self._state.increment_flow_control_window(n_bytes, number)

    def _open_all(self) -> None:
        """Open the connection's window when half of it is used up, and not for what waits."""
        there = self._state.inbound_flow_control_window
        is_narrow = not self._is_wide and not self._n_unknown
        is_needed = self.n_filling and there < most.WIDE_CONNECTION_BYTES // 2
        whole = most.CONNECTION_BYTES if is_narrow or is_needed else most.WIDE_CONNECTION_BYTES
        more = whole - self._held_bytes - there
        if more >= whole // 2:
            with suppress(H2Error):
                self._state.increment_flow_control_window(more)
        self._sender.flush_soon()
