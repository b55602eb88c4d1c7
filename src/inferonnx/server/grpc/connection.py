"""HTTP/2 on a connection: `h2` says what bytes mean, this file moves them.

Rules of this file:

- Who reads never waits for who is slow to read, unless so much of it goes out that a
  client which sends and never reads would fill our memory.
- A call is a task. A reset, a GOAWAY or the end of the connection cancels it.
- All that goes out goes through `_flush`, in the order in which `h2` made it.
- The end is announced (GOAWAY), so that clients repeat what was not begun elsewhere.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, GoAwayFrame

from inferonnx.server.connection import ClientGoneError
from inferonnx.server.grpc import limits as most
from inferonnx.server.grpc.guard import FloodError, Guard
from inferonnx.server.incoming import Pace
from inferonnx.server.limits import AHEAD_BYTES, RECEIVE_BYTES, SEND_BYTES
from inferonnx.server.pieces import lots

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from inferonnx.server.connection import Connection
    from inferonnx.server.grpc.commons import Commons
    from inferonnx.server.grpc.metadata import Fields
    from inferonnx.server.grpc.stream import Stream
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.observer import Observer
    from inferonnx.server.pieces import Bytes

    Opening = Callable[["GrpcConnection", int, list[tuple[bytes, bytes]]], Stream]
    Handler = Callable[[Stream], Coroutine[Any, Any, None]]

FIRST_WINDOW = 65_535
"""Of a connection, by the standard."""

LAST_STREAM = 2**31 - 1
"""In a GOAWAY: the end is near, and what is sent until then still counts."""

GOODBYE = b"goodbye."
"""In the ping behind it, whose answer says that the client knows."""


def _shown(frame: DataFrame) -> str:
    return f"{len(frame.data)} bytes"


# h2 makes a text of each frame for a log that nobody keeps. Of a message that would be all its
# bytes as hex: a quarter of what a large request takes, and tensors where nobody looks for them.
DataFrame._body_repr = _shown  # type: ignore[method-assign, assignment]


_WIDE: dict[SettingCodes | int, int] = {
    SettingCodes.INITIAL_WINDOW_SIZE: most.WIDE_BYTES,
    SettingCodes.MAX_CONCURRENT_STREAMS: most.WIDE_CALLS,
}
_NARROW: dict[SettingCodes | int, int] = {
    SettingCodes.INITIAL_WINDOW_SIZE: most.NARROW_BYTES,
    SettingCodes.MAX_CONCURRENT_STREAMS: most.NARROW_CALLS,
}


class _State(H2Connection):
    MAX_CLOSED_STREAMS = most.CLOSED_STREAMS


class GrpcConnection:
    """Carries calls between a connection and their handlers; a `stream.Wire`."""

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
        self._h2 = _make_state(limits.head_bytes)
        self._guard = Guard(block_bytes=limits.head_bytes, now_s=self._loop.time())
        self._calls: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._consumed = 0
        self._unsent = 0
        self._sending = asyncio.Lock()
        self._opened = asyncio.Event()
        self._will_flush = False
        self._is_wide: bool | None = None
        self._crowded_s = -float("inf")
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
        self._h2.increment_flow_control_window(most.CONNECTION_BYTES - FIRST_WINDOW)
        self.fit_windows()
        self._flush()
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
            self._say_goodbye(LAST_STREAM)
            self._h2.ping(GOODBYE)
            self._flush()
        self._loop.call_later(most.GOODBYE_S, self._stop_taking)

    # What streams do.

    def open_window(self, number: int, n_bytes: int, *, slack: int) -> None:
        """Let the client send so much, and half the slack at least."""
        if n_bytes > RECEIVE_BYTES:
            # Fewer system calls. While a message comes, nothing is in the memory that is
            # reserved for its answer: what comes at once counts as that.
            self.connection.ahead_bytes = RECEIVE_BYTES
        with suppress(H2Error, KeyError):  # it may just have ended
            there = self._h2.streams[number].inbound_flow_control_window
            if there < n_bytes + slack // 2:
                self._h2.increment_flow_control_window(n_bytes + slack - there, number)
        self._flush_soon()

    def fit_windows(self) -> None:
        """Choose wide or narrow windows by how many calls there are, and by memory."""
        now_s = self._loop.time()
        if len(self._calls) >= most.WIDE_CALLS:
            self._crowded_s = now_s
        is_wide = now_s - max(self._crowded_s, self._commons.short_s) >= most.CALM_S
        if is_wide is not self._is_wide:
            self._is_wide = is_wide
            with suppress(H2Error):
                self._h2.update_settings(_WIDE if is_wide else _NARROW)
            self._flush_soon()

    def send_fields(self, number: int, fields: Fields, *, is_last: bool) -> None:
        """Send header or trailer fields.

        Raises:
            ClientGoneError: The client has left.
        """
        try:
            self._h2.send_headers(number, fields, end_stream=is_last)
        except (H2Error, KeyError) as error:
            raise ClientGoneError from error
        self._flush_soon()

    async def send_data(self, number: int, pieces: Sequence[Bytes]) -> None:
        """Send bytes, as far as the client's windows are open.

        Raises:
            ClientGoneError: The client has left, or does not read.
        """
        pace = Pace(self._limits, grace_s=self._limits.reply_s)
        for i, lot in enumerate(lots(pieces, min(self._h2.max_outbound_frame_size, SEND_BYTES))):
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
        """Tell the client that nothing of what it still sends is wanted."""
        with suppress(H2Error, KeyError):
            self._h2.reset_stream(number, ErrorCodes.NO_ERROR)
        self._flush_soon()

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
        self._top_up()
        self.fit_windows()
        self._flush()
        if self._unsent > SEND_BYTES:
            await self._drained(Pace(self._limits, grace_s=self._limits.reply_s))
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
            self._flush()
        return b""

    def _cut_off(self, reason: str) -> bool:
        self._observer.refused(self.connection.peer, reason)
        self._flush()
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
        self.connection.idle_since = None
        task.add_done_callback(lambda _: self._ended(stream))

    def _on_data(self, event: events.DataReceived) -> None:
        n_bytes = event.flow_controlled_length
        self._consumed += n_bytes
        call = self._calls.get(event.stream_id)
        if call is None:
            return
        call[0].receive(event.data)
        if n_bytes > len(event.data):
            with suppress(H2Error, KeyError):
                padding = n_bytes - len(event.data)
                self._h2.increment_flow_control_window(padding, event.stream_id)

    def _on_end(self, event: events.StreamEnded) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:
            call[0].end()

    def _on_reset(self, event: events.StreamReset) -> None:
        call = self._calls.get(event.stream_id)
        if call is not None:
            call[1].cancel()

    def _on_window(self, _event: events.Event) -> None:
        self._opened.set()

    def _on_settled(self, _event: events.SettingsAcknowledged) -> None:
        """Open windows that have become narrow under a message that comes."""
        for stream, _ in self._calls.values():
            stream.renew_window()

    def _on_goaway(self, _event: events.ConnectionTerminated) -> None:
        self._is_over = True

    def _on_ping_answer(self, event: events.PingAckReceived) -> None:
        if event.ping_data == GOODBYE:
            self._stop_taking()

    def _top_up(self) -> None:
        """Open the connection's window again when half of it is used up."""
        if self._consumed >= most.CONNECTION_BYTES // 2:
            with suppress(H2Error):
                self._h2.increment_flow_control_window(self._consumed)
            self._consumed = 0

    async def _make_room(self) -> None:
        """Read nothing while too much is held, here too, unless a message has to come on."""
        while holding := [stream for stream, _ in self._calls.values() if stream.n_held]:
            if await self._commons.room(most.PAUSE_S):
                return
            if any(stream.is_filling for stream, _ in self._calls.values()):
                holding[-1].overrun()
                return

    # Going out.

    def _send(self, number: int, data: memoryview) -> None:
        try:
            self._h2.send_data(number, data)
        except (H2Error, KeyError) as error:
            raise ClientGoneError from error
        self._guard.sent(len(data))
        self._flush_soon()

    async def _room(self, number: int, pace: Pace) -> int:
        """Return how much may be sent on a stream, as soon as that is something."""
        while True:
            try:
                n = self._h2.local_flow_control_window(number)
            except (H2Error, KeyError) as error:
                raise ClientGoneError from error
            if n > 0:
                return min(n, self._h2.max_outbound_frame_size)
            begun_s = self._loop.time()
            self._opened.clear()
            try:
                async with asyncio.timeout(min(pace.left_s, self._limits.reply_s)):
                    await self._opened.wait()
            except TimeoutError as error:
                with suppress(H2Error, KeyError):
                    self._h2.reset_stream(number, ErrorCodes.CANCEL)
                self._flush_soon()
                raise ClientGoneError from error
            pace.note(0, self._loop.time() - begun_s)

    async def _drained(self, pace: Pace) -> None:
        """Flush, and wait until the system has taken it."""
        self._flush()
        begun_s = self._loop.time()
        async with self._sending:
            try:
                await self.connection.drain(timeout_s=min(pace.left_s, self._limits.reply_s))
            except TimeoutError as error:
                self.connection.abort()
                raise ClientGoneError from error
        self._unsent = 0
        pace.note(0, self._loop.time() - begun_s)

    def _flush_soon(self) -> None:
        """Flush when all that is ready now was added."""
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush_late)

    def _flush_late(self) -> None:
        with suppress(ClientGoneError):
            self._flush()

    def _flush(self) -> None:
        self._will_flush = False
        data = self._h2.data_to_send()
        if data:
            self._unsent += len(data)
            self.connection.write((data,))

    # The end.

    def _ended(self, stream: Stream) -> None:
        del self._calls[stream.number]
        self._commons.leave()
        stream.release()
        if not self._calls:
            self.connection.idle_since = self._loop.time()
            self.connection.ahead_bytes = AHEAD_BYTES
            self._finish_if_last()

    def _stop_taking(self) -> None:
        """Begin no further calls."""
        if self._is_over:
            return
        if self._last is None:
            self._last = self._h2.highest_inbound_stream_id
            with suppress(ClientGoneError):
                self._say_goodbye(self._last)
        if not self._calls:
            self._finish_if_last()

    def _finish_if_last(self) -> None:
        if self._last is not None:
            self._is_over = True
            self.connection.interrupt()

    def _say_goodbye(self, last: int) -> None:
        # Made here, since h2 takes nothing any more after a GOAWAY of its own.
        self._flush()
        self.connection.write((GoAwayFrame(0, last_stream_id=last).serialize(),))


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


def _make_state(head_bytes: int) -> H2Connection:
    """Return h2's state with our settings in the first frame that it sends.

    A client may begin before it has read them, and with what the standard lets it assume:
    so the first are no less than that. What is less comes behind them, and holds when
    the client has said that it knows.
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
            SettingCodes.MAX_CONCURRENT_STREAMS: most.NARROW_CALLS,
            SettingCodes.MAX_HEADER_LIST_SIZE: head_bytes,
            SettingCodes.INITIAL_WINDOW_SIZE: most.WIDE_BYTES,
            SettingCodes.MAX_FRAME_SIZE: most.FRAME_BYTES,
        },
    )
    state.max_inbound_frame_size = most.FRAME_BYTES
    state.decoder.max_header_list_size = head_bytes
    return state
