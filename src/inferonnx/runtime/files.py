"""Files: read at an offset, write whole or not at all, refuse keys that others can use."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from inferonnx.errors import (
    InferonnxError,
    KeyFileError,
    SealedFormatError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_THERE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)

_PART = ".inferonnx.part"
"""How the name of an unfinished file ends; before it stand a dot and random digits."""


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


def read_key_file(path: str) -> bytes:
    """Return the bytes of a key file that only its owner can read.

    Raises:
        KeyFileError: Others have any right on it.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & 0o077:
                raise KeyFileError(
                    f"others have rights on the key file {path!r} (mode {mode & 0o777:04o})",
                    hint=f"If nobody has used them: chmod 600 {path}",
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
        """Close the file; again does nothing, from whatever thread."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def check_output(path: str, *, inputs: Sequence[str] = (), replace: bool = True) -> None:
    """Refuse a place that can't be written to, before any work is spent on what goes there.

    (1) Its folder exists and can be written. (2) Nothing is there, or a regular file.
    (3) With `replace` false: nothing. (4) It is none of the inputs, by whatever name.

    Raises:
        UsageError: One of these does not hold.
        UnavailableError: The folder can't be written.
    """
    if not replace and os.path.lexists(path):  # (3)
        raise UsageError(f"{path!r} exists already", hint="Choose another name.")
    if path.endswith("/"):
        raise UsageError(f"{path!r} is a folder", hint="Give the name of a file in it.")
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):  # (1)
            raise NotADirectoryError(errno.ENOTDIR, "", folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "", folder)
        status = os.stat(target) if os.path.lexists(target) else None
    except OSError as error:
        raise translate(error, path, "writing") from error
    if status is None:
        return
    if not stat.S_ISREG(status.st_mode):  # (2) a rename would replace the device or pipe itself
        raise UsageError(f"{path!r} is no regular file", hint="Choose another name.")
    for name in inputs:
        if os.path.exists(name) and os.path.samefile(name, target):  # (4)
            raise UsageError(
                f"{path!r} is an input, and inputs are never overwritten",
                hint="Choose another name.",
            )


@contextmanager
def whole_file(
    path: str, *, mode: int = 0o644, replace: bool = True, inputs: Sequence[str] = ()
) -> Iterator[BinaryIO]:
    """Write a file that appears whole or not at all.

    Written under a temporary name beside it, synced, renamed. On any error, an
    interrupt included, the temporary file is removed and the old file stands.

    Args:
        path: Where it goes; a symbolic link is followed.
        mode: Rights of a new file; those of an old one stay.
        replace: Whether an old file may be replaced.
        inputs: Files that it must not be.

    Raises:
        UsageError: As `check_output`.
        UnavailableError: The disk is full or refuses.
    """
    check_output(path, inputs=inputs, replace=replace)
    target = os.path.realpath(path)
    try:
        file, temporary = _unfinished(os.path.dirname(target), mode)
    except OSError as error:
        raise translate(error, path, "writing") from error
    try:
        with file:
            if os.path.lexists(target):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(target).st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            _publish(temporary, target, replace=replace)
    except OSError as error:
        raise translate(error, path, "writing") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def check_new_folder(path: str) -> None:
    """Refuse a place where no new folder can be made, before any work is spent on it.

    Raises:
        UsageError: Something but an empty folder is there, or its parent is not.
        UnavailableError: The parent can't be written.
    """
    target = os.path.realpath(path)
    if os.path.isdir(target) and not os.listdir(target):
        return
    if os.path.lexists(target):
        raise UsageError(
            f"{path!r} exists already, and is no empty folder", hint="Choose another name."
        )
    check_output(target)


@contextmanager
def whole_folder(path: str) -> Iterator[str]:
    """Fill a folder that appears whole or not at all; yields the name to fill it under.

    Raises:
        UsageError: Something but an empty folder is there, or its parent is not.
        UnavailableError: The disk is full or refuses.
    """
    check_new_folder(path)
    target = os.path.realpath(path)
    with scratch_folder(os.path.dirname(target)) as folder:
        filled = os.path.join(folder, os.path.basename(target))
        try:
            os.mkdir(filled)
            yield filled
            os.rename(filled, target)
        except OSError as error:
            raise translate(error, path, "writing") from error


@contextmanager
def scratch_folder(parent: str | None = None) -> Iterator[str]:
    """Make a folder for work under way and remove it with all it holds.

    Args:
        parent: Where; the system's temporary folder by default.

    Raises:
        UsageError: `parent` is no folder.
        UnavailableError: The disk is full or refuses.
    """
    import tempfile

    try:
        made = tempfile.TemporaryDirectory(dir=parent, prefix=".inferonnx-")
    except OSError as error:
        raise translate(error, parent or tempfile.gettempdir(), "making a folder in") from error
    with made as folder:
        yield folder


def _unfinished(folder: str, mode: int) -> tuple[BinaryIO, str]:
    """Make a new file under a temporary name, and remove those of writers that were killed.

    A living writer holds a lock on its file, which ends with it however it ends;
    names of processes would not do, since they repeat in containers.
    """
    with os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.endswith(_PART)]
    for path in left:
        _remove_abandoned(path)
    while True:
        path = os.path.join(folder, f".{os.urandom(8).hex()}{_PART}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        file = os.fdopen(fd, "w+b")
        _lock(fd)
        if _is_at(path, fd):
            return file, path
        file.close()  # another process found it between its making and its lock


def _remove_abandoned(path: str) -> None:
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(fd) and _is_at(path, fd):
                os.unlink(path)
        finally:
            os.close(fd)


def _lock(fd: int) -> bool:
    """Lock a file until it is closed; False when another has it, or the system has no locks."""
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _publish(temporary: str, target: str, *, replace: bool) -> None:
    """Give the finished file its name, and make the name last."""
    if replace:
        os.replace(temporary, target)
    else:
        os.link(temporary, target)  # fails, where a rename would replace
    folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
