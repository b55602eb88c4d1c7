"""What may come on an HTTP/2 connection in a time: floods that each cost little to send.

Sans-IO. `h2` keeps the rules of the protocol; here frames are only counted, by the
nine bytes that each begins with, before `h2` sees them. Three kinds of flood are kept
out: header blocks that never end or are large (CVE-2024-27316 and its kin), streams
that are opened and reset at once (CVE-2023-44487), and frames that ask for an answer or
for nothing at all (CVE-2019-9511 and those that came with it). Who tries loses the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.server.pieces import Bytes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9

RESETS = 400
"""Resets at once: all calls of a connection cancelled, four times."""

RESETS_PER_S = 200
"""What a client may do that gives up on calls all the time: six percent of a core."""

IDLE_FRAMES = 2000
"""Frames without a byte of a message at once; clients send a few with each call."""

IDLE_FRAMES_PER_S = 500
BYTES_PER_IDLE_FRAME = 512
"""Windows are reopened and pings sent as bytes flow, either way: these earn frames."""

_DATA, _HEADERS, _RST_STREAM, _CONTINUATION = 0, 1, 3, 9
_END_STREAM, _END_HEADERS = 1, 4


class FloodError(Exception):
    """A client sends what no client needs to; its text says what."""


class Bucket:
    """So many at once, and so many a second after that."""

    __slots__ = ("_left", "_most", "_per_s", "_seen_s")

    def __init__(self, most: float, per_s: float, now_s: float) -> None:
        """Begin full."""
        self._most = self._left = most
        self._per_s = per_s
        self._seen_s = now_s

    def earn(self, n: float) -> None:
        """Put `n` back."""
        self._left = min(self._most, self._left + n)

    def take(self, now_s: float) -> bool:
        """Take one; tell whether there was one."""
        self.earn((now_s - self._seen_s) * self._per_s)
        self._seen_s = now_s
        self._left -= 1
        return self._left >= 0


class Guard:
    """Counts the frames of one connection."""

    __slots__ = ("_block_bytes", "_head", "_idle", "_limit", "_preface", "_resets", "_skip")

    def __init__(self, *, block_bytes: int, now_s: float) -> None:
        """Begin before the first byte.

        Args:
            block_bytes: Most that a header block may have, as it comes.
            now_s: Any clock's time.
        """
        self._limit = block_bytes
        self._block_bytes = 0
        self._head = bytearray()
        self._preface = len(PREFACE)
        self._skip = 0
        self._resets = Bucket(RESETS, RESETS_PER_S, now_s)
        self._idle = Bucket(IDLE_FRAMES, IDLE_FRAMES_PER_S, now_s)

    def sent(self, n_bytes: int) -> None:
        """Note that messages went out: their client has reason to send frames."""
        self._idle.earn(n_bytes / BYTES_PER_IDLE_FRAME)

    def receive(self, data: Bytes, now_s: float) -> None:
        """Look at what came.

        Raises:
            FloodError: It is more than a client needs to send.
        """
        view = memoryview(data)
        if self._preface:  # whether it is right is for h2 to say
            n = min(self._preface, len(view))
            self._preface -= n
            view = view[n:]
        while view:
            if self._skip:
                n = min(self._skip, len(view))
                self._skip -= n
                view = view[n:]
                continue
            n = HEAD_BYTES - len(self._head)
            self._head += view[:n]
            view = view[n:]
            if len(self._head) == HEAD_BYTES:
                self._frame(now_s)

    def _frame(self, now_s: float) -> None:
        head = self._head
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        self._skip = length
        self._head = bytearray()
        if kind in (_HEADERS, _CONTINUATION):
            self._block_bytes += length
            if self._block_bytes > self._limit:
                raise FloodError(f"header fields of more than {self._limit} bytes")
            if flags & _END_HEADERS:
                self._block_bytes = 0
        elif kind == _DATA and length:
            self._idle.earn(length / BYTES_PER_IDLE_FRAME)
        elif kind == _RST_STREAM:
            if not self._resets.take(now_s):
                raise FloodError("calls that are reset all the time")
        elif not (kind == _DATA and flags & _END_STREAM) and not self._idle.take(now_s):
            raise FloodError("frames that say nothing, all the time")
