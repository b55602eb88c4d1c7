"""SHA-256 and what is built on it: HMAC, HKDF for sub-keys, scrypt for passphrases.

`cryptography` brings its own OpenSSL; the standard library's hashlib would map
a second one into the enclave.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from inferonnx.crypto.secret import Secret

SHA256_BYTES = 32

_ALGORITHM = SHA256()


class Sha256:
    """SHA-256 of bytes that come piece by piece; large pieces release the interpreter's lock."""

    __slots__ = ("_hash",)

    def __init__(self, start: bytes = b"") -> None:
        """Begin with `start`."""
        self._hash = Hash(_ALGORITHM)
        if start:
            self._hash.update(start)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """Return the 32 bytes; nothing can be appended afterwards."""
        return self._hash.finalize()


def sha256(*parts: bytes | bytearray | memoryview) -> bytes:
    """Return SHA-256 of `parts`, one after the other."""
    state = Hash(_ALGORITHM)
    for part in parts:
        state.update(part)
    return state.finalize()


def hmac_sha256(key: Secret, *parts: bytes) -> bytes:
    """Return the 32-byte HMAC with SHA-256 (RFC 2104) of `parts`, one after the other."""
    # Loaded here: only what serves needs it.
    from cryptography.hazmat.primitives.hmac import HMAC

    state = HMAC(key.reveal(), _ALGORITHM)
    for part in parts:
        state.update(part)
    return state.finalize()


def hkdf_sha256(key: Secret, *, info: bytes, salt: bytes = b"", n_bytes: int = 32) -> Secret:
    """Return a sub-key of `key` (HKDF with SHA-256, RFC 5869).

    Args:
        key: Input key material, of full entropy.
        info: What the sub-key is for; other `info`, independent sub-key.
        salt: Public and not secret; empty means 32 zero bytes, as in the RFC.
        n_bytes: Length of the sub-key, at most 255 * 32.
    """
    found = Secret(bytes(n_bytes))
    HKDF(_ALGORITHM, n_bytes, salt or None, info).derive_into(key.memory, found.memory)
    return found


def scrypt(passphrase: bytes, *, salt: bytes, log2_n: int, r: int, p: int) -> Secret:
    """Return 32 bytes of a passphrase (RFC 7914), in 128 * r * 2**log2_n bytes of memory."""
    # Loaded here: who opens with a plain key file, or none, never needs it.
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Secret(Scrypt(salt=salt, length=32, n=1 << log2_n, r=r, p=p).derive(passphrase))
