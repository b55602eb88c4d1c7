"""One call as its handler sees it: messages come, messages go, a status ends it.

Memory: what comes of a call is held until memory for its message is reserved; the
windows of calls are so narrow that many can wait, and flow control is the
back-pressure. When a message's memory is reserved, its call's window opens by the
whole of it. A client with one call at a time has a wide window from the beginning.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inferonnx.errors import BusyError
from inferonnx.oip import InvalidRequestError, SlowRequestError, TooLargeError
from inferonnx.server.bodies import FIRST_BYTES, Body, first_bytes, reserve
from inferonnx.server.codings import Inflater
from inferonnx.server.grpc.framing import Deframer, encode_prefix
from inferonnx.server.grpc.limits import SMALL_BYTES
from inferonnx.server.grpc.metadata import (
    CallHead,
    closing_fields,
    opening_fields,
    refusing_fields,
)
from inferonnx.server.incoming import Pace
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any, TypeVar

    from inferonnx.errors import InferonnxError
    from inferonnx.server.grpc.commons import Commons
    from inferonnx.server.grpc.metadata import Fields
    from inferonnx.server.grpc.sender import Sender
    from inferonnx.server.grpc.windows import Windows
    from inferonnx.server.limits import HttpLimits
    from inferonnx.server.messages import ExchangeFigures
    from inferonnx.server.peer import Peer
    from inferonnx.server.pieces import Bytes
    from inferonnx.server.ports import Ledger, Reservation

    T = TypeVar("T")


class _Nothing:
    """The reservation of a message that is too small to count."""

    n_bytes = missing_bytes = 0

    async def grow(self, _n_bytes: int) -> None:
        pass

    def try_grow(self, _n_bytes: int) -> bool:
        return False

    def could_grow(self, _n_bytes: int) -> bool:
        return False

    def try_hold(self, _n_bytes: int) -> bool:
        return True

    async def hold(self, _n_bytes: int, *, before: asyncio.Task[None] | None = None) -> None:
        pass

    def shrink(self, _n_bytes: int) -> None:
        pass

    def release(self) -> None:
        pass


NOTHING: Reservation = _Nothing()


class Message:
    """A message, and the memory that is reserved for it and what is beside it."""

    __slots__ = ("data", "reservation")

    def __init__(self, data: memoryview, reservation: Reservation) -> None:
        """Hold both."""
        self.data, self.reservation = data, reservation

    @property
    def beside_bytes(self) -> int:
        """What is reserved and not taken by the message."""
        return self.reservation.n_bytes - len(self.data)

    def forget(self, *, keep_bytes: int) -> None:
        """Give back the message's memory, which nobody looks at any more, but for some."""
        self.data = memoryview(b"")
        self.reservation.shrink(max(0, self.reservation.n_bytes - keep_bytes))


