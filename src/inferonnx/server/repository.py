"""Sealed models in a folder: `DIR/<name>/<version>/model.sealed`, `DIR/<name>/owner`.

Rules of this file. All of it blocks, and may be called from any thread. A name
belongs to the owner who brought its first model, for ever: the file `owner` stays
when the last version goes. A version is never replaced. What is on the way in or
out lies under names that begin with a dot, which no model's can: in `.uploads` until
a file is complete, verified and synced, then one rename of its folder makes it a
version; one rename into `.trash` ends one. So a kill at any moment leaves a version
whole or absent, and what it leaves under a dot goes at the next start. The host owns
this disk and may change all of it: what a model is says its signature, never its
place. Links that the host made are followed to read, never to write or remove.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from inferonnx.control import check_name, parse_version
from inferonnx.errors import InferonnxError, ModelNameError, OwnerRefusedError, UnavailableError
from inferonnx.oip import AlreadyExistsError
from inferonnx.runtime.files import translate
from inferonnx.runtime.folders import (
    is_there,
    make_folder,
    open_folder,
    remove_tree,
)
from inferonnx.server.disk import disk_errors, lock_folder, upload_errors
from inferonnx.server.homes import Homes, written_owner
from inferonnx.server.stored import MODEL_FILE, StoredModel, check_incoming, look_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferonnx.server.stored import CheckedFile
    from inferonnx.server.upload_state import Upload

UPLOADS = ".uploads"
TRASH = ".trash"


class Repository:
    """The folder of one server.

    Attributes:
        folder: Its path.
        incoming: Descriptor of the folder in which files grow, `UPLOADS`.
    """

    def __init__(self, folder: str) -> None:
        """Take the folder for this process alone, and clear what a kill has left of deletes.

        Raises:
            UsageError: It is no folder.
            UnavailableError: Another server has it, or it can't be written.
        """
        self.folder = folder
        self._changing = threading.Lock()
        self._used_bytes: int | None = None
        with ExitStack() as stack:
            try:
                os.makedirs(folder, exist_ok=True)
                self._root = open_folder(folder, follow=True)
                stack.callback(os.close, self._root)
                self._lock = lock_folder(self._root, folder)  # before anything goes
                stack.callback(os.close, self._lock)
                self._trash = make_folder(TRASH, at=self._root)
                stack.callback(os.close, self._trash)
                for entry in os.listdir(self._trash):
                    remove_tree(entry, at=self._trash)
                self.incoming = make_folder(UPLOADS, at=self._root)
            except OSError as error:
                raise translate(error, folder, "preparing") from error
            stack.pop_all()
        self._homes = Homes(self._root, self.incoming)
        self._is_open = True

    def close(self) -> None:
        """Let others have the folder, after changes under way; again does nothing.

        The folders stay open as long as anybody holds this object: a thread that still
        writes to an upload must never write through a number that has become another
        file's.
        """
        with self._changing:
            if self._is_open:
                self._is_open = False
                os.close(self._lock)

    def __del__(self) -> None:
        if getattr(self, "_is_open", None) is not None:  # else it was never made
            self.close()
            for folder in (self.incoming, self._trash, self._root):
                os.close(folder)

    def scan(self) -> Iterator[StoredModel]:
        """Give every version, one after the other; one that can't be served says why.

        Raises:
            UnavailableError: The whole folder can't be read.
        """
        for name in self._names():
            try:
                numbers = self._numbers(name)
            except UnavailableError as error:
                path = os.path.join(self.folder, name)
                yield StoredModel(name=name, version=0, path=path, refusal=error.again())
                continue
            if numbers:
                yield from self._versions(name, numbers)

    def find(self, name: str, version: int) -> StoredModel:
        """Return one version; that it is not there is its problem."""
        path = self._path(name, version)
        return look_at(path, name=name, version=version, owner=None)

    def next_version(self, name: str) -> int:
        """Return one more than the highest version of a name, 1 for a new one."""
        return max(self._numbers(name), default=0) + 1

    def check_free(self, name: str, version: int, owner: bytes) -> None:
        """Refuse a version that is there already, and a name of another owner.

        Raises:
            AlreadyExistsError, OwnerRefusedError: In this order.
            UnavailableError: It can't be found out, or nothing can be stored there.
        """
        with disk_errors("looking for the model"), self._homes.opened(name) as home:
            if home is None:
                return
            if is_there(str(version), at=home):
                raise AlreadyExistsError(
                    f"model '{name}' has a version {version} already, and none is ever replaced"
                )
            if self._owner_of(name, home) not in (None, owner):
                raise OwnerRefusedError(f"the name '{name}' belongs to another owner")

    def check(self, upload: Upload) -> CheckedFile:
        """Verify and sync a file that has come whole, `incoming/<id>/model.sealed`.

        Raises:
            InferonnxError: It is not what was announced, not authentic, or gone.
            StorageFullError: The disk had no room for it after all.
            UnavailableError: The disk fails.
        """
        with upload_errors("verifying the upload"):
            return check_incoming(self.incoming, upload)

    def install(self, upload: Upload, checked: CheckedFile) -> StoredModel:
        """Make a checked file a version: all of it is there afterwards, or nothing.

        Raises:
            AlreadyExistsError, OwnerRefusedError: Version or name have been taken meanwhile.
            StorageFullError: The disk has no room for a folder.
            UnavailableError: The disk fails.
        """
        with self._change(), disk_errors("storing the model"):
            self.check_free(upload.name, upload.version, upload.owner)
            used_bytes = self._counted()
            is_new = self._homes.make(upload.name, upload.owner)
            home = open_folder(upload.name, at=self._root)
            try:
                self._move_in(upload, home)
            except OSError:
                if is_new:
                    self._homes.unmake(upload.name, home)
                raise
            finally:
                os.close(home)
            self._used_bytes = used_bytes + checked.n_bytes
        return self.find(upload.name, upload.version)

    def remove(self, name: str, version: int) -> None:
        """Delete a version, if it is there; the name stays its owner's.

        Raises:
            UnavailableError: The disk refuses.
        """
        trash = os.urandom(8).hex()
        with self._change(), disk_errors("deleting the model"), self._homes.opened(name) as home:
            if home is None or not is_there(str(version), at=home):
                return
            left_bytes = self._counted() - self._file_bytes(name, version)
            os.rename(str(version), trash, src_dir_fd=home, dst_dir_fd=self._trash)
            try:
                os.fsync(home)
            except OSError:
                os.rename(trash, str(version), src_dir_fd=self._trash, dst_dir_fd=home)
                raise
            self._used_bytes = max(0, left_bytes)
        remove_tree(trash, at=self._trash)  # a large file takes its time; others go on

    def used_bytes(self) -> int:
        """Return what all models take on disk; counted once, then kept up to date."""
        with self._changing:
            self._used_bytes = self._counted()
            return self._used_bytes

    # Inside.

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Let one thread at a time change names and versions, and none after `close`."""
        with self._changing:
            if not self._is_open:
                raise UnavailableError("the server is about to end")
            yield

    def _names(self) -> list[str]:
        with disk_errors("reading the folder of models"):
            return sorted(filter(_is_name, os.listdir(self.folder)))

    def _numbers(self, name: str) -> list[int]:
        """Return the versions of a name, rising; none where it has no folder.

        Raises:
            UnavailableError: Its folder can't be read.
        """
        with disk_errors(f"reading the folder of model '{name}'"):
            try:
                entries = os.listdir(os.path.join(self.folder, name))
            except (FileNotFoundError, NotADirectoryError):
                return []
        return sorted(int(entry) for entry in entries if _is_version(entry))

    def _versions(self, name: str, numbers: list[int]) -> Iterator[StoredModel]:
        owner: bytes | None = None
        refusal: InferonnxError | None = None
        try:
            with self._homes.opened(name, follow=True) as home:
                owner = None if home is None else written_owner(name, home)
        except InferonnxError as error:
            refusal = error.again()
        for number in numbers:
            path = self._path(name, number)
            found = look_at(path, name=name, version=number, owner=owner)
            if refusal is not None:
                found = replace(found, refusal=found.refusal or refusal)
            elif owner is None:
                owner = found.owner or None  # where the host put them there, the first one counts
            yield found

    def _owner_of(self, name: str, home: int) -> bytes | None:
        """Return whose a name is: by its file, else by its first version, None for nobody's."""
        owner = written_owner(name, home)
        if owner is not None:
            return owner
        return next((m.owner for m in self._versions(name, self._numbers(name)) if m.owner), None)

    def _move_in(self, upload: Upload, home: int) -> None:
        """Rename the folder of an upload to that of a version, and make that last."""
        version = str(upload.version)
        os.rename(upload.id, version, src_dir_fd=self.incoming, dst_dir_fd=home)
        try:
            os.fsync(home)
            os.fsync(self.incoming)
        except OSError:
            os.rename(version, upload.id, src_dir_fd=home, dst_dir_fd=self.incoming)
            raise

    def _counted(self) -> int:
        if self._used_bytes is None:
            total = 0
            for name in self._names():
                with suppress(UnavailableError):
                    total += sum(self._file_bytes(name, n) for n in self._numbers(name))
            self._used_bytes = total
        return self._used_bytes

    def _file_bytes(self, name: str, version: int) -> int:
        try:
            return os.stat(self._path(name, version)).st_size
        except OSError:
            return 0

    def _path(self, name: str, version: int) -> str:
        return os.path.join(self.folder, name, str(version), MODEL_FILE)


def _is_name(entry: str) -> bool:
    with suppress(ModelNameError):
        check_name(entry)
        return True
    return False


def _is_version(entry: str) -> bool:
    with suppress(ModelNameError):
        return str(parse_version(entry)) == entry
    return False
