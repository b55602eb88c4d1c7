"""An upload under way, and what appends to it for one request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.errors import UploadEndedError
from inferonnx.oip import StorageFullError, TooLargeError
from inferonnx.server.disk import upload_errors
from inferonnx.server.upload_ends import FULL, GONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.server.upload_state import Upload


class LiveUpload:
    """An upload under way.

    Attributes:
        upload: What was announced.
        offset: Bytes that are on disk.
        touched_s: When the last of them came.
        is_busy: A request writes to it, or it is being verified or removed.
    """

    __slots__ = ("is_busy", "offset", "touched_s", "upload")

    def __init__(self, upload: Upload, offset: int, touched_s: float) -> None:
        """Begin with nobody writing."""
        self.upload = upload
        self.offset = offset
        self.touched_s = touched_s
        self.is_busy = False


class Appender:
    """Appends to one upload until `close`; it has the upload for itself meanwhile."""

    def __init__(
        self,
        live: LiveUpload,
        *,
        open_file: Callable[[], int],
        clock_s: Callable[[], float],
        closed: Callable[[str | None], None],
    ) -> None:
        """Take an upload that is marked as busy; made by `Uploads.append`.

        Args:
            live: The upload.
            open_file: Returns the descriptor of its file, when there is something to write.
            clock_s: Seconds since 1970.
            closed: Called at the end; told why the upload is over, None where it is not.
        """
        self._live = live
        self._open_file = open_file
        self._clock_s = clock_s
        self._closed = closed
        self._file = -1
        self._over: str | None = None

    @property
    def offset(self) -> int:
        """Where the next byte goes."""
        return self._live.offset

    def write(self, view: memoryview) -> None:
        """Append bytes; of those that don't fit on the disk, as many as do. Blocks.

        Raises:
            StorageFullError: The disk is full; `close` ends the upload.
            TooLargeError: There would be more than was announced; nothing is written.
            UploadEndedError: Its file is gone; `close` ends the upload.
            UnavailableError: The disk fails.
        """
        live = self._live
        if live.offset + len(view) > live.upload.n_bytes:
            raise TooLargeError("more has come than was announced")
        try:
            with upload_errors("writing the upload"):
                if self._file < 0:
                    self._file = self._open_file()
                while view:
                    n = os.pwrite(self._file, view, live.offset)
                    live.offset += n
                    live.touched_s = self._clock_s()
                    view = view[n:]
        except StorageFullError:
            self._over = FULL  # rather no upload than a disk that stays full
            raise
        except UploadEndedError:
            self._over = GONE
            raise

    def close(self) -> None:
        """Let others have the upload, or end it where it is over. Blocks."""
        if self._file >= 0:
            os.close(self._file)
        self._closed(self._over)
