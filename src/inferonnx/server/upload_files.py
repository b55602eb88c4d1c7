"""The files of uploads, below one folder: `<id>.json` says what `<id>/model.sealed` will be.

The first appears last and goes first: without it the second is nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.runtime.folders import (
    make_folder,
    open_folder,
    read_small,
    remove_tree,
    write_whole,
)
from inferonnx.server.stored import MODEL_FILE
from inferonnx.server.upload_state import MAX_STATE_BYTES, Upload, encode_state, parse_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

STATE = ".json"


class Kept(NamedTuple):
    """An upload that is on disk.

    Attributes:
        upload: What was announced.
        n_bytes: That have come; None where the file is none, or no more.
        touched_s: When the last of them came, by the disk's clock.
    """

    upload: Upload
    n_bytes: int | None
    touched_s: float


class UploadFiles:
    """Uploads on disk; all of it blocks."""

    def __init__(self, incoming: int) -> None:
        """Keep them below an open folder."""
        self._incoming = incoming

    def make(self, upload: Upload) -> None:
        """Begin an upload's file, empty; on an error there is nothing.

        Raises:
            OSError: The disk refuses.
        """
        try:
            folder = make_folder(upload.id, at=self._incoming)
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(MODEL_FILE, flags, 0o600, dir_fd=folder))
            finally:
                os.close(folder)
            state = encode_state(upload)
            write_whole(upload.id + STATE, state, at=self._incoming, through=self._incoming)
        except OSError:
            self.remove(upload.id)
            raise

    def open(self, upload: Upload) -> int:
        """Return the descriptor of an upload's file, for writing.

        Raises:
            OSError: It is not there, no file, or has another name: the host put it there.
        """
        folder = open_folder(upload.id, at=self._incoming)
        try:
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(MODEL_FILE, flags, dir_fd=folder)
        finally:
            os.close(folder)
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            os.close(file)
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        return file

    def remove(self, name: str) -> None:
        """Remove what is there of an upload, by its id."""
        self.forget(name)
        remove_tree(name, at=self._incoming)

    def forget(self, name: str) -> None:
        """Remove what was announced of an upload whose file has gone elsewhere."""
        remove_tree(name + STATE, at=self._incoming)

    def kept(self) -> Iterator[Kept]:
        """Give what a restart has left.

        Raises:
            OSError: The folder can't be read.
        """
        for entry in os.listdir(self._incoming):
            with suppress(OSError, ValueError):  # then it is none of ours, or damaged
                data = read_small(entry, at=self._incoming, limit_bytes=MAX_STATE_BYTES)
                upload = parse_state(data)
                if upload.id + STATE == entry:
                    yield self._looked_at(upload)

    def clear(self, *, but: Collection[str]) -> None:
        """Remove all entries but these.

        Raises:
            OSError: The folder can't be read.
        """
        for entry in os.listdir(self._incoming):
            if entry not in but:
                remove_tree(entry, at=self._incoming)

    def free_bytes(self) -> int | None:
        """Return the room on the disk, None where the system does not tell."""
        try:
            disk = os.fstatvfs(self._incoming)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize if disk.f_blocks else None

    def _looked_at(self, upload: Upload) -> Kept:
        with suppress(OSError):
            folder = open_folder(upload.id, at=self._incoming)
            try:
                status = os.stat(MODEL_FILE, dir_fd=folder, follow_symlinks=False)
            finally:
                os.close(folder)
            if stat.S_ISREG(status.st_mode) and status.st_size <= upload.n_bytes:
                return Kept(upload, status.st_size, status.st_mtime)
        return Kept(upload, None, 0)
