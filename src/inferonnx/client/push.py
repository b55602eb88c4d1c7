"""Send a sealed file, by the resumable upload protocol tus 1.0.0 (https://tus.io/).

The owner's signature opens an upload; what goes on with it is its name, which only
owner and server know. Whatever breaks, the server says how far it has come, and the
upload goes on from there: in this process, or in the next one if a book keeps the name.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.client.manage import OWN, signed_by_owner
from inferonnx.client.messages import Pause, Request
from inferonnx.client.replies import check
from inferonnx.control import NEXT_VERSION, Action, check_name
from inferonnx.errors import UnavailableError
from inferonnx.oip import AlreadyExistsError, BadReplyError, BusyError, NotFoundError, OipError
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from inferonnx.client.messages import Response, Steps
    from inferonnx.errors import InferonnxError
    from inferonnx.sealed import OwnerKey

    class SealedSource(Protocol):
        """The bytes of a sealed file; `runtime.files.FileSource` is one."""

        size: int

        def read(self, offset: int, n_bytes: int) -> bytearray:
            """Return `n_bytes` at `offset`."""

    class UploadBook(Protocol):
        """Remembers uploads that are under way, by what they are of."""

        def find(self, what: str) -> str | None:
            """Return the upload of `what`, None where there is none."""

        def keep(self, what: str, upload: str) -> None:
            """Remember it; whoever reads it can go on with the upload."""

        def forget(self, what: str) -> None:
            """Forget it, when it is over."""


PIECE_BYTES = 8 * MIB
"""One request's: large enough for full speed, small enough to be held in memory."""

PIECE_TIMEOUT_S = 120
"""For one piece: 70 KB/s, below which no upload ends."""

VERIFY_BYTES_S = 10_000_000
"""How fast a server verifies a file at the least, after its last piece."""

PAUSES_S = (0.5, 1, 2, 4, 8, 15, 30)
"""Between attempts without progress; then it is given up. A server restarts in less."""

TUS = (("Tus-Resumable", "1.0.0"),)
OFFSET_TYPE = "application/offset+octet-stream"
VERSION_HEADER = "inferonnx-version"

_BREAKS = (UnavailableError, BusyError, AlreadyExistsError)
"""After these it goes on. "Already exists" is another offset, or a request that still runs."""