class Stream:
    """A call under way.

    Attributes:
        number: Of the HTTP/2 stream.
        fields: Its header fields.
        head: What they say; the handler reads it.
        peer: Who calls.
        figures: Sizes and times so far.
        has_ended: The client has sent all that it will.
        has_opened: Something of the answer was sent.
        is_filling: A message comes whose memory is reserved.
    """

    def __init__(
        self,
        number: int,
        fields: Fields,
        *,
        peer: Peer,
        sender: Sender,
        windows: Windows,
        ledger: Ledger,
        commons: Commons,
        limits: HttpLimits,
        figures: ExchangeFigures,
    ) -> None:
        """Begin when the header fields are there."""
        self.number, self.fields, self.peer, self.figures = number, fields, peer, figures
        self.head = CallHead(path="")
        self.has_ended = self.has_opened = False
        self._sender, self._windows = sender, windows
        self._ledger, self._commons, self._limits = ledger, commons, limits
        self._frames = Deframer()
        self._error: InferonnxError | None = None
        self._arrived = asyncio.Event()
        self._waits_for_memory: asyncio.Task[Any] | None = None
        self.is_filling = False
        self._held = 0
        self._reservations: set[Reservation] = set()
        self._loop = asyncio.get_running_loop()

    # What the connection tells.

    def receive(self, data: bytes) -> None:
        """Take bytes; wake the handler if they are enough for it to go on."""
        self.figures.n_received += len(data)
        if self._error is not None:
            return
        had_prefix = self._frames.prefix is not None
        try:
            self._frames.receive(data)
        except InvalidRequestError as error:
            self._error = error
        self._count_held()
        if not (had_prefix and self.is_filling and self._frames.n_room) or self._error:
            self._arrived.set()

    def end(self) -> None:
        """Take note that the client has sent all."""
        self.has_ended = True
        self.figures.received_s = self._loop.time()
        self._arrived.set()

    @property
    def n_held(self) -> int:
        """Bytes that have come and have no memory of their own."""
        return self._held

    def renew_window(self) -> None:
        """Open the window by what a message may take of its memory, or by what may wait.

        Settings that narrow windows take back also what was used up before they came: a
        stream's next message could not begin.
        """
        if not self.has_ended:
            n_bytes = self._frames.n_room if self.is_filling else -self._held
            self._windows.open(self.number, n_bytes)

    def overrun(self) -> None:
        """Refuse the call: too much waits for memory, or for its turn."""
        self._error = BusyError("the server's memory is in use by other requests")
        self._frames.drop()
        self._count_held()
        self._arrived.set()
        if self._waits_for_memory is not None:
            self._waits_for_memory.cancel()

    def release(self) -> None:
        """Give all memory back; nothing comes any more."""
        self._fill(False)
        self._windows.hold(-self._held)
        for reservation in self._reservations:
            reservation.release()

    # What the handler does.

    async def only_message(self, *, beside_bytes: int = 0) -> Message:
        """Return the message of a unary call; with the errors of `next_message`."""
        message = await self.next_message(beside_bytes=beside_bytes)
        if message is None:
            raise InvalidRequestError("the call has no message")
        pace = Pace(self._limits)
        await self._until(lambda: self.has_ended or not self._frames.is_between, pace)
        if not self._frames.is_between:
            raise InvalidRequestError("the call has more than one message")
        return message

    async def next_message(
        self, *, beside_bytes: int = 0, is_patient: bool = False
    ) -> Message | None:
        """Return the next message, None when the client has sent all.

        Its memory is promised before it comes and held as it comes; the handler may release it
        before the end.

        Args:
            beside_bytes: What the handler will hold beside it.
            is_patient: The client may take its time before it begins one.

        Raises:
            OipError, HttpError: It is malformed, too large, too slow, or there is no memory.
        """
        limits, frames = self._limits, self._frames
        pace = Pace(limits, most_s=limits.grace_s, total_s=limits.body_s)
        if is_patient:
            await self._until(lambda: self.has_ended or not frames.is_between, None)
        await self._until(lambda: self.has_ended or frames.prefix is not None, pace)
        if frames.prefix is None:
            if frames.is_between:
                return None
            raise _cut_off()
        is_compressed, n_bytes = frames.prefix
        if n_bytes > limits.body_bytes:
            raise _too_large(limits.body_bytes)
        pace.hasten(n_bytes / limits.body_s)  # else it could not end in time
        if is_compressed:
            beside_bytes += FIRST_BYTES
        is_small = n_bytes <= SMALL_BYTES and not beside_bytes
        if n_bytes:  # who only announces one holds no memory
            await self._until(lambda: self.has_ended or frames.n_missing < n_bytes, pace)
        n_held = n_bytes if is_small else first_bytes(n_bytes, n_bytes - frames.n_missing)
        promised = 0 if is_small else n_bytes + beside_bytes
        reservation = await self._reserve(promised, at_once=n_held)
        body = Body(
            reservation,
            most_bytes=n_bytes,
            n_held=n_held,
            beside_bytes=beside_bytes,
            admission_s=limits.admission_s,
        )
        await self._take_in(body, pace)
        data = body.memory
        return Message(
            await self._inflated(data, reservation) if is_compressed else data, reservation
        )

    def forget(self, message: Message) -> None:
        """Give back all memory that is reserved for a message."""
        message.forget(keep_bytes=0)
        self._reservations.discard(message.reservation)

    async def send(self, pieces: Sequence[Bytes]) -> None:
        """Send a message.

        Raises:
            ClientGoneError: The client has left, or does not read.
        """
        n_bytes = sum(memoryview(piece).nbytes for piece in pieces)
        if not self.has_opened:
            self.has_opened = True
            self._sender.send_fields(self.number, opening_fields(), is_last=False)
        await self._sender.send_data(self.number, (encode_prefix(n_bytes), *pieces))
        self.figures.n_sent += n_bytes

    def finish(self, code: int, sentence: str = "", *, retry_after_s: float = 0) -> None:
        """End the call.

        Raises:
            ClientGoneError: The client has left.
        """
        fields = closing_fields(code, sentence, retry_after_s=retry_after_s)
        if not self.has_opened:
            fields = [*opening_fields(), *fields]
        self._end_with(fields)

    def refuse(self, status: int) -> None:
        """End what is no call by a status of HTTP."""
        self._end_with(refusing_fields(status))

    # Inside.

    def _count_held(self) -> None:
        change, self._held = self._frames.n_held - self._held, self._frames.n_held
        self._windows.hold(change)

    def _fill(self, is_filling: bool) -> None:
        self._windows.n_filling += is_filling - self.is_filling
        self.is_filling = is_filling

    def _end_with(self, fields: Fields) -> None:
        self.has_opened = True
        self._sender.send_fields(self.number, fields, is_last=True)
        if not self.has_ended:
            self._sender.stop(self.number)

    async def _take_in(self, body: Body, pace: Pace) -> None:
        """Let a message come, as fast as there is memory for it."""
        frames = self._frames
        frames.begin(body.memory)
        while True:
            frames.allow(body.n_held)
            self._count_held()
            self._fill(True)
            self.renew_window()
            await self._until(lambda: self.has_ended or not frames.n_room, pace)
            self._fill(False)
            if frames.n_room:
                raise _cut_off()
            if body.n_held == len(body.memory):
                break
            n_came = len(body.memory) - frames.n_missing
            await self._granted(body.hold(max(n_came, body.n_held + 1)))
        frames.finish()
        self._count_held()
        await self._granted(body.hold_rest())

    async def _reserve(self, n_bytes: int, *, at_once: int) -> Reservation:
        if not n_bytes:
            return NOTHING
        admission_s = self._limits.admission_s
        waiting = reserve(self._ledger, n_bytes, at_once=at_once, admission_s=admission_s)
        reservation = await self._granted(waiting)
        self._reservations.add(reservation)
        return reservation

    async def _granted(self, waiting: Awaitable[T]) -> T:
        """Wait for memory, unless the call is overrun meanwhile."""
        short = self._loop.call_soon(self._be_short)  # unless it is there at once
        self._waits_for_memory = task = asyncio.current_task()
        try:
            return await waiting
        except asyncio.CancelledError:
            if task is None or self._error is None or task.uncancel():
                raise
            raise self._error from None  # overrun, and cancelled by nobody else
        finally:
            self._waits_for_memory = None
            short.cancel()

    def _be_short(self) -> None:
        self._commons.short_s = self._loop.time()
        self._windows.fit()

    async def _until(self, condition: Callable[[], bool], pace: Pace | None) -> None:
        """Wait for the client until `condition`; only it keeps us waiting here."""
        while not condition() and self._error is None:
            n_before, begun_s = self.figures.n_received, self._loop.time()
            self._arrived.clear()
            try:
                async with asyncio.timeout(None if pace is None else pace.left_s):
                    await self._arrived.wait()
            except TimeoutError:
                pass  # it may have sent enough meanwhile for more time
            if pace is not None:
                pace.note(self.figures.n_received - n_before, self._loop.time() - begun_s)
                if not pace.left_s and not condition():
                    raise SlowRequestError("the call's message came too slowly")
        if self._error is not None:
            raise self._error

    async def _inflated(self, data: memoryview, reservation: Reservation) -> memoryview:
        """Return what a compressed message says; the memory of `data` is given back."""
        if self.head.encoding == "identity":
            raise InvalidRequestError("a message is compressed, and grpc-encoding does not say how")
        limit = self._limits.body_bytes
        admission_s = self._limits.admission_s
        body = Body(reservation, most_bytes=limit, n_held=FIRST_BYTES, admission_s=admission_s)
        inflater = Inflater()
        for at in range(0, len(data), FIRST_BYTES):
            for piece in inflater.inflate(data[at : at + FIRST_BYTES]):
                if body.n_bytes + len(piece) > limit:
                    raise _too_large(limit)
                await body.append(piece)
                await asyncio.sleep(0)  # a bomb must not hold up the others
        inflater.finish()
        reservation.shrink(len(data))
        return body.memory[: body.n_bytes]


def _cut_off() -> InvalidRequestError:
    return InvalidRequestError("the call ends within a message")


def _too_large(limit_bytes: int) -> TooLargeError:
    return TooLargeError(f"a message is larger than {format_size(limit_bytes)}")
