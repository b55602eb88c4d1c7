"""Files on their way in: announced, grown piece by piece, verified, and then a model.

An upload is authorised once, by its owner's signature; its id is what goes on with
it. In `.uploads` it has a file `<id>.json`, what was announced, and a folder `<id>`
in which `model.sealed` grows: so it survives a restart. The folder becomes the
version's own. The file stays for a while, so that a client that never saw the last
reply can still ask. Whatever else lies in `.uploads` goes at the next start. What
blocks says so, and is called from threads; the rest is short.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.control import check_name
from inferonnx.control.names import MAX_VERSION
from inferonnx.errors import (
    InferonnxError,
    UnavailableError,
    UploadLockedError,
    UploadOffsetError,
)
from inferonnx.oip import (
    AlreadyExistsError,
    BusyError,
    InvalidRequestError,
    NotFoundError,
    StorageFullError,
    TooLargeError,
)
from inferonnx.sealed import HEADER_BYTES
from inferonnx.server.appending import Appender, LiveUpload
from inferonnx.server.disk import disk_errors
from inferonnx.server.upload_ends import EXPIRED, INSTALLED, UploadEnds
from inferonnx.server.upload_files import STATE, UploadFiles
from inferonnx.server.upload_state import ID_BYTES, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.server.repository import Repository
    from inferonnx.server.stored import StoredModel

MAY_PASS = (UnavailableError, UploadOffsetError)
"""Of verifying: the disk failed, or it is not time yet. The upload stays."""


class Progress(NamedTuple):
    """How far an upload is.

    Attributes:
        upload: What was announced.
        offset: Bytes that have come.
        expires_s: When it is removed if nothing more comes, in seconds since 1970.
        is_installed: It has become a version.
    """

    upload: Upload
    offset: int
    expires_s: float
    is_installed: bool


class Uploads:
    """The uploads of one repository; for many threads."""

    def __init__(
        self,
        repository: Repository,
        *,
        quota_bytes: int,
        max_uploads: int,
        expiry_s: int,
        clock_s: Callable[[], float],
    ) -> None:
        """Find those that a restart has left, and clear what is none.

        Args:
            repository: Where complete ones go.
            quota_bytes: What models and announced uploads may take together.
            max_uploads: How many at one time.
            expiry_s: Time after its last byte at which a half one is removed.
            clock_s: Seconds since 1970.

        Raises:
            UnavailableError: The disk fails.
        """
        self.quota_bytes = quota_bytes
        self._repository = repository
        self._files = UploadFiles(repository.incoming)
        self._most, self._expiry_s, self._clock_s = max_uploads, expiry_s, clock_s
        self._live: dict[str, LiveUpload] = {}
        self._ends = UploadEnds(expiry_s)
        self._lock = threading.Lock()  # of both; nothing waits for a disk under it
        self._creating = threading.Lock()  # one looks for room at a time
        with disk_errors("reading the uploads"):
            self._restore()

    def __len__(self) -> int:
        return len(self._live)

    def create(
        self,
        *,
        name: str,
        version: int,
        owner: bytes,
        model_id: bytes,
        n_bytes: int,
        sha256: bytes,
        metadata: str,
    ) -> Upload:
        """Announce a file. Blocks.

        An earlier announcement of the same file, on which nobody is writing, ends: its
        client has lost it.

        Args:
            name: Of the model.
            version: Of it; 0 for the next that is neither there nor announced.
            owner: Who signed the request.
            model_id: That was signed.
            n_bytes: Length of the file.
            sha256: Of the file.
            metadata: The header that said so.

        Raises:
            AlreadyExistsError, OwnerRefusedError: Name or version are taken.
            TooLargeError: All the quota would not hold it.
            StorageFullError: The quota or the disk has no room now.
            BusyError: Too many uploads are under way.
        """
        check_name(name)
        if n_bytes < HEADER_BYTES:
            raise InvalidRequestError(f"no sealed file is shorter than {HEADER_BYTES} bytes")
        if n_bytes > self.quota_bytes:
            raise TooLargeError("the file is larger than the server's quota for all models")
        self.expire()
        with self._creating:
            self._displace(name, version, owner, sha256)
            version = version or self._next_version(name)
            self._repository.check_free(name, version, owner)
            self._check_room(n_bytes)
            upload = Upload(
                id=os.urandom(ID_BYTES).hex(),
                name=name,
                version=version,
                owner=owner,
                model_id=model_id,
                n_bytes=n_bytes,
                sha256=sha256,
                metadata=metadata,
            )
            with disk_errors("announcing the upload"):
                self._files.make(upload)
            with self._lock:
                self._live[upload.id] = LiveUpload(upload, 0, self._clock_s())
        return upload

    def find(self, name: str) -> Progress:
        """Return how far an upload is, by its id.

        Raises:
            NotFoundError: There is none of that id.
            UploadEndedError: There was one; it has expired, was given up, or refused.
        """
        with self._lock:
            live = self._live.get(name)
            if live is not None and not self._is_expired(live):
                return Progress(live.upload, live.offset, self._expires_s(live), False)
            if (installed := self._ends.installed(name)) is not None:
                upload, expires_s = installed
                return Progress(upload, upload.n_bytes, expires_s, True)
            if live is None and name not in self._ends:
                raise NotFoundError("there is no such upload")
            raise self._ends.over(name)

    def append(self, upload: Upload, offset: int) -> Appender:
        """Return what appends to an upload, for one request at a time.

        Raises:
            UploadOffsetError: It does not end at `offset`.
            UploadLockedError: Another request is writing, or it is being verified.
            UploadEndedError: It is over.
        """
        live = self._claimed(upload)
        if live.offset != offset:
            self._let_go(live)
            raise UploadOffsetError(f"the upload is at {live.offset}, not at {offset}")
        return Appender(
            live,
            open_file=lambda: self._files.open(upload),
            clock_s=self._clock_s,
            closed=lambda over: self._after(live, over),
        )

    def finish(self, upload: Upload) -> StoredModel:
        """Verify a complete upload and make it a model; if it is refused, it is over. Blocks.

        Raises:
            InferonnxError: It is not what was announced, not authentic, or gone.
            StorageFullError: The disk has no room; the upload is over.
            UploadLockedError: Another request is writing, or it is being verified.
            UnavailableError: The disk fails; it can be tried again.
        """
        live = self._claimed(upload)
        try:
            if live.offset != upload.n_bytes:
                raise UploadOffsetError(f"the upload is at {live.offset}, and not complete")
            checked = self._repository.check(upload)
            with self._creating:  # in between, the file would count twice in the quota
                stored = self._repository.install(upload, checked)
                self._note_installed(live)
        except BaseException as error:
            if isinstance(error, InferonnxError) and not isinstance(error, MAY_PASS):
                self._end(live, error.message)
            else:
                self._let_go(live)
            raise
        return stored

    def delete(self, upload: Upload) -> None:
        """End an upload. Blocks.

        Raises:
            UploadLockedError: A request is writing to it, or it is being verified.
            UploadEndedError: It is over, or has become a model.
        """
        self._end(self._claimed(upload), "its client gave it up")

    def expire(self) -> None:
        """Remove uploads that nobody has gone on with. Blocks."""
        now = self._clock_s()
        with self._lock:
            for live in self._live.values():  # where the clock was turned back they are new
                live.touched_s = min(live.touched_s, now)
            old = [live for live in self._live.values() if self._is_expired(live)]
            for live in old:
                live.is_busy = True
            told = self._ends.expire(now)
        for live in old:
            self._end(live, EXPIRED)
        for name in told:
            self._files.forget(name)

    # Inside. Who has claimed an upload lets it go, or ends it.

    def _claimed(self, upload: Upload) -> LiveUpload:
        with self._lock:
            live = self._live.get(upload.id)
            if live is None or self._is_expired(live):
                raise self._ends.over(upload.id)
            if live.is_busy:
                raise UploadLockedError("another request is under way for this upload")
            live.is_busy = True
        return live

    def _let_go(self, live: LiveUpload) -> None:
        with self._lock:
            live.touched_s = self._clock_s()
            live.is_busy = False

    def _after(self, live: LiveUpload, over: str | None) -> None:
        if over is None:
            self._let_go(live)
        else:
            self._end(live, over)

    def _end(self, live: LiveUpload, reason: str) -> None:
        name = live.upload.id
        with self._lock:
            del self._live[name]
            self._ends.note(name, reason)
        self._files.remove(name)

    def _note_installed(self, live: LiveUpload) -> None:
        name = live.upload.id
        with self._lock:
            del self._live[name]
            self._ends.note(name, INSTALLED)
            forgotten = self._ends.note_installed(live.upload, self._clock_s())
        if forgotten is not None:
            self._files.forget(forgotten)

    def _is_expired(self, live: LiveUpload) -> bool:
        return not live.is_busy and self._expires_s(live) <= self._clock_s()

    def _expires_s(self, live: LiveUpload) -> float:
        return live.touched_s + self._expiry_s

    def _displace(self, name: str, version: int, owner: bytes, sha256: bytes) -> None:
        with self._lock:
            same = [
                live
                for live in self._live.values()
                if not live.is_busy
                and (live.upload.name, live.upload.owner) == (name, owner)
                and live.upload.sha256 == sha256
                and version in (0, live.upload.version)
            ]
            for live in same:
                live.is_busy = True
        for live in same:
            self._end(live, "the same file was announced again")

    def _next_version(self, name: str) -> int:
        with self._lock:
            announced = [
                live.upload.version for live in self._live.values() if live.upload.name == name
            ]
        version = max(self._repository.next_version(name), *(v + 1 for v in announced), 1)
        if version > MAX_VERSION:
            raise AlreadyExistsError(f"model '{name}' has the highest version that there is")
        return version

    def _check_room(self, n_bytes: int) -> None:
        with self._lock:
            live = tuple(self._live.values())
        if len(live) >= self._most:
            raise BusyError("too many uploads are under way", retry_after_s=60)
        announced = sum(one.upload.n_bytes for one in live)
        if self._repository.used_bytes() + announced + n_bytes > self.quota_bytes:
            raise StorageFullError("the server's quota for models has no room for this one")
        missing = sum(one.upload.n_bytes - one.offset for one in live)
        free = self._files.free_bytes()
        if free is not None and missing + n_bytes > free:
            raise StorageFullError("the server's disk has no room for this model")

    def _restore(self) -> None:
        keep = set()
        for upload, n_bytes, last_s in self._files.kept():
            name = upload.id
            if n_bytes is not None:
                self._live[name] = LiveUpload(upload, n_bytes, min(last_s, self._clock_s()))
                keep |= {name, name + STATE}
            elif not self._ends.is_full and self._has_become(upload):
                self._ends.note_installed(upload, self._clock_s())
                keep.add(name + STATE)
        self._files.clear(but=keep)

    def _has_become(self, upload: Upload) -> bool:
        found = self._repository.find(upload.name, upload.version)
        return not found.problem and found.model_id == upload.model_id
