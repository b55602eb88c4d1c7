"""Files: read at an offset, write whole or not at all, refuse keys that others can read."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inferonnx.errors import (
    InferonnxError,
    KeyFileError,
    SealedFormatError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def translate(error: OSError, path: str, doing: str) -> InferonnxError:
    """Return the error of ours that says what the system's error means for `path`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return UnavailableError(
            f"no space left while {doing} {path!r}", hint="Free some disk space and try again."
        )
    if error.errno in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG):
        return UsageError(f"{path!r}: {reason}")
    return UnavailableError(f"{doing} {path!r} failed: {reason}")


def read_file(path: str, *, limit_bytes: int | None = None) -> bytes:
    """Return the bytes of a file; UsageError when it is not there or larger than the limit."""
    try:
        with open(path, "rb") as file:
            if limit_bytes is None:
                return file.read()
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise translate(error, path, "reading") from error
    if len(content) > limit_bytes:
        raise UsageError(f"{path!r} has more than {limit_bytes} bytes")
    return content


def read_key_file(path: str) -> bytes:
    """Return the bytes of a key file that only its owner can read.

    Raises:
        KeyFileError: Others can read or write it.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise KeyFileError(
                    f"{path!r} can be read by others (mode {mode & 0o777:04o})",
                    hint=f"If nobody has read it: chmod 600 {path}",
                )
            return file.read(1 << 20)
    except OSError as error:
        raise translate(error, path, "reading") from error


class FileSource:
    """A sealed file that is read at offsets, from any thread."""

    def __init__(self, path: str) -> None:
        """Open `path` for reading."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self.size = os.fstat(self._fd).st_size
        except OSError as error:
            raise translate(error, path, "reading") from error

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`; each byte is copied once.

        Raises:
            SealedFormatError: The file ends before.
            UnavailableError: The disk fails.
        """
        done = 0
        while done < len(view):
            try:
                n = os.preadv(self._fd, [view[done:]], offset + done)
            except OSError as error:
                raise translate(error, self.path, "reading") from error
            if not n:
                raise SealedFormatError(
                    "the sealed file ends too early",
                    where=f"offset {offset + done}",
                    hint="Get the file again from its owner.",
                )
            done += n

    def read(self, offset: int, n_bytes: int) -> bytearray:
        """Return `n_bytes` at `offset`. The caller has checked the length against a limit."""
        content = bytearray(n_bytes)
        self.read_into(offset, memoryview(content))
        return content

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@contextmanager
def whole_file(path: str, *, mode: int = 0o644, replace: bool = True) -> Iterator[BinaryIO]:
    """Write a file that appears whole or not at all.

    Written under a temporary name beside it, synced, renamed. On any error, an
    interrupt included, the temporary file is removed and the old file stands.

    Raises:
        UsageError: The file exists and `replace` is false, or its folder does not.
        UnavailableError: The disk is full or refuses.
    """
    if not replace and os.path.lexists(path):
        raise UsageError(f"{path!r} exists already", hint="Choose another name.")
    folder = os.path.dirname(path) or "."
    temporary = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}.part")
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise translate(error, path, "writing") from error
    try:
        with os.fdopen(fd, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, path, replace=replace)
    except OSError as error:
        raise translate(error, path, "writing") from error
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def _publish(temporary: str, path: str, *, replace: bool) -> None:
    """Give the finished file its name, and make the name last."""
    if replace:
        os.replace(temporary, path)
    else:
        os.link(temporary, path)  # fails, where a rename would replace
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
