"""Files on their way in, by the resumable upload protocol tus 1.0.0 (https://tus.io/).

Core protocol with the extensions creation, expiration and termination. An upload is
authorised once, by its owner's signature; its name, 128 random bits, is what goes on
with it. Each has a folder in `.uploads` with what was announced (`upload.json`) and
what has come (`data`), so that it survives a restart. All of it blocks, and is
called from threads.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from base64 import b64decode
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inferonnx.control import check_name
from inferonnx.errors import InferonnxError
from inferonnx.oip import (
    AlreadyExistsError,
    BusyError,
    InvalidRequestError,
    NotFoundError,
    StorageFullError,
)
from inferonnx.runtime.files import is_full, translate
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sealed import HEADER_BYTES
from inferonnx.server.repository import UPLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inferonnx.server.repository import Repository
    from inferonnx.server.stored import StoredModel

TUS_VERSION = "1.0.0"
TUS_EXTENSIONS = "creation,expiration,termination"
OFFSET_TYPE = "application/offset+octet-stream"

DATA_FILE = "data"
STATE_FILE = "upload.json"
ID_BYTES = 16

_ID = re.compile(f"[0-9a-f]{{{2 * ID_BYTES}}}")
_DIGITS = re.compile(r"[0-9]{1,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What was announced of a file.

    Attributes:
        id: Its name here.
        name: Of the model.
        version: Of it.
        owner: Public key of who announced it, hexadecimal.
        model_id: Of the model, hexadecimal.
        n_bytes: Length.
        sha256: Of the file, hexadecimal.
    """

    id: str
    name: str
    version: int
    owner: str
    model_id: str
    n_bytes: int
    sha256: str


def parse_length(text: str | None, header: str) -> int:
    """Return the number in a tus header.

    Raises:
        InvalidRequestError: It is none.
    """
    if text is None or _DIGITS.fullmatch(text) is None:
        raise InvalidRequestError(f"the header {header} is missing or no number")
    return int(text)


def parse_metadata(text: str) -> dict[str, str]:
    """Return what the header Upload-Metadata says: `key base64, key base64`.

    Raises:
        InvalidRequestError: It is malformed.
    """
    found: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        key, _, value = pair.strip().partition(" ")
        try:
            decoded = b64decode(value, validate=True).decode()
        except ValueError as error:
            raise InvalidRequestError("the header Upload-Metadata is malformed") from error
        if not key or key in found:
            raise InvalidRequestError("the header Upload-Metadata is malformed")
        found[key] = decoded
    return found


