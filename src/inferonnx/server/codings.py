"""Content codings: gzip and deflate requests inflated under a limit, replies compressed.

`deflate` is zlib's format (RFC 9110, 8.4.1.2). Either name takes both formats, as
Triton's server does: clients mix them up.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from inferonnx.server.messages import HttpError
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inferonnx.server.pieces import Bytes

ACCEPTED = ("Accept-Encoding", "gzip, deflate")
"""What a reply says that refuses a coding."""

STEP_BYTES = 64 * KIB
"""Inflated at once: a bomb holds up the loop no longer than an ordinary body."""

LEVEL = 1
"""zlib's fastest: tensors hardly get smaller with more effort."""

INLINE_BYTES = 32 * KIB
"""Compressed on the loop; more goes to a thread."""

_WBITS = {"gzip": 31, "deflate": 15}
_EITHER = 47
_MEMBER = re.compile(r"([a-z*-]+)(?:\s*;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?", re.ASCII)


def request_coding(value: str) -> str:
    """Return "gzip" or "deflate", or "" for a body as it is, from Content-Encoding.

    Raises:
        HttpError: 501, it is another.
    """
    coding = value.strip().lower()
    if coding in ("", "identity"):
        return ""
    if coding not in _WBITS:
        raise HttpError(
            501,
            "the only Content-Encodings that are understood are gzip and deflate",
            headers=(ACCEPTED,),
        )
    return coding


def reply_coding(accept_encoding: str) -> str:
    """Return the coding to use, or "" for none.

    Only a client that names one coding and nothing else has asked for it on purpose:
    libraries send lists with everything they know, and one of them does not decode
    what it gets.
    """
    match = _MEMBER.fullmatch(accept_encoding.strip().lower())
    if match is None or match[1] not in _WBITS or (match[2] and float(match[2]) == 0):
        return ""
    return match[1]


class Inflater:
    """Inflates one gzip member or one zlib stream that comes piece by piece."""

    def __init__(self) -> None:
        """Begin before the first byte."""
        import zlib

        self._error = zlib.error
        self._stream = zlib.decompressobj(_EITHER)

    def inflate(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Give what `data` inflates to, `STEP_BYTES` at a time.

        Raises:
            HttpError: 400, it is damaged, or goes on after its end.
        """
        while True:
            if self._stream.eof:
                if data:
                    raise HttpError(400, "the compressed body goes on after its end")
                return
            try:
                inflated = self._stream.decompress(data, STEP_BYTES)
            except self._error as error:
                raise HttpError(400, "the compressed body is damaged") from error
            data = self._stream.unused_data or self._stream.unconsumed_tail
            if inflated:
                yield inflated
            elif not data:
                return

    def finish(self) -> None:
        """Raise HttpError (400) unless the end was there."""
        if not self._stream.eof:
            raise HttpError(400, "the compressed body ends too early")


def most_compressed_bytes(n_bytes: int) -> int:
    """Return the most that `compress` gives for so many bytes (zlib, compressBound)."""
    return n_bytes + n_bytes // 1000 + 64


async def compress(pieces: Iterable[Bytes], n_bytes: int, coding: str) -> list[bytes]:
    """Return the compressed body of `n_bytes`, in pieces."""
    if n_bytes <= INLINE_BYTES:
        return _compress(pieces, coding)
    return await asyncio.to_thread(_compress, pieces, coding)


def _compress(pieces: Iterable[Bytes], coding: str) -> list[bytes]:
    import zlib

    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _WBITS[coding])
    compressed = [stream.compress(piece) for piece in pieces]
    return [piece for piece in (*compressed, stream.flush()) if piece]
