"""The server's own disk: one process at a time, and what its errors mean to a client."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inferonnx.errors import UnavailableError, UploadEndedError
from inferonnx.oip import StorageFullError
from inferonnx.runtime.files import is_full
from inferonnx.server.upload_ends import GONE

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = ".lock"


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Translate what the system says of the server's own disk, which is no client's fault.

    Raises:
        StorageFullError: It is full.
        UnavailableError: Anything else.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFullError("the server's disk is full") from error
        raise UnavailableError(f"{doing} failed: {error.strerror}") from error


@contextmanager
def upload_errors(doing: str) -> Iterator[None]:
    """Translate what the system says of an upload's file: where that is gone, it is for good.

    Raises:
        UploadEndedError: It is not there.
        StorageFullError, UnavailableError: As `disk_errors`.
    """
    with disk_errors(doing):
        try:
            yield
        except FileNotFoundError as error:
            raise UploadEndedError(GONE) from error


def lock_folder(root: int, folder: str) -> int:
    """Return the descriptor of a lock on an open folder; it ends with the process.

    Raises:
        UnavailableError: Another process has it.
        OSError: The folder can't be written.
    """
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=root)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise UnavailableError(
            f"another server uses the folder {folder!r}",
            hint="Stop it, or serve another folder.",
        ) from error
    except OSError:
        pass  # a file system or library OS without locks
    return lock
