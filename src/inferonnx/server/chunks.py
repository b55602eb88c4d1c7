"""The chunked coding of one body: bytes in, parts of the body out.

h11 reads it too, but says nothing of a chunk's size: who announced more than may come was
refused when it had come, or never did. Every line ends in CRLF, as in `server.heads`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from inferonnx.server.bodies import too_large
from inferonnx.server.messages import HttpError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CRLF = b"\r\n"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;" + _TEXT + rb")?[ \t]*\r\n")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:" + _TEXT + rb"\r\n")


class Chunks:
    """Reads a body as it comes; extensions and trailers are checked, and forgotten.

    Attributes:
        is_over: Whether the end of the body has come.
        behind: What came after it.
    """

    def __init__(self, *, limit_bytes: int, n_chunks: int | None, line_bytes: int) -> None:
        """Begin before the first chunk.

        Args:
            limit_bytes: Most that the body may have.
            n_chunks: Most chunks that it may come in; None is no limit.
            line_bytes: Longest line, and all trailers together.
        """
        self.is_over = False
        self.behind = b""
        self._limit_bytes, self._most_chunks = limit_bytes, n_chunks
        self._line_bytes = self._trailer_bytes = line_bytes
        self._n_bytes = self._n_chunks = 0  # announced
        self._left = 0  # of a chunk
        self._begun = b""  # of a line, or of the end of a chunk
        self._step = self._size

    def parts(self, data: bytes) -> Iterator[memoryview]:
        """Give what of the body is in `data`, which follows what came before.

        Raises:
            HttpError: 400 malformed; 413 as soon as a chunk announces too much.
        """
        at, data = 0, self._begun + data
        view = memoryview(data)
        while not self.is_over:
            if self._left:
                part = view[at : at + self._left]
                at += len(part)
                self._left -= len(part)
                if part:
                    yield part
                if self._left:
                    break
            stop = data.find(b"\n", at) + 1
            if not stop:
                break
            self._step(data[at:stop])
            at = stop
        self._begun, self.behind = (b"", data[at:]) if self.is_over else (data[at:], b"")
        is_wrong = self._step == self._end and self._begun not in (b"", _CRLF[:1])
        if is_wrong or len(self._begun) > self._line_bytes:
            raise _malformed()

    def _size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None or len(line) > self._line_bytes:
            raise _malformed()
        self._left = int(match[1], 16)
        if not self._left:
            self._step = self._trailer
            return
        self._n_chunks += 1
        if self._most_chunks is not None and self._n_chunks > self._most_chunks:
            raise HttpError(
                400,
                f"Chunked request body exceeds maximum of {self._most_chunks} non-empty "
                "chunks. Send fewer or larger HTTP chunks.",  # Triton's words
                close=True,
            )
        self._n_bytes += self._left
        if self._n_bytes > self._limit_bytes:
            raise too_large(self._limit_bytes)
        self._step = self._end

    def _end(self, line: bytes) -> None:
        if line != _CRLF:
            raise _malformed()
        self._step = self._size

    def _trailer(self, line: bytes) -> None:
        self.is_over = line == _CRLF
        self._trailer_bytes -= len(line)
        if not self.is_over and (self._trailer_bytes < 0 or not _FIELD.fullmatch(line)):
            raise _malformed()


def _malformed() -> HttpError:
    return HttpError(400, "the chunks of the body are malformed", close=True)
