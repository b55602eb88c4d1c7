"""What every AEAD here does: seal and open in place, with a detached tag.

Rules of this file's subclasses. A buffer is overwritten by its ciphertext or
plaintext, never copied. Work on it releases the interpreter's lock. A buffer
that fails to open, for whatever reason, is wiped before the error leaves.
"""

from __future__ import annotations

from typing import Protocol

_ZEROS = bytes(1 << 16)


class Aead(Protocol):
    """An AEAD under one key; safe to use from many threads."""

    def seal_in_place(self, nonce: bytes, aad: bytes, buffer: memoryview) -> bytes:
        """Overwrite plaintext by ciphertext and return the tag.

        Args:
            nonce: Exactly the suite's nonce size, never used before under this key.
            aad: Associated data: authenticated, not stored.
            buffer: Writable contiguous bytes, any length.
        """

    def open_in_place(self, nonce: bytes, aad: bytes, tag: bytes, buffer: memoryview) -> None:
        """Overwrite ciphertext by plaintext.

        Raises:
            AuthenticationError: Nonce, associated data, tag and ciphertext do not
                belong together; `buffer` is all zeros then.
        """

    def wipe(self) -> None:
        """Overwrite the key, when all work with it has ended; afterwards every use is an error."""


WIPED = "the key was wiped"


def wipe(buffer: memoryview) -> None:
    """Overwrite `buffer`, writable contiguous bytes, with zeros."""
    for start in range(0, len(buffer), len(_ZEROS)):
        stop = min(start + len(_ZEROS), len(buffer))
        buffer[start:stop] = _ZEROS[: stop - start]
