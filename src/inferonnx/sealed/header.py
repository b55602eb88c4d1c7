"""The public header: what anyone can read and check without a key.

Three values, each made from the one before: bytes are parsed to a `Header`, its
signature is verified to a `VerifiedHeader`, and only that goes on to keys. The
header says nothing about where the manifest begins: it ends where the file ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inferonnx.crypto import SUITES, Secret, Suite, ed25519_sign, ed25519_verify, sha256
from inferonnx.errors import SealedFormatError, SealedVersionError
from inferonnx.sealed.constants import (
    FORMAT_VERSION,
    HEADER_BYTES,
    HEADER_FIELDS,
    LABEL_MODEL_ID,
    LABEL_SIGNATURE,
    MAGIC,
    MAX_MANIFEST_BYTES,
    MAX_RELEASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapSlot:
    """The data key, wrapped for one owner's key; the only part outside the signature."""

    key_id: bytes
    wrap_salt: bytes
    wrapped_key: bytes
    wrap_tag: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that is well formed; nothing in it is authentic yet.

    Attributes:
        suite: AEAD of manifest and segments.
        release: Counts the owner's releases of this model, 0 and up.
        owner: Ed25519 public key that the signature is checked with.
        commitment: Fixes the data key.
        manifest_bytes: Length of the sealed manifest, tag included.
        manifest_sha256: SHA-256 of the sealed manifest.
        root: Merkle root over all that follows the header.
        signature: The owner's, over the model id.
        slot: The wrapped data key.
    """

    suite: Suite
    release: int
    owner: bytes
    commitment: bytes
    manifest_bytes: int
    manifest_sha256: bytes
    root: bytes
    signature: bytes
    slot: WrapSlot

    @property
    def model_id(self) -> bytes:
        """The 32 bytes that identify the sealed model (S-09); authentic once verified."""
        return sha256(
            LABEL_MODEL_ID,
            FORMAT_VERSION.to_bytes(4, "big"),
            self.suite.number.to_bytes(4, "big"),
            self.owner,
            self.release.to_bytes(8, "big"),
            self.commitment,
            self.manifest_bytes.to_bytes(8, "big"),
            self.manifest_sha256,
            self.root,
        )

    def manifest_offset(self, file_bytes: int) -> int:
        """Return where the manifest begins in a file of `file_bytes` (S-02).

        Raises:
            SealedFormatError: The file is too short to hold it.
        """
        offset = file_bytes - self.manifest_bytes
        if offset < HEADER_BYTES:
            raise SealedFormatError(
                f"the sealed file is cut short: it has {file_bytes} bytes, header and manifest "
                f"alone take {HEADER_BYTES + self.manifest_bytes}",
                hint="Get the file again from its owner.",
            )
        return offset


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedHeader:
    """A header that its owner has signed; made by `verify_header` alone.

    Attributes:
        header: The header.
        model_id: Its 32-byte model id.
    """

    header: Header
    model_id: bytes


def parse_header(data: bytes | bytearray | memoryview) -> Header:
    """Return the header at the beginning of `data`; more may follow.

    (1) `HEADER_BYTES` are there. (2) The magic. (3) A known format version.
    (4) A known suite. (5) Release and manifest length within their limits.

    Raises:
        SealedFormatError: (1), (2) or (5) fails.
        SealedVersionError: (3) or (4) fails.
    """
    raw = bytes(data[:HEADER_BYTES])
    fields: dict[str, bytes] = {}
    offset = 0
    for name, size in HEADER_FIELDS:
        fields[name] = raw[offset : offset + size]
        offset += size
    if fields["magic"] != MAGIC:  # (2) S-04, before (1): a short file is rather not one of ours
        raise SealedFormatError(
            "this is not a sealed file", hint="Sealed files are made by `inferonnx seal`."
        )
    if len(raw) < HEADER_BYTES:  # (1) S-04
        raise SealedFormatError(
            f"the sealed file is cut short: {len(raw)} bytes, its header alone has {HEADER_BYTES}",
            hint="Get the file again from its owner.",
        )
    version = int.from_bytes(fields["version"], "big")
    if version != FORMAT_VERSION:  # (3) S-05
        raise SealedVersionError(
            f"the sealed file has format version {version}, this release reads {FORMAT_VERSION}",
            where="version",
            hint="Install a newer inferonnx.",
        )
    suite = _suite(int.from_bytes(fields["suite"], "big"))  # (4) S-06
    return Header(
        suite=suite,
        release=_within("release", fields["release"], 0, MAX_RELEASE),  # (5) S-08
        owner=fields["owner"],
        commitment=fields["commitment"],
        manifest_bytes=_within(
            "manifest_bytes", fields["manifest_bytes"], suite.tag_bytes, MAX_MANIFEST_BYTES
        ),
        manifest_sha256=fields["manifest_sha256"],
        root=fields["root"],
        signature=fields["signature"],
        slot=WrapSlot(
            key_id=fields["key_id"],
            wrap_salt=fields["wrap_salt"],
            wrapped_key=fields["wrapped_key"],
            wrap_tag=fields["wrap_tag"],
        ),
    )


def encode_header(header: Header) -> bytes:
    """Return the `HEADER_BYTES` bytes of a header."""
    slot = header.slot
    values = {
        "magic": MAGIC,
        "version": FORMAT_VERSION.to_bytes(4, "big"),
        "suite": header.suite.number.to_bytes(4, "big"),
        "release": header.release.to_bytes(8, "big"),
        "owner": header.owner,
        "commitment": header.commitment,
        "manifest_bytes": header.manifest_bytes.to_bytes(8, "big"),
        "manifest_sha256": header.manifest_sha256,
        "root": header.root,
        "signature": header.signature,
        "key_id": slot.key_id,
        "wrap_salt": slot.wrap_salt,
        "wrapped_key": slot.wrapped_key,
        "wrap_tag": slot.wrap_tag,
    }
    for name, size in HEADER_FIELDS:
        if len(values[name]) != size:
            raise ValueError(f"header field {name} has {size} bytes, not {len(values[name])}")
    return b"".join(values[name] for name, _ in HEADER_FIELDS)


def verify_header(header: Header) -> VerifiedHeader:
    """Return the header as verified: (1) its model id (2) is signed by the owner it names.

    Whether that owner is the right one is another question: `check_pin`, or the
    owner's own key, answers it.

    Raises:
        SignatureError: The signature does not fit.
    """
    model_id = header.model_id  # (1)
    ed25519_verify(header.owner, header.signature, LABEL_SIGNATURE + model_id)  # (2) S-10
    return VerifiedHeader(header=header, model_id=model_id)


def sign_header(header: Header, signing_seed: Secret) -> VerifiedHeader:
    """Return the header with the owner's signature."""
    model_id = header.model_id
    signature = ed25519_sign(signing_seed, LABEL_SIGNATURE + model_id)
    return VerifiedHeader(header=replace(header, signature=signature), model_id=model_id)


def _suite(number: int) -> Suite:
    for suite in SUITES.values():
        if suite.number == number:
            return suite
    raise SealedVersionError(
        f"the sealed file has suite {number}, which this release does not know",
        where="suite",
        hint="Install a newer inferonnx.",
    )


def _within(name: str, field: bytes, least: int, most: int) -> int:
    value = int.from_bytes(field, "big")
    if not least <= value <= most:
        raise SealedFormatError(
            f"header field {name} is {value}, outside {least} to {most}", where=name
        )
    return value
