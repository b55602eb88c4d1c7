"""Files: read whole or at an offset, refuse keys that others can use, say what went wrong."""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from inferonnx.errors import (
    InferonnxError,
    KeyFileError,
    SealedFormatError,
    UnavailableError,
    UsageError,
)

# Python's own os.preadv makes system calls (preadv2, then preadv) that Gramine lacks;
# os.pread would copy once more.
_pread = ctypes.CDLL(None, use_errno=True).pread
_pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
_pread.restype = ctypes.c_ssize_t

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_THERE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


def is_full(error: OSError) -> bool:
    """Tell whether the system says that there is no room for more."""
    return error.errno in _FULL


def translate(error: OSError, path: str, doing: str) -> InferonnxError:
    """Return the error of ours that says what the system's error means for `path`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return UnavailableError(
            f"no space left while {doing} {path!r}", hint="Free some disk space and try again."
        )
    if error.errno in _NOT_THERE:
        return UsageError(f"{path!r}: {reason}", hint="Is the path right?")
    hint = "Look after the disk, and try again."
    if error.errno in _NO_RIGHT:
        hint = "Change its permissions, or choose another place."
    return UnavailableError(f"{doing} {path!r} failed: {reason}", hint=hint)


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
        raise UsageError(
            f"{path!r} has more than {limit_bytes} bytes", hint="Is it the right file?"
        )
    return content


def read_key_file(path: str, *, what: str = "key file") -> bytes:
    """Return the bytes of a secret file that only its owner can read.

    Args:
        path: The file.
        what: What it is, for the sentence.

    Raises:
        KeyFileError: Others have any right on it.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise KeyFileError(
                    f"others have rights on the {what} {path!r} (mode {mode & 0o777:04o})",
                    hint=f"If nobody has used them: chmod 600 {path}",
                )
            return file.read(1 << 20)
    except OSError as error:
        raise translate(error, path, "reading") from error


class FileSource:
    """A sealed file that is read at offsets, from any thread."""

    def __init__(self, path: str) -> None:
        """Open `path` for reading; a pipe or device in its place is refused, and not waited for.

        Raises:
            UsageError: There is no regular file.
            UnavailableError: The disk fails.
        """
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._fd)
        except OSError as error:
            raise translate(error, path, "reading") from error
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise UsageError(f"{path!r} is no regular file", hint="Is the path right?")
        self.size = status.st_size

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`; each byte is copied once.

        Raises:
            SealedFormatError: The file ends before.
            UnavailableError: The disk fails.
        """
        held = (ctypes.c_char * len(view)).from_buffer(view)  # refuses what can't be written to
        address = ctypes.addressof(held)
        done = 0
        while done < len(view):
            n = _pread(self._fd, address + done, len(view) - done, offset + done)
            if n < 0:
                number = ctypes.get_errno()
                if number == errno.EINTR:
                    continue
                raise translate(OSError(number, os.strerror(number)), self.path, "reading")
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
        """Close the file; again does nothing, from whatever thread."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
