"""The AEAD suites of the sealed file: one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.crypto import aegis, aes_gcm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.crypto.aead import Aead
    from inferonnx.crypto.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """An AEAD and its sizes.

    Attributes:
        number: As the sealed file's header writes it.
        name: As people write it.
        aead: Makes the AEAD under a key; UnavailableError where its library is missing.
        is_available: Tells whether its library is there.
    """

    number: int
    name: str
    key_bytes: int
    nonce_bytes: int
    tag_bytes: int
    aead: Callable[[Secret], Aead]
    is_available: Callable[[], bool]

    def nonce(self, counter: int) -> bytes:
        """Return the nonce of message `counter` under a key: the number, big-endian."""
        return counter.to_bytes(self.nonce_bytes, "big")


AES_256_GCM = Suite(
    number=1,
    name="aes-256-gcm",
    key_bytes=aes_gcm.KEY_BYTES,
    nonce_bytes=aes_gcm.NONCE_BYTES,
    tag_bytes=aes_gcm.TAG_BYTES,
    aead=aes_gcm.AesGcm,
    is_available=lambda: True,
)
AEGIS_256X2 = Suite(
    number=2,
    name="aegis-256x2",
    key_bytes=aegis.KEY_BYTES,
    nonce_bytes=aegis.NONCE_BYTES,
    tag_bytes=aegis.TAG_BYTES,
    aead=aegis.Aegis256x2,
    is_available=aegis.is_available,
)

SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (AES_256_GCM, AEGIS_256X2)}
"""All suites, by name."""