_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_DIGITS = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What is pushed.

    Attributes:
        source: The sealed file.
        sha256: Of the file.
        model_id: From its verified header.
        name: What the server is to call it.
        version: Which one of that name; 0 for the next.
        key: The owner's; signs the request.
        url: Of the server, for the book.
        book: Remembers the upload; None forgets it with this process.
        progress: Is told how many bytes the server has, of how many.
    """

    source: SealedSource
    sha256: bytes
    model_id: bytes
    name: str
    version: int
    key: OwnerKey
    url: str = ""
    book: UploadBook | None = None
    progress: Callable[[int, int], None] | None = None

    @property
    def what(self) -> str:
        """The same push again has the same."""
        return f"{self.url} {self.name} {self.version} {self.sha256.hex()}"


def push(what: Push) -> Steps[int]:
    """Send a sealed file; return the version that it is now, 0 where the server does not say.

    Raises:
        InferonnxError: What the server has against it.
        UnavailableError: The server can't be reached, or does not take it.
    """
    check_name(what.name)
    upload, version, offset = yield from _begin(what)
    yield from _send_all(what, upload, offset)
    if what.book is not None:
        what.book.forget(what.what)
    return version


def _begin(what: Push) -> Steps[tuple[str, int, int]]:
    """Return the upload, the version that it will be, and how much the server has of it."""
    kept = what.book.find(what.what) if what.book is not None else None
    if kept is not None:
        upload, _, version = kept.partition(" ")
        try:
            offset = yield from _offset(what, upload)
        except NotFoundError:
            pass  # it has expired, or was finished: begin again
        else:
            return upload, int(version) if _DIGITS.fullmatch(version) else 0, offset
    upload, version_number = yield from _create(what)
    if what.book is not None:
        what.book.keep(what.what, f"{upload} {version_number}")
    return upload, version_number, 0


def _create(what: Push) -> Steps[tuple[str, int]]:
    which = "next" if what.version == NEXT_VERSION else str(what.version)
    request = Request(
        method="POST",
        path=f"{OWN}/models/{what.name}/versions/{which}/uploads",
        headers=(
            *TUS,
            ("Upload-Length", str(what.source.size)),
            ("Upload-Metadata", f"sha256 {b64encode(what.sha256.hex().encode()).decode()}"),
        ),
        pieces=(),
        wants_token=False,
    )
    response = check(
        (
            yield from signed_by_owner(
                request,
                Action.PUSH,
                what.name,
                what.version,
                model_id=what.model_id,
                key=what.key,
            )
        ),
        201,
    )
    upload = response.headers.get("location", "").rpartition("/")[2]
    if _ID.fullmatch(upload) is None or upload in (".", ".."):
        raise BadReplyError("the server takes the file, but does not say where")
    version = response.headers.get(VERSION_HEADER, "")
    return upload, int(version) if _DIGITS.fullmatch(version) else what.version


def _send_all(what: Push, upload: str, offset: int) -> Steps[None]:
    """Send piece after piece; after a break, from where the server has come.

    The last request is one that the server has said yes to, be it empty: only then has
    it verified the file.
    """
    size, n_failed, is_done = what.source.size, 0, False
    while not is_done:
        _tell(what, offset)
        piece = what.source.read(offset, min(PIECE_BYTES, size - offset))
        end = offset + len(piece)
        try:
            response = check((yield _append(what, upload, offset, piece)), 200, 204)
        except _BREAKS as error:
            before = offset
            offset, n_failed = yield from _resumed(what, upload, end, n_failed, error)
            n_failed = 0 if offset > before else n_failed
        else:
            offset, n_failed = _advanced(response, offset, end), 0
            is_done = offset == size
    _tell(what, offset)


def _advanced(response: Response, offset: int, end: int) -> int:
    """Return where the server has come with a piece from `offset` to `end`."""
    told = _told_offset(response, end)
    if not (offset < told <= end or told == offset == end):
        raise BadReplyError("the server takes the file, but not in order")
    return told


def _resumed(
    what: Push, upload: str, end: int, n_failed: int, error: InferonnxError
) -> Steps[tuple[int, int]]:
    """Return where the server has come, and how often asking has failed.

    Args:
        what: Is pushed.
        upload: Its name.
        end: Where it would be had the last request succeeded.
        n_failed: How often it failed already, without progress.
        error: Of the last request; raised when it has failed too often.
    """
    while n_failed < len(PAUSES_S):
        yield Pause(PAUSES_S[n_failed])
        n_failed += 1
        try:
            return (yield from _offset(what, upload)), n_failed
        except NotFoundError as gone:
            if isinstance(error, OipError):
                raise error from gone  # the server's last word on it
            if end < what.source.size:
                raise
            raise UnavailableError(  # nobody knows what became of it
                "the connection broke while the server verified the file",
                hint="See with `inferonnx list` whether it is there.",
            ) from gone
        except (UnavailableError, BusyError) as again:
            error = again
    raise error


def _append(what: Push, upload: str, offset: int, piece: bytearray) -> Request:
    is_last = offset + len(piece) == what.source.size
    verify_s = what.source.size / VERIFY_BYTES_S if is_last else 0
    return Request(
        method="PATCH",
        path=f"{OWN}/uploads/{upload}",
        headers=(*TUS, ("Upload-Offset", str(offset)), ("Content-Type", OFFSET_TYPE)),
        pieces=(piece,),
        wants_token=False,
        timeout_s=PIECE_TIMEOUT_S + verify_s,
    )


def _offset(what: Push, upload: str) -> Steps[int]:
    """Ask how much of the file the server has."""
    request = Request(
        method="HEAD",
        path=f"{OWN}/uploads/{upload}",
        headers=TUS,
        may_repeat=True,
        wants_token=False,
        timeout_s=PIECE_TIMEOUT_S,
    )
    offset = _told_offset(check((yield request), 200, 204), -1)
    if not 0 <= offset <= what.source.size:
        raise BadReplyError("the server does not say how much of the file it has")
    return offset


def _told_offset(response: Response, default: int) -> int:
    text = response.headers.get("upload-offset", "")
    return int(text) if _DIGITS.fullmatch(text) else default


def _tell(what: Push, offset: int) -> None:
    if what.progress is not None:
        what.progress(offset, what.source.size)
