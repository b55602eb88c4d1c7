"""Folders by descriptor: nothing that is written or removed leads out by a symbolic link.

A name here is one component below a folder that is open. A link in its place is
never followed; removing it removes the link. All raise OSError, which the caller
translates: it knows what the file was for.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_PART = ".part"
"""How a file's name ends while it is being written; a kill may leave one."""


def open_folder(name: str, *, at: int | None = None, follow: bool = False) -> int:
    """Open a folder; the caller closes it.

    Args:
        name: Of the folder, below `at`; a path where that is None.
        at: An open folder.
        follow: Take the folder that a symbolic link leads to, for reading.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open(name, flags if follow else flags | os.O_NOFOLLOW, dir_fd=at)


def make_folder(name: str, *, at: int, mode: int = 0o700) -> int:
    """Open a folder, which is made if it is not there."""
    with suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=at)
    return open_folder(name, at=at)


def is_there(name: str, *, at: int) -> bool:
    """Tell whether there is anything of that name."""
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write_whole(name: str, content: bytes, *, at: int, through: int, mode: int = 0o600) -> None:
    """Write a small file that appears whole or not at all, and lasts.

    Args:
        name: Of the file; an old one is replaced.
        content: Of the file.
        at: Folder that it appears in.
        through: Folder on the same disk where it grows; a kill leaves the half there.
        mode: Rights of the file.
    """
    temporary = f".{os.urandom(8).hex()}{_PART}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(temporary, flags, mode, dir_fd=through)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, name, src_dir_fd=through, dst_dir_fd=at)
    finally:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=through)
    os.fsync(at)


def read_small(name: str, *, at: int, limit_bytes: int) -> bytes:
    """Return a file's content.

    Raises:
        ValueError: It is larger, or no regular file: reading a pipe could wait for ever.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(name, flags, dir_fd=at)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError(f"{name!r} is no regular file")
        content = os.pread(file, limit_bytes + 1, 0)
    finally:
        os.close(file)
    if len(content) > limit_bytes:
        raise ValueError(f"{name!r} has more than {limit_bytes} bytes")
    return content


def remove_tree(name: str, *, at: int) -> None:
    """Remove a file, a link, or a folder with all that is in it, as far as the disk lets us."""
    with suppress(OSError, RecursionError):
        try:
            os.unlink(name, dir_fd=at)
            return
        except (IsADirectoryError, PermissionError):  # POSIX says the second, Linux the first
            folder = open_folder(name, at=at)
        try:
            for entry in os.listdir(folder):
                remove_tree(entry, at=folder)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=at)
