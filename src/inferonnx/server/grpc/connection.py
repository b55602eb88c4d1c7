"""HTTP/2 on a connection: `h2` says what bytes mean, this file moves them.

Rules of this file:

- Who reads never waits for who is slow to read, unless so much of it goes out that a
  client which sends and never reads would fill our memory.
- A call is a task. A reset, a GOAWAY or the end of the connection cancels it.
- All that goes out goes through the sender, in the order in which `h2` made it.
- The end is announced (GOAWAY), so that clients repeat what was not begun elsewhere.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from inferonnx.server.grpc import limits as most
from inferonnx.server.grpc.guard import FloodError, Guard
from inferonnx.server.grpc.sender import Sender
from inferonnx.server.grpc.state import LAST_STREAM, make_state
from inferonnx.server.grpc.windows import Windows
from inferonnx.server.limits import SEND_BYTES
from inferonnx.server.peer import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from inferonnx.server.connection import Connection
    from inferonnx.server.grpc.commons import Commons
    from inferonnx.server.grpc.stream import Stream
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.observer import Observer

    Opening = Callable[["GrpcConnection", int, list[tuple[bytes, bytes]]], Stream]
    Handler = Callable[[Stream], Coroutine[Any, Any, None]]

GOODBYE = b"goodbye."
"""In the ping behind the first GOAWAY, whose answer says that the client knows."""


class GrpcConnection:
    """Carries calls between a connection and their handlers.

    Attributes:
        connection: What carries.
        sender: Sends for all calls.
        windows: How much may come.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        begin: Opening,
        handle: Handler,
        commons: Commons,
        limits: HttpLimits,
        observer: Observer,
    ) -> None:
        """Begin after the handshake.

        Args:
            connection: What carries.
            begin: Makes a stream of a call's number and header fields.
            handle: Answers it; ends it whatever happens, unless it is cancelled.
            commons: What all connections hold together.
            limits: Deadlines, and the size of header fields.
            observer: Is told of connections that are cut off.
        """
        self.connection = connection
        self._begin, self._handle = begin, handle
        self._commons, self._limits, self._observer = commons, limits, observer
        self._loop = asyncio.get_running_loop()
        self._h2 = make_state(limits.head_bytes)
        self._guard = Guard(block_bytes=limits.head_bytes, now_s=self._loop.time())
        self.sender = Sender(connection, self._h2, self._guard, limits)
        self.windows = Windows(connection, self._h2, self.sender, commons)
        self._calls: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._is_new = True
        self._is_pinged = False
        self._is_draining = False
        self._last: int | None = None  # no stream beyond it is begun
        self._is_over = False

    # What the service does.

    async def run(self) -> None:
        """Serve until either side is done.

        Raises:
            ClientGoneError: The client left.
        """
        self._h2.initiate_connection()
        self.windows.fit()
        self.sender.flush()
        try:
            await self._serve()
        except asyncio.CancelledError:
            # Its place is needed. A call may be on its way: it is answered, and then this
            # ends as any other; a second time it is at once.
            self.drain()
            await self._serve()
        finally:
            tasks = [task for _, task in self._calls.values()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _serve(self) -> None:
        while await self._step():
            pass

    def drain(self) -> None:
        """Announce the end; it comes when the calls under way are answered."""
        if self._is_draining:
            return
        self._is_draining = True
        with suppress(ClientGoneError, H2Error):
            self.sender.say_goodbye(LAST_STREAM)
            self._h2.ping(GOODBYE)
            self.sender.flush()
        self._loop.call_later(most.GOODBYE_S, self._stop_taking)

    # Coming in.

    async def _step(self) -> bool:
        """Read once, and do what it says; tell whether to go on."""
        if self._commons.is_full:
            await self._make_room()
        data = await self._read()
        if not data:
            return not (self._is_over or self.connection.is_ended)
        try:
            self._guard.receive(data, self._loop.time())
            happened = self._h2.receive_data(data)
        except FloodError as error:
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, str(error).encode())
            return self._cut_off(str(error))
        except H2Error as error:  # h2 has made the GOAWAY
            return self._cut_off(f"bad HTTP/2: {type(error).__name__}")
        for event in happened:
            handler = _HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event)
        self.windows.fit()
        self.sender.flush()
        if self.sender.n_unsent > SEND_BYTES:
            await self.sender.drained()
        return not self._is_over

    async def _read(self) -> bytes:
        """Return what came, b"" at the end, also when that is ours."""
        if self._calls:
            self.connection.idle_since = None
            timeout_s: float = most.PING_S if self._is_pinged else most.KEEPALIVE_S
        elif self._is_new:  # it has come for a call: nobody is to have its place yet
            self.connection.idle_since = None
            timeout_s = self._limits.head_s
        else:
            timeout_s = self._idle_s_left
        try:
            data = await self.connection.read(timeout_s=timeout_s)
        except TimeoutError:
            return self._was_silent()
        self._is_pinged = False
        return data

    @property
    def _idle_s_left(self) -> float:
        """How long a connection without calls may stay."""
        if self.connection.idle_since is None:
            self.connection.idle_since = self._loop.time()
        return self.connection.idle_since + self._limits.idle_s - self._loop.time()

    def _was_silent(self) -> bytes:
        if self._is_new:
            self._is_new = False
        elif not self._calls:  # the last one may have ended in the meantime
            if self._idle_s_left <= 0:
                self._stop_taking()
                self._is_over = True
        elif self._is_pinged:
            self.connection.abort()
            raise ClientGoneError
        else:
            self._is_pinged = True
            self._h2.ping(bytes(8))
            self.sender.flush()
        return b""

    def _cut_off(self, reason: str) -> bool:
        self._observer.refused(self.connection.peer, reason)
        self.sender.flush()
        self._is_over = True
        return False

    def _on_request(self, event: events.RequestReceived) -> None:
        number = event.stream_id
        if (self._last is not None and number > self._last) or not self._commons.enter():
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        self._is_new = False
        stream = self._begin(self, number, event.headers)
        task = self._loop.create_task(self._handle(stream))
        self._calls[number] = (stream, task)
        self.windows.n_calls += 1
        self.connection.idle_since = None
        task.add_done_callback(lambda _: self._ended(stream))

    def _on_data(self, event: events.DataReceived) -> None:
        n_bytes = event.flow_controlled_length
        self.windows.pad(event.stream_id, n_bytes - len(event.data))
        call = self._calls.get(event.stream_id)
        if call is not None:
            call[0].receive(event.data)

    def _on_end(self, event: events.StreamEnded) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:
            call[0].end()

    def _on_reset(self, event: events.StreamReset) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:
            call[1].cancel()

    def _on_window(self, _event: events.Event) -> None:
        self.sender.opened()

    def _on_settled(self, _event: events.SettingsAcknowledged) -> None:
        """Open windows that have become narrow under a message that comes."""
        self.windows.settled()
        for stream, _ in self._calls.values():
            stream.renew_window()

    def _on_goaway(self, _event: events.ConnectionTerminated) -> None:
        self._is_over = True

    def _on_ping_answer(self, event: events.PingAckReceived) -> None:
        if event.ping_data == GOODBYE:
            self._stop_taking()

    async def _make_room(self) -> None:
        """Read nothing while too much is held, here too, unless a message has to come on."""
        while holding := [stream for stream, _ in self._calls.values() if stream.n_held]:
            if await self._commons.room(most.PAUSE_S):
                return
            if any(stream.is_filling for stream, _ in self._calls.values()):
                holding[-1].overrun()
                return

    # The end.

    def _ended(self, stream: Stream) -> None:
        del self._calls[stream.number]
        self.windows.n_calls -= 1
        self._commons.leave()
        stream.release()
        if not self._calls:
            self.connection.idle_since = self._loop.time()
            self._finish_if_last()

    def _stop_taking(self) -> None:
        """Begin no further calls."""
        if self._is_over:
            return
        if self._last is None:
            self._last = self._h2.highest_inbound_stream_id
            self.sender.say_goodbye(self._last)
        if not self._calls:
            self._finish_if_last()

    def _finish_if_last(self) -> None:
        if self._last is not None:
            self._is_over = True
            self.connection.interrupt()


_HANDLERS: dict[type[events.Event], Callable[[GrpcConnection, Any], None]] = {
    events.RequestReceived: GrpcConnection._on_request,
    events.DataReceived: GrpcConnection._on_data,
    events.StreamEnded: GrpcConnection._on_end,
    events.StreamReset: GrpcConnection._on_reset,
    events.WindowUpdated: GrpcConnection._on_window,
    events.RemoteSettingsChanged: GrpcConnection._on_window,
    events.SettingsAcknowledged: GrpcConnection._on_settled,
    events.ConnectionTerminated: GrpcConnection._on_goaway,
    events.PingAckReceived: GrpcConnection._on_ping_answer,
}
