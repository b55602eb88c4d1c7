"""Open the manifest, and check a whole file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.crypto import equal_bytes, sha256
from inferonnx.errors import AuthenticationError
from inferonnx.sealed.binding import manifest_aad
from inferonnx.sealed.constants import HEADER_BYTES
from inferonnx.sealed.manifest_codec import parse_manifest
from inferonnx.sealed.merkle import BodyHasher
from inferonnx.sealed.segments import SegmentTable

if TYPE_CHECKING:
    from inferonnx.sealed.header import VerifiedHeader
    from inferonnx.sealed.keys import FileKeys
    from inferonnx.sealed.manifest import Manifest
    from inferonnx.sealed.segments import SegmentOpener


def open_manifest(keys: FileKeys, sealed: bytearray, *, file_bytes: int) -> Manifest:
    """Return the manifest of a file.

    (1) The bytes are those that the header has length and hash of. (2) They open.
    (3) They are a manifest. (4) Its segments fill the file exactly, from the header
    to the manifest.

    Args:
        keys: Of this file.
        sealed: The last `manifest_bytes` bytes of the file. Opened in place and kept:
            blobs of the manifest are views of it. Wiped when it does not open.
        file_bytes: Size of the file.

    Raises:
        AuthenticationError: (1), (2) or (4) fails.
        SealedFormatError: (3) fails, or the file is too short to hold a manifest.
        UnavailableError: The suite's library is not installed.
    """
    header = keys.verified.header
    offset = header.manifest_offset(file_bytes)
    if len(sealed) != header.manifest_bytes or not equal_bytes(  # (1) S-26
        sha256(sealed), header.manifest_sha256
    ):
        raise AuthenticationError
    suite = header.suite
    aead = suite.aead(keys.manifest_key)
    plain = memoryview(sealed)[: -suite.tag_bytes]
    tag = bytes(sealed[-suite.tag_bytes :])
    aad = manifest_aad(suite, header.commitment, n_bytes=header.manifest_bytes)
    try:
        aead.open_in_place(suite.nonce(0), aad, tag, plain)  # (2) S-27
    finally:
        aead.wipe()
    manifest = parse_manifest(plain, tag_bytes=suite.tag_bytes)  # (3) S-27: not before (2)
    if SegmentTable.of_manifest(manifest).end != offset:  # (4) S-35
        raise AuthenticationError
    return manifest


class FileCheck:
    """Checks every byte behind the header, as they come in order (S-12).

    (1) All bytes hash to the root that the header is signed over. (2) With the
    key, each segment opens too.
    """

    def __init__(
        self, verified: VerifiedHeader, *, file_bytes: int, opener: SegmentOpener | None = None
    ) -> None:
        """Prepare to take the bytes from `HEADER_BYTES` to `file_bytes`.

        Args:
            verified: The file's header, its signature verified.
            file_bytes: Size of the file.
            opener: Opens its segments; None where the data key is not known.

        Raises:
            SealedFormatError: The file is too short to hold its manifest.
        """
        self._root = verified.header.root
        verified.header.manifest_offset(file_bytes)  # refuses a file that is too short
        self._body_bytes = file_bytes - HEADER_BYTES
        self._body = BodyHasher()
        self._opener = opener
        self._segment = bytearray()
        self._n_opened = 0

    @property
    def n_opened(self) -> int:
        """Segments that have opened so far."""
        return self._n_opened

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes, in chunks of any size.

        Raises:
            AuthenticationError: A segment does not open.
        """
        view = memoryview(chunk)
        self._body.update(view)
        opener = self._opener
        while opener is not None and view and self._n_opened < opener.table.n_segments:
            n_bytes = opener.table.length(self._n_opened)
            missing = n_bytes - len(self._segment)
            self._segment += view[:missing]
            view = view[missing:]
            if len(self._segment) == n_bytes:
                opener.open_in_place(self._n_opened, memoryview(self._segment))
                self._segment = bytearray()
                self._n_opened += 1

    def finish(self) -> None:
        """Raise AuthenticationError unless every byte was taken and is what was signed."""
        if self._body.n_bytes != self._body_bytes or not equal_bytes(self._body.root(), self._root):
            raise AuthenticationError
