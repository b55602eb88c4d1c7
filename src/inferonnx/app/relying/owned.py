"""A sealed file in its owner's hands: whose it is, its name, its data key, all its bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.crypto import Sha256
from inferonnx.errors import UsageError
from inferonnx.runtime.files import FileSource
from inferonnx.sealed import (
    HEADER_BYTES,
    FileCheck,
    file_keys,
    open_manifest,
    parse_header,
    verify_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from inferonnx.app.host.keys import Key
    from inferonnx.crypto import Secret

CHUNK_BYTES = 1 << 22

ENDING = ".sealed"
"""Of sealed files, in this package's own examples."""


class OwnedFile:
    """An open sealed file that a key opens and its owner has signed. Use it in `with`.

    Attributes:
        source: Its bytes.
        model_id: 32 bytes.
        release: The owner's count, 0 where it is not numbered.
        name: That is sealed in it.
        data_key: Opens this file and no other; wiped at the end.
    """

    def __init__(self, path: str | os.PathLike[str], key: Key) -> None:
        """Open it: header verified, data key unwrapped, manifest authentic.

        Raises:
            SealedFormatError, SignatureError, KeyMismatchError, AuthenticationError: It is
                no sealed file, or not one of this key.
        """
        self.path = os.fspath(path)
        self.source = FileSource(self.path)
        try:
            size = self.source.size
            header = parse_header(self.source.read(0, min(HEADER_BYTES, size)))
            self._verified = verify_header(header)
            self.data_key: Secret = key.data_key(self._verified)
            keys = file_keys(self._verified, self.data_key)
            start = header.manifest_offset(size)
            sealed = self.source.read(start, header.manifest_bytes)
            self.name = open_manifest(keys, sealed, file_bytes=size).name
            keys.wipe()
        except BaseException:
            self.source.close()
            raise
        self.model_id = self._verified.model_id
        self.release = header.release

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Wipe the data key and close the file."""
        self.data_key.wipe()
        self.source.close()

    def checked_sha256(self, progress: Callable[[int, int], None] | None = None) -> bytes:
        """Return SHA-256 of the file, every byte of it held against the signed root.

        Args:
            progress: Is told how many bytes were read, of how many.

        Raises:
            AuthenticationError: The file is damaged.
        """
        size = self.source.size
        whole = Sha256(bytes(self.source.read(0, HEADER_BYTES)))
        check = FileCheck(self._verified, file_bytes=size)
        buffer = bytearray(CHUNK_BYTES)
        for offset in range(HEADER_BYTES, size, CHUNK_BYTES):
            view = memoryview(buffer)[: min(CHUNK_BYTES, size - offset)]
            self.source.read_into(offset, view)
            whole.update(view)
            check.update(view)
            if progress is not None:
                progress(offset + len(view), size)
        check.finish()
        return whole.digest()

    def served_name(self, name: str | None) -> str:
        """Return the name to serve it by: as asked for, else the file's without its ending.

        Raises:
            UsageError: Another name is sealed in it: no server would serve it by this one.
        """
        wanted = name or os.path.basename(self.path).removesuffix(ENDING)
        if wanted != self.name:
            raise UsageError(
                f"{self.path!r} was sealed as {self.name!r}, and is not served as {wanted!r}",
                hint=f"Push it with --name {self.name}, or seal it with --name {wanted}.",
            )
        return wanted

    def served_version(self, version: int | None) -> int | None:
        """Return the version to serve it as: its release, where it has one.

        Raises:
            UsageError: Another version is asked for.
        """
        if not self.release:
            return version
        if version not in (None, self.release):
            raise UsageError(
                f"{self.path!r} was sealed as release {self.release}, and is no version {version}",
                hint=f"Leave --version out, or seal it with --release {version}.",
            )
        return self.release
