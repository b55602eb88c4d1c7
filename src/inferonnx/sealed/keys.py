"""From the owner's key to the keys of one file.

data key --HKDF--> commitment (public, in the header)
                   manifest key (one message)
                   segments key (message i has nonce i)

Each sub-key's label is followed by format version and suite: the same data key
under another suite gives other keys and another commitment. A data key is drawn
for one sealed file and never used again, so counters are safe as nonces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inferonnx.crypto import AES_256_GCM, Secret, Suite, equal_bytes, hkdf_sha256
from inferonnx.errors import AuthenticationError, KeyMismatchError, SignatureError
from inferonnx.sealed.constants import (
    DATA_KEY_BYTES,
    FORMAT_VERSION,
    LABEL_COMMITMENT,
    LABEL_MANIFEST_KEY,
    LABEL_SEGMENTS_KEY,
    LABEL_WRAPPING_KEY,
    WRAP_SALT_BYTES,
)
from inferonnx.sealed.header import (
    VerifiedHeader,
    WrapSlot,
    encode_header,
    parse_header,
    verify_header,
)

if TYPE_CHECKING:
    from inferonnx.sealed.keyfile import OwnerKey


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKeys:
    """The keys of one sealed file, of a data key that its header commits to.

    Attributes:
        verified: The header that they belong to.
        manifest_key: Opens the manifest.
        segments_key: Opens segments.
    """

    verified: VerifiedHeader
    manifest_key: Secret
    segments_key: Secret

    def wipe(self) -> None:
        """Overwrite both keys; what was made from them keeps its own."""
        self.manifest_key.wipe()
        self.segments_key.wipe()


def unwrap_data_key(verified: VerifiedHeader, key: OwnerKey) -> Secret:
    """Return the data key of a file, with its owner's key.

    (1) The file is wrapped for this key. (2) It is signed by this key's owner, not
    signed again by another. (3) The wrapped key opens, with the model id as
    associated data. (4) The header commits to it.

    Raises:
        KeyMismatchError: (1) fails; both public ids are named.
        SignatureError: (2) fails.
        AuthenticationError: (3) or (4) fails.
    """
    header, slot = verified.header, verified.header.slot
    if slot.key_id != key.key_id:  # (1) S-19
        raise KeyMismatchError(
            f"the model is sealed for key {slot.key_id.hex()}, the key given is {key.public_id}",
            hint="Use the key with that public id, or ask the owner to `inferonnx rewrap` it.",
        )
    if header.owner != key.public_key:  # (2) S-20
        raise SignatureError(
            f"the model is signed by {header.owner.hex()}, not by this key's owner "
            f"{key.public_key.hex()}",
            hint="Get the file again from its owner.",
        )
    secret = Secret(slot.wrapped_key)
    wrapping_key = _wrapping_key(key, slot.wrap_salt)
    aead = AES_256_GCM.aead(wrapping_key)
    try:
        aead.open_in_place(  # (3) S-21
            AES_256_GCM.nonce(0), verified.model_id, slot.wrap_tag, memoryview(secret.memory)
        )
    finally:
        aead.wipe()
        wrapping_key.wipe()
    _check_commitment(verified, secret)  # (4) S-16
    return secret


def file_keys(verified: VerifiedHeader, data_key: Secret) -> FileKeys:
    """Return the keys of a file, with its data key, however that was come by.

    Raises:
        AuthenticationError: The header commits to another data key.
    """
    _check_commitment(verified, data_key)  # S-16
    manifest_key, segments_key = sub_keys(data_key, verified.header.suite)
    return FileKeys(verified=verified, manifest_key=manifest_key, segments_key=segments_key)


def commitment(data_key: Secret, suite: Suite) -> bytes:
    """Return the 32 public bytes that fix a data key and reveal nothing of it."""
    return _sub_key(data_key, LABEL_COMMITMENT, suite).reveal()


def sub_keys(data_key: Secret, suite: Suite) -> tuple[Secret, Secret]:
    """Return the manifest key and the segments key of a data key."""
    return (
        _sub_key(data_key, LABEL_MANIFEST_KEY, suite),
        _sub_key(data_key, LABEL_SEGMENTS_KEY, suite),
    )


def wrap_data_key(key: OwnerKey, data_key: Secret, *, model_id: bytes, salt: bytes) -> WrapSlot:
    """Return a slot that gives `data_key` to the holder of `key`, for one model only (S-17).

    Args:
        key: Who may open.
        data_key: What is wrapped.
        model_id: Of the model that it is wrapped for.
        salt: 32 random bytes, new for each wrap: the wrapping key is used once, so
            that its nonce may be fixed.
    """
    if len(salt) != WRAP_SALT_BYTES:
        raise ValueError(f"the salt of a wrapped key has {WRAP_SALT_BYTES} bytes")
    wrapped = bytearray(data_key.reveal())
    aead = AES_256_GCM.aead(_wrapping_key(key, salt))
    tag = aead.seal_in_place(AES_256_GCM.nonce(0), model_id, memoryview(wrapped))
    return WrapSlot(key_id=key.key_id, wrap_salt=salt, wrapped_key=bytes(wrapped), wrap_tag=tag)


def rewrap(header: bytes, *, key: OwnerKey, new_key: OwnerKey, salt: bytes) -> bytes:
    """Return the header of a sealed file with its data key wrapped for `new_key` (S-22).

    Model id and signature stay; nothing behind the header changes.

    Args:
        header: The header as it is.
        key: Opens it now.
        new_key: Shall open it; its signing key must be the same.
        salt: 32 random bytes.

    Raises:
        KeyMismatchError: `key` does not open it, or `new_key` signs differently.
        SignatureError, AuthenticationError: The header is not authentic.
    """
    verified = verify_header(parse_header(header))
    data_key = unwrap_data_key(verified, key)
    if new_key.public_key != key.public_key:
        raise KeyMismatchError(
            "the new key has another signing key, and the owner is part of a model's identity",
            hint="Make the new key with `inferonnx keygen --from OLD`, or seal the model again.",
        )
    slot = wrap_data_key(new_key, data_key, model_id=verified.model_id, salt=salt)
    return encode_header(replace(verified.header, slot=slot))


def _check_commitment(verified: VerifiedHeader, data_key: Secret) -> None:
    if len(data_key) != DATA_KEY_BYTES or not equal_bytes(
        commitment(data_key, verified.header.suite), verified.header.commitment
    ):
        raise AuthenticationError


def _sub_key(data_key: Secret, label: bytes, suite: Suite) -> Secret:
    # S-15
    info = label + FORMAT_VERSION.to_bytes(4, "big") + suite.number.to_bytes(4, "big")
    return hkdf_sha256(data_key, info=info, n_bytes=suite.key_bytes)


def _wrapping_key(key: OwnerKey, salt: bytes) -> Secret:
    return hkdf_sha256(
        key.wrap_secret, salt=salt, info=LABEL_WRAPPING_KEY, n_bytes=AES_256_GCM.key_bytes
    )
