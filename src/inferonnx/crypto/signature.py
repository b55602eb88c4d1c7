"""Ed25519 signatures (RFC 8032)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inferonnx.errors import AuthenticationError, SignatureError

if TYPE_CHECKING:
    from inferonnx.crypto.secret import Secret

ED25519_SEED_BYTES = 32
ED25519_PUBLIC_BYTES = 32
ED25519_SIGNATURE_BYTES = 64


def ed25519_public_key(seed: Secret) -> bytes:
    """Return the 32-byte public key of a 32-byte seed."""
    return Ed25519PrivateKey.from_private_bytes(seed.reveal()).public_key().public_bytes_raw()


def ed25519_sign(seed: Secret, message: bytes) -> bytes:
    """Return the 64-byte signature of `message`; it is the same each time."""
    return Ed25519PrivateKey.from_private_bytes(seed.reveal()).sign(message)


def ed25519_verify(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Raise unless `signature` is one of `message` under `public_key`.

    Raises:
        SignatureError: It is not, or `public_key` is no point of the curve.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        # All cryptographic failures share one message; the class tells them apart.
        raise SignatureError(
            AuthenticationError.MESSAGE, hint="Get the file again from its owner."
        ) from error
