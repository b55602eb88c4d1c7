"""Uploads that are under way, in files of their own that only their owner can read.

The name of an upload is what goes on with it, so it is kept like a secret. What can't
be read or written is no reason to stop: the upload would only begin again.
"""

from __future__ import annotations

import os
from contextlib import suppress

from inferonnx.crypto import sha256

MAX_BYTES = 1024


def default_folder() -> str:
    """Return where this user's programs keep such things (XDG Base Directory)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "inferonnx", "uploads")


class UploadFolder:
    """A `client.push.UploadBook`: a file for each upload, named by what it is of."""

    def __init__(self, folder: str | None = None) -> None:
        """Keep them in `folder`, by default the user's."""
        self._folder = folder or default_folder()

    def find(self, what: str) -> str | None:
        """Return the upload of `what`, None where there is none."""
        with suppress(OSError, UnicodeDecodeError), open(self._path(what), "rb") as file:
            return file.read(MAX_BYTES).decode()
        return None

    def keep(self, what: str, upload: str) -> None:
        """Remember it."""
        with suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(self._path(what), flags, 0o600), "wb") as file:
                file.write(upload.encode())

    def forget(self, what: str) -> None:
        """Forget it."""
        with suppress(OSError):
            os.unlink(self._path(what))

    def _path(self, what: str) -> str:
        return os.path.join(self._folder, sha256(what.encode()).hex())
