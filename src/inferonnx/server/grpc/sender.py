"""All that goes out on one connection, in the order in which `h2` made it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from inferonnx.server.grpc.state import goodbye
from inferonnx.server.limits import SEND_BYTES
from inferonnx.server.outgoing import reply_pace
from inferonnx.server.peer import ClientGoneError
from inferonnx.server.pieces import lots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from h2.connection import H2Connection

    from inferonnx.server.connection import Connection
    from inferonnx.server.grpc.guard import Guard
    from inferonnx.server.grpc.metadata import Fields
    from inferonnx.server.incoming import Pace
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.pieces import Bytes


class Sender:
    """Sends for all calls of a connection, at their client's pace.

    Attributes:
        n_unsent: Bytes written since the system last took all.
    """

    def __init__(
        self, connection: Connection, state: H2Connection, guard: Guard, limits: HttpLimits
    ) -> None:
        """Send on `connection` what is in `state`; `guard` hears how much that was."""
        self.n_unsent = 0
        self._connection, self._state, self._guard = connection, state, guard
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._one_waits = asyncio.Lock()
        self._opened = asyncio.Event()
        self._will_flush = False

    # What a call sends.

    def send_fields(self, number: int, fields: Fields, *, is_last: bool) -> None:
        """Send header or trailer fields.

        Raises:
            ClientGoneError: The client has left.
        """
        try:
            self._state.send_headers(number, fields, end_stream=is_last)
        except (H2Error, KeyError) as error:
            raise ClientGoneError from error
        self.flush_soon()

    async def send_data(self, number: int, pieces: Sequence[Bytes]) -> None:
        """Send bytes, as far as the client's windows are open.

        Raises:
            ClientGoneError: The client has left, or does not read.
        """
        pace = reply_pace(sum(memoryview(piece).nbytes for piece in pieces), self._limits)
        for i, lot in enumerate(lots(pieces, min(self._state.max_outbound_frame_size, SEND_BYTES))):
            data = memoryview(lot[0] if len(lot) == 1 else b"".join(lot))
            if i:
                await self._drained(pace)
                await asyncio.sleep(0)  # a long message must not hold up the others
            while data:
                n = await self._room(number, pace)
                self._send(number, data[:n])
                pace.note(len(data[:n]), 0)
                data = data[n:]

    def stop(self, number: int) -> None:
        """Tell the client that nothing of what it still sends on a stream is wanted."""
        self._reset(number, ErrorCodes.NO_ERROR)

    # What the connection does.

    def opened(self) -> None:
        """Take note that a window of the client's is wider."""
        self._opened.set()

    def flush(self) -> None:
        """Hand over what is ready.

        Raises:
            ClientGoneError: The connection is lost.
        """
        self._will_flush = False
        data = self._state.data_to_send()
        if data:
            self.n_unsent += len(data)
            self._connection.write((data,))

    def flush_soon(self) -> None:
        """Flush when all that is ready now was added."""
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush_late)

    def say_goodbye(self, last: int) -> None:
        """Announce that nothing behind the stream `last` is begun."""
        with suppress(ClientGoneError):
            self.flush()
            self._connection.write((goodbye(last),))

    async def drained(self) -> None:
        """Wait until the system has taken all.

        Raises:
            ClientGoneError: The client does not read.
        """
        await self._drained(reply_pace(0, self._limits))

    # Inside.

    def _flush_late(self) -> None:
        with suppress(ClientGoneError):
            self.flush()

    def _send(self, number: int, data: memoryview) -> None:
        try:
            self._state.send_data(number, data)
        except (H2Error, KeyError) as error:
            raise ClientGoneError from error
        self._guard.sent(len(data))
        self.flush_soon()

    def _reset(self, number: int, code: ErrorCodes) -> None:
        with suppress(H2Error, KeyError):  # it may have ended
            self._state.reset_stream(number, code)
        self.flush_soon()

    async def _room(self, number: int, pace: Pace) -> int:
        """Return how much may be sent on a stream, as soon as that is something."""
        while True:
            try:
                n = self._state.local_flow_control_window(number)
            except (H2Error, KeyError) as error:
                raise ClientGoneError from error
            if n > 0:
                return min(n, self._state.max_outbound_frame_size)
            begun_s = self._loop.time()
            self._opened.clear()
            try:
                async with asyncio.timeout(pace.left_s):
                    await self._opened.wait()
            except TimeoutError as error:
                self._reset(number, ErrorCodes.CANCEL)
                raise ClientGoneError from error
            pace.note(0, self._loop.time() - begun_s)

    async def _drained(self, pace: Pace) -> None:
        self.flush()
        begun_s = self._loop.time()
        async with self._one_waits:
            try:
                await self._connection.drain(timeout_s=pace.left_s)
            except TimeoutError as error:
                self._connection.abort()
                raise ClientGoneError from error
        self.n_unsent = 0
        pace.note(0, self._loop.time() - begun_s)
