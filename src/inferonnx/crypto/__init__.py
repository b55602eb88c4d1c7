"""Cryptography: AEAD suites, hashes, sub-keys, signatures.

The only room that imports `cryptography` and loads libaegis. Nothing here is
home-made, nothing reads a clock or draws a random byte: those are arguments. The
server's TLS key and certificates are in `crypto.x509`, which is imported by name,
since few processes need it.
"""

from __future__ import annotations

from inferonnx.crypto.aead import Aead, wipe
from inferonnx.crypto.digest import SHA256_BYTES, Sha256, hkdf_sha256, hmac_sha256, scrypt, sha256
from inferonnx.crypto.secret import Secret, equal_bytes
from inferonnx.crypto.signature import (
    ED25519_PUBLIC_BYTES,
    ED25519_SEED_BYTES,
    ED25519_SIGNATURE_BYTES,
    ed25519_public_key,
    ed25519_sign,
    ed25519_verify,
)
from inferonnx.crypto.suites import AEGIS_256X2, AES_256_GCM, SUITES, Suite

__all__ = [
    "AEGIS_256X2",
    "AES_256_GCM",
    "ED25519_PUBLIC_BYTES",
    "ED25519_SEED_BYTES",
    "ED25519_SIGNATURE_BYTES",
    "SHA256_BYTES",
    "SUITES",
    "Aead",
    "Secret",
    "Sha256",
    "Suite",
    "ed25519_public_key",
    "ed25519_sign",
    "ed25519_verify",
    "equal_bytes",
    "hkdf_sha256",
    "hmac_sha256",
    "scrypt",
    "sha256",
    "wipe",
]
