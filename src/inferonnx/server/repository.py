"""Sealed models in a folder: `DIR/<name>/<version>/model.sealed`, `DIR/<name>/owner`.

Rules of this file. All of it blocks: the server calls it from threads, one call at a
time. A name belongs to the owner who brought its first model, for ever: the file
`owner` stays when the last version goes. A version is never replaced. What is on the
way in or out lies under names that begin with a dot, which no model's can: in
`.uploads` until a file is complete, verified and synced, then one rename of its
folder makes it a version; one rename into `.trash` ends one. So a kill at any moment
leaves a version whole or absent, and what it leaves under a dot is removed at the
next start. The host owns this disk and may change all of it: what a model is says
its signature, never its place.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.control import check_name, parse_version
from inferonnx.crypto import Sha256, equal_bytes
from inferonnx.errors import (
    AuthenticationError,
    InferonnxError,
    OwnerRefusedError,
    PinError,
    UnavailableError,
)
from inferonnx.oip import AlreadyExistsError
from inferonnx.runtime.files import FileSource, read_file, translate
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sealed import HEADER_BYTES, FileCheck, VerifiedHeader, parse_header, verify_header
from inferonnx.server.stored import StoredModel
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL_FILE = "model.sealed"
OWNER_FILE = "owner"
UPLOADS = ".uploads"
TRASH = ".trash"
LOCK = ".lock"
CHUNK_BYTES = MIB


class Repository:
    """The folder of one server."""

    def __init__(self, folder: str) -> None:
        """Take the folder for this process alone, and clear what a kill has left.

        Raises:
            UsageError: It is no folder.
            UnavailableError: Another server has it, or it can't be written.
        """
        self.folder = folder
        try:
            os.makedirs(os.path.join(folder, UPLOADS), mode=0o700, exist_ok=True)
            self._lock = os.open(
                os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            shutil.rmtree(os.path.join(folder, TRASH), ignore_errors=True)
            os.makedirs(os.path.join(folder, TRASH), mode=0o700, exist_ok=True)
        except OSError as error:
            raise translate(error, folder, "preparing") from error
        self._take_lock()

    def close(self) -> None:
        """Let others have the folder."""
        os.close(self._lock)

    def scan(self) -> Iterator[StoredModel]:
        """Give every version; one that can't be served says why."""
        for name in _entries(self.folder):
            with suppress(InferonnxError):
                check_name(name)
                for number in _entries(os.path.join(self.folder, name)):
                    with suppress(InferonnxError):
                        if str(parse_version(number)) == number:
                            yield self._looked_at(name, int(number))

    def next_version(self, name: str) -> int:
        """Return one more than the highest version of a name, 1 for a new one."""
        highest = 0
        for entry in _entries(os.path.join(self.folder, name)):
            with suppress(InferonnxError):
                highest = max(highest, parse_version(entry))
        return highest + 1

    def check_free(self, name: str, version: int, owner: bytes) -> None:
        """Refuse a version that is there already, and a name of another owner.

        Raises:
            AlreadyExistsError, OwnerRefusedError: In this order.
        """
        if os.path.lexists(self._place(name, version)):
            raise AlreadyExistsError(
                f"model '{name}' has a version {version} already, and none is ever replaced"
            )
        known = self._owner_of(name)
        if known is not None and known != owner:
            raise OwnerRefusedError(f"the name '{name}' belongs to another owner")

    def install(
        self, source: str, *, name: str, version: int, owner: bytes, model_id: bytes, digest: bytes
    ) -> StoredModel:
        """Make a complete file a version; it moves there, or stays and an error says why.

        (1) Its owner signed it, and it is the one who was announced. (2) It is the model
        that was announced. (3) Its release is its version, or none was given. (4) All
        its bytes are what was signed, and (5) what was announced. (6) Name and version
        are free. Then it is synced and renamed.

        Args:
            source: A file alone in a folder of `UPLOADS`.
            name: Of the model.
            version: Of it.
            owner: Who announced it.
            model_id: As announced.
            digest: SHA-256 of the file, as announced.
        """
        verified = _verified(source)
        header = verified.header
        if header.owner != owner:  # (1)
            raise OwnerRefusedError("the file is signed by another owner than the request")
        if verified.model_id != model_id:  # (2)
            raise PinError("the file is another model than the request announced")
        if header.release not in (0, version):  # (3)
            raise PinError(
                f"the file's release is {header.release}, and can't be version {version}",
                hint="Push a release under its own number.",
            )
        _check_bytes(source, verified, digest)  # (4) (5)
        self.check_free(name, version, owner)  # (6)
        try:
            self._put(source, name, version, owner)
        except OSError as error:
            raise translate(error, name, "storing") from error
        return self._looked_at(name, version)

    def remove(self, name: str, version: int) -> None:
        """Delete a version; the name stays its owner's.

        Raises:
            UnavailableError: The disk refuses.
        """
        trash = os.path.join(self.folder, TRASH, f"{name}-{version}")
        try:
            shutil.rmtree(trash, ignore_errors=True)
            os.rename(self._place(name, version), trash)
            _sync_folder(os.path.join(self.folder, name))
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, name, "deleting") from error
        shutil.rmtree(trash, ignore_errors=True)

    def used_bytes(self) -> int:
        """Return what all models take on disk."""
        return sum(model.file_bytes for model in self.scan())

    def _put(self, source: str, name: str, version: int, owner: bytes) -> None:
        home = os.path.join(self.folder, name)
        os.makedirs(home, mode=0o755, exist_ok=True)
        if self._owner_of(name) is None:
            with whole_file(os.path.join(home, OWNER_FILE)) as file:
                file.write(owner.hex().encode() + b"\n")
        with open(source, "rb") as file:
            os.fsync(file.fileno())
        folder = os.path.dirname(source)
        complete = os.path.join(folder, MODEL_FILE)
        os.rename(source, complete)
        _sync_folder(folder)
        # A rename onto a folder that is not empty fails: no version is ever replaced.
        os.rename(folder, self._place(name, version))
        _sync_folder(home)
        _sync_folder(self.folder)

    def _looked_at(self, name: str, version: int) -> StoredModel:
        path = os.path.join(self._place(name, version), MODEL_FILE)
        try:
            size = os.stat(path).st_size
            verified = _verified(path)
        except OSError as error:
            problem = translate(error, MODEL_FILE, "reading").message
            return StoredModel(name=name, version=version, path=path, problem=problem)
        except InferonnxError as error:
            return StoredModel(
                name=name, version=version, path=path, file_bytes=size, problem=error.message
            )
        header, problem = verified.header, ""
        known = self._owner_of(name)
        if known is not None and known != header.owner:
            problem = "the name belongs to another owner than the one who signed the file"
        elif header.release not in (0, version):
            problem = f"its sealed release is {header.release}, and not the version of its folder"
        return StoredModel(
            name=name,
            version=version,
            path=path,
            owner=header.owner,
            model_id=verified.model_id,
            release=header.release,
            suite=header.suite.name,
            file_bytes=size,
            problem=problem,
        )

    def _owner_of(self, name: str) -> bytes | None:
        path = os.path.join(self.folder, name, OWNER_FILE)
        if not os.path.lexists(path):
            return None
        try:
            return bytes.fromhex(read_file(path, limit_bytes=128).decode().strip())
        except ValueError as error:
            raise UnavailableError(
                f"the file {OWNER_FILE!r} of model '{name}' is damaged",
                hint="It holds the owner's public key, 64 hexadecimal digits.",
            ) from error

    def _place(self, name: str, version: int) -> str:
        return os.path.join(self.folder, name, str(version))

    def _take_lock(self) -> None:
        try:
            import fcntl

            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise UnavailableError(
                f"another server uses the folder {self.folder!r}",
                hint="Stop it, or serve another folder.",
            ) from error
        except (ImportError, OSError):
            return  # a file system or library OS without locks


def _entries(folder: str) -> list[str]:
    try:
        return sorted(e.name for e in os.scandir(folder) if e.is_dir() and e.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise translate(error, folder, "reading") from error


def _verified(path: str) -> VerifiedHeader:
    source = FileSource(path)
    try:
        return verify_header(parse_header(source.read(0, min(HEADER_BYTES, source.size))))
    finally:
        source.close()


def _check_bytes(path: str, verified: VerifiedHeader, digest: bytes) -> None:
    """Read a file once, and hold it against the signed root and a SHA-256."""
    source = FileSource(path)
    try:
        check = FileCheck(verified, file_bytes=source.size)
        whole = Sha256()
        buffer = memoryview(bytearray(CHUNK_BYTES))
        whole.update(source.read(0, HEADER_BYTES))
        for offset in range(HEADER_BYTES, source.size, CHUNK_BYTES):
            view = buffer[: min(CHUNK_BYTES, source.size - offset)]
            source.read_into(offset, view)
            check.update(view)
            whole.update(view)
        check.finish()
    finally:
        source.close()
    if not equal_bytes(whole.digest(), digest):
        raise AuthenticationError


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
