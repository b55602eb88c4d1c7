"""How uploads have ended, for clients that never saw the last reply.

Its owner, `server.uploads`, lets one thread at a time use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from inferonnx.errors import UploadEndedError

if TYPE_CHECKING:
    from inferonnx.server.upload_state import Upload

T = TypeVar("T")

MOST_REMEMBERED = 64
"""Uploads that are over and of which it is still told how they ended: 1 KiB each."""

FULL = "the server's disk was full"
GONE = "the server's disk has lost the file"
INSTALLED = "it has become a model"
EXPIRED = "nobody went on with it in time"


class UploadEnds:
    """The ends of the newest uploads; ids are their names here."""

    def __init__(self, expiry_s: int) -> None:
        """Remember nothing; those that became models for `expiry_s`."""
        self._expiry_s = expiry_s
        self._installed: dict[str, tuple[Upload, float]] = {}  # with the time of their end
        self._reasons: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._reasons

    @property
    def is_full(self) -> bool:
        """Whether one more that has become a model would push one out."""
        return len(self._installed) >= MOST_REMEMBERED

    def installed(self, name: str) -> tuple[Upload, float] | None:
        """Return an upload that became a model, and until when that is known."""
        found = self._installed.get(name)
        return None if found is None else (found[0], found[1] + self._expiry_s)

    def over(self, name: str) -> UploadEndedError:
        """Return the error that says why an upload is over."""
        return UploadEndedError(f"the upload is over: {self._reasons.get(name, EXPIRED)}")

    def note(self, name: str, reason: str) -> None:
        """Remember why one is over."""
        _remember(self._reasons, name, reason)

    def note_installed(self, upload: Upload, now_s: float) -> str | None:
        """Remember one that became a model; return whose end is forgotten for it, if any."""
        return _remember(self._installed, upload.id, (upload, now_s))

    def expire(self, now_s: float) -> list[str]:
        """Forget, and return, those of which it has been told for long enough."""
        told = [i for i, (_, at) in self._installed.items() if at + self._expiry_s <= now_s]
        for name in told:
            del self._installed[name]
        return told


def _remember(notes: dict[str, T], name: str, note: T) -> str | None:
    """Keep a note, and return whose oldest note went for it, if there were too many."""
    notes[name] = note
    if len(notes) <= MOST_REMEMBERED:
        return None
    oldest = next(iter(notes))
    del notes[oldest]
    return oldest