def parse_digest(metadata: dict[str, str]) -> str:
    """Return the SHA-256 that an upload announces.

    Raises:
        InvalidRequestError: It announces none.
    """
    digest = metadata.get("sha256", "")
    if _SHA256.fullmatch(digest) is None:
        raise InvalidRequestError("Upload-Metadata needs sha256: 64 hexadecimal digits")
    return digest


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
        """Find those that a restart has left.

        Args:
            repository: Where complete ones go.
            quota_bytes: What models and announced uploads may take together.
            max_uploads: How many at one time.
            expiry_s: Time after its last byte at which a half one is removed.
            clock_s: Seconds since 1970.
        """
        self._repository = repository
        self._folder = os.path.join(repository.folder, UPLOADS)
        self._quota, self._most, self._expiry_s = quota_bytes, max_uploads, expiry_s
        self._clock_s = clock_s
        self._known: dict[str, Upload] = {}
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        for entry in os.listdir(self._folder):
            upload = self._read(entry)
            if upload is None:
                shutil.rmtree(os.path.join(self._folder, entry), ignore_errors=True)
            else:
                self._known[upload.id] = upload

    def __len__(self) -> int:
        return len(self._known)

    def create(
        self, *, name: str, version: int, owner: bytes, model_id: bytes, n_bytes: int, sha256: str
    ) -> Upload:
        """Announce a file.

        Args:
            name: Of the model.
            version: Of it; 0 for the next.
            owner: Who signed the request.
            model_id: That was signed.
            n_bytes: Length of the file.
            sha256: Of the file.

        Raises:
            AlreadyExistsError, OwnerRefusedError: Name or version are taken.
            StorageFullError: The quota or the disk has no room.
            BusyError: Too many uploads are under way.
        """
        check_name(name)
        if n_bytes < HEADER_BYTES:
            raise InvalidRequestError(f"no sealed file is shorter than {HEADER_BYTES} bytes")
        self.expire()
        with self._lock:
            version = version or self._repository.next_version(name)
            self._repository.check_free(name, version, owner)
            if len(self._known) >= self._most:
                raise BusyError("too many uploads are under way", retry_after_s=60)
            announced = sum(upload.n_bytes for upload in self._known.values())
            if self._repository.used_bytes() + announced + n_bytes > self._quota:
                raise StorageFullError("the server's quota for models has no room for this one")
            upload = Upload(
                id=os.urandom(ID_BYTES).hex(),
                name=name,
                version=version,
                owner=owner.hex(),
                model_id=model_id.hex(),
                n_bytes=n_bytes,
                sha256=sha256,
            )
            self._write(upload)
            self._known[upload.id] = upload
        return upload

    def offset(self, upload: Upload) -> int:
        """Return how many bytes have come."""
        try:
            return os.stat(self._data(upload)).st_size
        except OSError as error:
            raise translate(error, "upload", "reading") from error

    def find(self, name: str) -> Upload:
        """Return an upload.

        Raises:
            NotFoundError: There is none of that name, or it has expired.
        """
        self.expire()
        upload = self._known.get(name) if _ID.fullmatch(name) else None
        if upload is None:
            raise NotFoundError("there is no such upload, or it has expired")
        return upload

    def expires_s(self, upload: Upload) -> float:
        """Return when an upload is removed if nothing more comes, in seconds since 1970."""
        try:
            return os.stat(self._data(upload)).st_mtime + self._expiry_s
        except OSError:
            return 0

    @contextmanager
    def appending(self, upload: Upload, offset: int) -> Iterator[Callable[[memoryview], None]]:
        """Give a function that appends to an upload, for one caller at a time.

        Raises:
            AlreadyExistsError: Another request is writing, or `offset` is not where it ends.
        """
        with self._lock:
            if upload.id in self._busy:
                raise AlreadyExistsError("another request is writing to this upload")
            self._busy.add(upload.id)
        try:
            have = self.offset(upload)
            if have != offset:
                raise AlreadyExistsError(f"the upload is at {have}, not at {offset}")
            with open(self._data(upload), "ab", buffering=0) as file:
                yield lambda view: _write_all(file.fileno(), view)
        except OSError as error:
            if is_full(error):
                raise StorageFullError("the server's disk is full") from error
            raise translate(error, "upload", "writing") from error
        finally:
            with self._lock:
                self._busy.discard(upload.id)

    def finish(self, upload: Upload) -> StoredModel:
        """Make a complete upload a model; whatever is wrong with it, the upload is over.

        Raises:
            InferonnxError: It is not what was announced, or not authentic.
        """
        with self._lock:
            try:
                return self._repository.install(
                    self._data(upload),
                    name=upload.name,
                    version=upload.version,
                    owner=bytes.fromhex(upload.owner),
                    model_id=bytes.fromhex(upload.model_id),
                    digest=bytes.fromhex(upload.sha256),
                )
            finally:
                self._forget(upload)

    def delete(self, upload: Upload) -> None:
        """End an upload.

        Raises:
            AlreadyExistsError: A request is writing to it.
        """
        with self._lock:
            if upload.id in self._busy:
                raise AlreadyExistsError("a request is writing to this upload")
            self._forget(upload)

    def expire(self) -> None:
        """Remove uploads that nobody has gone on with."""
        now = self._clock_s()
        with self._lock:
            for upload in tuple(self._known.values()):
                if upload.id not in self._busy and self.expires_s(upload) <= now:
                    self._forget(upload)

    def _forget(self, upload: Upload) -> None:
        self._known.pop(upload.id, None)
        shutil.rmtree(os.path.join(self._folder, upload.id), ignore_errors=True)

    def _data(self, upload: Upload) -> str:
        return os.path.join(self._folder, upload.id, DATA_FILE)

    def _write(self, upload: Upload) -> None:
        folder = os.path.join(self._folder, upload.id)
        try:
            os.mkdir(folder, mode=0o700)
            with open(self._data(upload), "xb"):
                pass
            with whole_file(os.path.join(folder, STATE_FILE), mode=0o600) as file:
                file.write(json.dumps(asdict(upload)).encode())
        except (OSError, InferonnxError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise StorageFullError("the server's disk takes no upload") from error

    def _read(self, entry: str) -> Upload | None:
        """Return the upload in a folder that a restart has left, None if it is none."""
        with suppress(OSError, ValueError, TypeError, InferonnxError):
            with open(os.path.join(self._folder, entry, STATE_FILE), "rb") as file:
                upload = Upload(**json.loads(file.read(4096)))
            check_name(upload.name)
            whole = isinstance(upload.n_bytes, int) and isinstance(upload.version, int)
            if whole and upload.id == entry and os.path.exists(self._data(upload)):
                return upload
        return None


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]
