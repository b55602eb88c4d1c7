"""Bytes that a library wants as a file, and that no disk may receive.

A memfd where the system has one; a library OS has none, and there it is a file on a
tmpfs, which is the enclave's own memory. Before a path goes to anybody, the kind of
the file system is looked at.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from inferonnx.errors import UnavailableError
from inferonnx.runtime.tee import find_tee

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_FOLDER = "/dev/shm"  # noqa: S108 - memory, which is checked, and not a disk
"""Where files are memory on Linux and in Occlum."""

_MEMORY_FILE_SYSTEMS = (0x01021994, 0x858458F6)
"""tmpfs and ramfs in the words of statfs(2)."""

_NOT_TOLD = 0
"""What a library OS may give as the kind: it has nothing but what its manifest mounts."""


@contextmanager
def secret_file(content: bytes | bytearray, *, folder: str = "") -> Iterator[str]:
    """Give the path of a file with `content` that lives in memory; it is overwritten afterwards.

    Args:
        content: What shall stand in it.
        folder: A folder that the measured configuration of a library OS names as its
            own memory; empty means `DEFAULT_FOLDER`. Used only without memfd.

    Raises:
        UnavailableError: There is no memfd, and `folder` is not in memory.
    """
    fd = _memory_file()
    path = f"/proc/self/fd/{fd}"
    if fd is None or not os.path.exists(path):
        if fd is not None:
            os.close(fd)
        fd, path = _private_file(folder or DEFAULT_FOLDER)
    try:
        _write(fd, content)
        yield path
    finally:
        with suppress(OSError):
            _write(fd, bytes(len(content)))
        os.close(fd)
        if not path.startswith("/proc/"):
            os.unlink(path)


def _memory_file() -> int | None:
    try:
        return os.memfd_create("inferonnx", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return None


def _private_file(folder: str) -> tuple[int, str]:
    """Open a new file that only this user reads, in a folder that is memory."""
    try:
        kind = _file_system(folder)
        tee = find_tee()
        told = kind in _MEMORY_FILE_SYSTEMS
        if not told and not (kind == _NOT_TOLD and tee is not None and tee.is_library_os):
            raise _no_place(folder)
        path = os.path.join(folder, f".inferonnx-{os.urandom(16).hex()}")
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path
    except OSError as error:
        raise _no_place(folder) from error


def _file_system(folder: str) -> int:
    """Return the kind of file system that holds `folder`, by statfs(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = (ctypes.c_long * 64)()  # struct statfs has 120 bytes; f_type comes first
    if libc.statfs(os.fsencode(folder), answer):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer[0]


def _write(fd: int, content: bytes | bytearray) -> None:
    view, at = memoryview(content), 0
    while at < len(view):
        at += os.pwrite(fd, view[at:], at)


def _no_place(folder: str) -> UnavailableError:
    return UnavailableError(
        f"there is no memfd here, and {folder!r} is not a tmpfs: the TLS key would reach a disk",
        hint="In a library OS, mount a tmpfs and name it as the scratch folder.",
    )
