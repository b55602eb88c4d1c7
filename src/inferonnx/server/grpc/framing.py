"""gRPC's framing of messages inside a stream: a prefix of five bytes, then the message.

Sans-IO: bytes in, messages out. A message's memory is given from outside, when the
prefix has said how much it takes; until then what has come is held here.
Specification: grpc.github.io, "gRPC over HTTP2", Length-Prefixed-Message.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.oip import InvalidRequestError

if TYPE_CHECKING:
    from inferonnx.server.pieces import Bytes

_PREFIX = struct.Struct("!BI")

PREFIX_BYTES = _PREFIX.size


class Prefix(NamedTuple):
    """What stands before a message: whether it is compressed, and its length."""

    is_compressed: bool
    n_bytes: int


def encode_prefix(n_bytes: int) -> bytes:
    """Return what stands before a message that is not compressed."""
    return _PREFIX.pack(0, n_bytes)


class Deframer:
    """Cuts what comes on a stream into messages.

    Attributes:
        prefix: Of the message that is coming, None until all of it is there.
    """

    __slots__ = ("_filled", "_held", "_memory", "_room", "prefix")

    def __init__(self) -> None:
        """Begin at the first message."""
        self.prefix: Prefix | None = None
        self._held = bytearray()
        self._memory: memoryview | None = None
        self._filled = self._room = 0

    @property
    def n_held(self) -> int:
        """Bytes that came and have no memory of their own."""
        return len(self._held)

    @property
    def n_missing(self) -> int:
        """Bytes of the message that have not come; 0 without a prefix."""
        if self.prefix is None:
            return 0
        return max(0, self.prefix.n_bytes - self._filled - len(self._held))

    @property
    def n_room(self) -> int:
        """Bytes that the message may still take of its memory."""
        return self._room - self._filled

    @property
    def is_between(self) -> bool:
        """Whether nothing of another message has come."""
        return self.prefix is None and not self._held

    def receive(self, data: Bytes) -> None:
        """Take what came next.

        Raises:
            InvalidRequestError: It is no prefix where one should be.
        """
        if self._memory is not None:
            n = min(len(data), self.n_room)
            self._memory[self._filled : self._filled + n] = data[:n]
            self._filled += n
            data = data[n:]
        if data:
            self._held += data
            self._parse()

    def begin(self, memory: memoryview) -> None:
        """Give the message whose prefix is there its memory, of just its length."""
        self._memory = memory

    def allow(self, n_bytes: int) -> None:
        """Let the message have filled so much of its memory; what comes beyond is held."""
        self._room = n_bytes
        held, self._held = self._held, bytearray()
        self.receive(memoryview(held))

    def drop(self) -> None:
        """Forget what is held; nothing more is received."""
        self._held = bytearray()

    def finish(self) -> memoryview:
        """Return the message, all of which is there, and go on to the next one.

        Raises:
            InvalidRequestError: What follows it is no prefix.
        """
        memory = self._memory
        if memory is None or self._filled < len(memory):
            raise RuntimeError("the message is not all there")
        self._memory = self.prefix = None
        self._filled = self._room = 0
        self._parse()
        return memory

    def _parse(self) -> None:
        if self.prefix is None and len(self._held) >= PREFIX_BYTES:
            flag, n_bytes = _PREFIX.unpack_from(self._held)
            if flag > 1:
                raise InvalidRequestError(f"a message begins with the flag {flag}, not with 0 or 1")
            del self._held[:PREFIX_BYTES]
            self.prefix = Prefix(flag == 1, n_bytes)
