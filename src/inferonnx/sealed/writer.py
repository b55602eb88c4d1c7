"""Seal a model: segments in order, then the manifest, then the header.

The caller writes `HEADER_BYTES` bytes of anything, appends what this returns, and
at the end writes the header over them. Everything that must be random is an
argument, so the same arguments give the same file: tests seal reproducibly, and
nobody else may.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inferonnx.crypto import Secret, Suite, sha256
from inferonnx.errors import SealedFormatError, UsageError
from inferonnx.sealed.binding import manifest_aad, segment_aad
from inferonnx.sealed.constants import (
    DATA_KEY_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_RELEASE,
    WRAP_SALT_BYTES,
)
from inferonnx.sealed.header import Header, VerifiedHeader, WrapSlot, encode_header, sign_header
from inferonnx.sealed.keys import commitment, sub_keys, wrap_data_key
from inferonnx.sealed.manifest_codec import encode_manifest
from inferonnx.sealed.merkle import BodyHasher
from inferonnx.sealed.segments import SegmentTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.sealed.keyfile import OwnerKey
    from inferonnx.sealed.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEnd:
    """What is left to write once all segments are.

    Attributes:
        manifest: Sealed manifest, to be appended.
        header: To be written over the file's first bytes.
        model_id: The 32 bytes that identify the sealed model.
    """

    manifest: bytes
    header: bytes
    model_id: bytes


class SealWriter:
    """Seals the segments of one model, in order, and finishes its file."""

    def __init__(
        self,
        *,
        key: OwnerKey,
        suite: Suite,
        release: int,
        block_bytes: Sequence[int],
        data_key: Secret,
        wrap_salt: bytes,
    ) -> None:
        """Prepare to seal.

        Args:
            key: The owner's key: wraps the data key and signs.
            suite: AEAD of segments and manifest.
            release: 0 and up.
            block_bytes: Size of the block of each partition, in the order of a pass.
            data_key: 32 random bytes, drawn for this file alone and never used again (S-14).
            wrap_salt: 32 random bytes, likewise (S-18).

        Raises:
            UsageError: The release is beyond its limit.
            SealedFormatError: The number of segments is.
            UnavailableError: The suite's library is not installed.
        """
        if not 0 <= release <= MAX_RELEASE:
            raise UsageError(f"a release is a number from 0 to {MAX_RELEASE}, not {release}")
        if len(data_key) != DATA_KEY_BYTES or len(wrap_salt) != WRAP_SALT_BYTES:
            raise ValueError("a data key and a salt of 32 random bytes each are needed")
        self._key, self._suite, self._release = key, suite, release
        self._data_key, self._wrap_salt = data_key, wrap_salt
        self._block_bytes = tuple(block_bytes)
        self._table = SegmentTable(self._block_bytes)
        self._commitment = commitment(data_key, suite)
        self._manifest_key, segments_key = sub_keys(data_key, suite)
        self._aead = suite.aead(segments_key)
        self._tags: list[bytes] = []
        self._body = BodyHasher()
        self._finished = False

    @property
    def table(self) -> SegmentTable:
        """Where the segments stand."""
        return self._table

    def seal_segment(self, buffer: memoryview) -> None:
        """Overwrite the plaintext of the next segment by its ciphertext, to be appended.

        Args:
            buffer: Writable; as long as `table.length` says of this segment.
        """
        index, n_segments = len(self._tags), self._table.n_segments
        if index == n_segments:
            raise ValueError("all segments are sealed already")
        n_bytes = self._table.length(index)
        if len(buffer) != n_bytes:
            raise ValueError(f"segment {index} has {n_bytes} bytes")
        aad = segment_aad(
            self._suite, self._commitment, index=index, n_segments=n_segments, n_bytes=n_bytes
        )
        self._tags.append(self._aead.seal_in_place(self._suite.nonce(index), aad, buffer))
        self._body.update(buffer)

    def finish(self, manifest: Manifest) -> SealedEnd:
        """Seal the manifest, make the header and sign it.

        Args:
            manifest: Its blocks are those that were sealed; its tags are filled in here.

        Raises:
            SealedFormatError: The manifest is beyond a limit.
        """
        if self._finished or len(self._tags) != self._table.n_segments:
            raise ValueError("finish comes once, after the last segment")
        if tuple(p.block_bytes for p in manifest.partitions) != self._block_bytes:
            raise ValueError("the manifest has other blocks than those that were sealed")
        sealed = self._seal_manifest(replace(manifest, tags=b"".join(self._tags)))
        self._finished = True
        self._body.update(sealed)
        verified = self._sign(sealed)
        slot = wrap_data_key(
            self._key, self._data_key, model_id=verified.model_id, salt=self._wrap_salt
        )
        header = encode_header(replace(verified.header, slot=slot))
        return SealedEnd(manifest=sealed, header=header, model_id=verified.model_id)

    def _seal_manifest(self, manifest: Manifest) -> bytes:
        plain = bytearray(encode_manifest(manifest))
        n_bytes = len(plain) + self._suite.tag_bytes
        if n_bytes > MAX_MANIFEST_BYTES:
            raise SealedFormatError(
                f"the manifest has {n_bytes} bytes, more than {MAX_MANIFEST_BYTES}",
                hint="Weights inside If and Loop bodies count here; they can't be streamed.",
            )
        aead = self._suite.aead(self._manifest_key)
        aad = manifest_aad(self._suite, self._commitment, n_bytes=n_bytes)
        tag = aead.seal_in_place(self._suite.nonce(0), aad, memoryview(plain))
        plain += tag
        return bytes(plain)

    def _sign(self, sealed_manifest: bytes) -> VerifiedHeader:
        unsigned = Header(
            suite=self._suite,
            release=self._release,
            owner=self._key.public_key,
            commitment=self._commitment,
            manifest_bytes=len(sealed_manifest),
            manifest_sha256=sha256(sealed_manifest),
            root=self._body.root(),
            signature=b"",
            # The slot is bound to the model id, which does not depend on it.
            slot=WrapSlot(key_id=b"", wrap_salt=b"", wrapped_key=b"", wrap_tag=b""),
        )
        return sign_header(unsigned, self._key.signing_seed)
