"""AES-256-GCM (NIST SP 800-38D), by the OpenSSL inside `cryptography`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from inferonnx.crypto.aead import WIPED, wipe
from inferonnx.errors import AuthenticationError

if TYPE_CHECKING:
    from inferonnx.crypto.secret import Secret

T = TypeVar("T", bytes, bytearray)

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class AesGcm:
    """AES-256-GCM under one key.

    `Cipher` with `update_into` rather than `AESGCM.decrypt_into`: the latter
    wants the tag behind the ciphertext, which would tear neighbouring segments
    of a buffer apart. The context takes source and destination of exactly the
    same bytes, needs no slack behind them, and costs 6 µs a call.
    """

    __slots__ = ("_algorithm", "_key")

    def __init__(self, key: Secret) -> None:
        """Prepare for `key`, 32 bytes."""
        self._key = key.copy()
        self._algorithm: AES | None = AES(_sized(self._key.memory, KEY_BYTES, "key"))

    def seal_in_place(self, nonce: bytes, aad: bytes, buffer: memoryview) -> bytes:
        """See `Aead.seal_in_place`."""
        context = self._cipher(GCM(_sized(nonce, NONCE_BYTES, "nonce"))).encryptor()
        context.authenticate_additional_data(aad)
        context.update_into(buffer, buffer)
        context.finalize()
        return context.tag

    def open_in_place(self, nonce: bytes, aad: bytes, tag: bytes, buffer: memoryview) -> None:
        """See `Aead.open_in_place`."""
        # The size of the tag is ours to check: GCM accepts a shorter one, which
        # is a weaker one.
        mode = GCM(_sized(nonce, NONCE_BYTES, "nonce"), _sized(tag, TAG_BYTES, "tag"))
        context = self._cipher(mode).decryptor()
        context.authenticate_additional_data(aad)
        try:
            context.update_into(buffer, buffer)
            context.finalize()
        except BaseException as error:
            # Plaintext is in the buffer before its tag is known; an interrupt
            # between the two must not leave it there either.
            wipe(buffer)
            if isinstance(error, InvalidTag):
                raise AuthenticationError from error
            raise

    def wipe(self) -> None:
        """See `Aead.wipe`."""
        self._algorithm = None
        self._key.wipe()

    def _cipher(self, mode: GCM) -> Cipher[GCM]:
        algorithm = self._algorithm
        if algorithm is None:
            raise ValueError(WIPED)
        return Cipher(algorithm, mode)


def _sized(value: T, n_bytes: int, what: str) -> T:
    if len(value) != n_bytes:
        raise ValueError(f"AES-256-GCM takes a {what} of {n_bytes} bytes, not {len(value)}")
    return value
