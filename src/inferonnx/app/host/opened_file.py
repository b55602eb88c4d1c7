"""A sealed file whose header and manifest are verified: where every use of one begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.runtime.files import FileSource
from inferonnx.sealed import (
    HEADER_BYTES,
    SegmentOpener,
    check_pin,
    check_pinned_name,
    file_keys,
    open_manifest,
    parse_header,
    verify_header,
)

if TYPE_CHECKING:
    from inferonnx.app.host.keys import DataKey, Key
    from inferonnx.sealed import Manifest, Pin, VerifiedHeader


class OpenedFile(NamedTuple):
    """A sealed file whose header and manifest are authentic.

    Attributes:
        source: The file.
        verified: Its header.
        manifest: Opened; blobs of it are views of its bytes.
        opener: Opens its segments, and holds the last key that is left: close or wipe it.
    """

    source: FileSource
    verified: VerifiedHeader
    manifest: Manifest
    opener: SegmentOpener

    def close(self) -> None:
        """Close the file and forget its key."""
        self.source.close()
        self.opener.wipe()


def open_file(path: str, *, key: Key | DataKey, pin: Pin | None = None) -> OpenedFile:
    """Verify the header of a sealed file and open its manifest; no weight is read.

    (1) The header is well formed. (2) Its owner signed it. (3) It is the model that
    was pinned, as far as the header tells. (4) The key fits, and opens the data key
    that the header commits to. (5) The manifest is authentic. (6) Its name is the
    one that was pinned.

    Raises:
        SealedFormatError, SignatureError, PinError, KeyMismatchError,
        AuthenticationError: In the order of the steps.
    """
    source = FileSource(path)
    try:
        header = parse_header(source.read(0, min(HEADER_BYTES, source.size)))  # (1)
        verified = verify_header(header)  # (2)
        if pin is not None:
            check_pin(pin, verified)  # (3)
        data_key = key.data_key(verified)
        try:
            keys = file_keys(verified, data_key)  # (4)
        finally:
            data_key.wipe()
        try:
            offset = header.manifest_offset(source.size)
            sealed = source.read(offset, header.manifest_bytes)
            manifest = open_manifest(keys, sealed, file_bytes=source.size)  # (5)
            if pin is not None:
                check_pinned_name(pin, manifest)  # (6)
            return OpenedFile(source, verified, manifest, SegmentOpener(keys, manifest))
        finally:
            keys.wipe()
    except BaseException:
        source.close()
        raise
