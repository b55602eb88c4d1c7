"""Associated data: what each AEAD message of a sealed file is bound to.

The model is named by its data key's commitment: it is known before the first
segment is sealed, and no other file has it, since no other file has the data key.
The model id can't serve, it is a hash over the ciphertext.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.sealed.constants import FORMAT_VERSION, LABEL_MANIFEST, LABEL_SEGMENT

if TYPE_CHECKING:
    from inferonnx.crypto import Suite


def manifest_aad(suite: Suite, commitment: bytes, *, n_bytes: int) -> bytes:
    """Return the associated data of a sealed manifest of `n_bytes`, tag included (S-27)."""
    return LABEL_MANIFEST + _model(suite, commitment) + n_bytes.to_bytes(8, "big")


def segment_aad(
    suite: Suite, commitment: bytes, *, index: int, n_segments: int, n_bytes: int
) -> bytes:
    """Return the associated data of segment `index` of `n_segments`, of `n_bytes` (S-24)."""
    return b"".join(
        (
            LABEL_SEGMENT,
            _model(suite, commitment),
            index.to_bytes(8, "big"),
            n_segments.to_bytes(8, "big"),
            n_bytes.to_bytes(8, "big"),
        )
    )


def _model(suite: Suite, commitment: bytes) -> bytes:
    return FORMAT_VERSION.to_bytes(4, "big") + suite.number.to_bytes(4, "big") + commitment
