"""Sealed files as the repository sees them: the public header of one, every byte of another.

A file that is taken in is read whole, once. One that is there already shows its header
alone: its owner's signature over that fixes all the rest, and each byte is checked
again before it is used.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.crypto import Sha256, equal_bytes
from inferonnx.errors import InferonnxError, OwnerRefusedError, PinError, UnavailableError
from inferonnx.runtime.folders import open_folder
from inferonnx.sealed import HEADER_BYTES, FileCheck, VerifiedHeader, parse_header, verify_header
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferonnx.server.upload_state import Upload

MODEL_FILE = "model.sealed"

CHECK_BYTES = 256 * KIB
"""Read and hashed at once: enough to let other threads run meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """One version of a model on disk.

    Attributes:
        name: Of its folder; what clients call it.
        version: Of its folder; 0 where the folder of the name can't be read.
        path: The sealed file.
        owner: Ed25519 public key that signed it; empty where the file can't be read.
        model_id: Identity of the sealed model; empty where the file can't be read.
        release: The owner's count, 0 when not numbered.
        suite: Name of its AEAD suite.
        file_bytes: Size.
        refusal: Why it can't be served; None when it can.
    """

    name: str
    version: int
    path: str
    owner: bytes = b""
    model_id: bytes = b""
    release: int = 0
    suite: str = ""
    file_bytes: int = 0
    refusal: InferonnxError | None = None

    @property
    def problem(self) -> str:
        """Why it can't be served, one sentence; empty when it can."""
        return "" if self.refusal is None else self.refusal.message


class CheckedFile(NamedTuple):
    """A file that is, byte for byte, what was announced; made by `check_file` alone."""

    verified: VerifiedHeader
    n_bytes: int


def look_at(path: str, *, name: str, version: int, owner: bytes | None) -> StoredModel:
    """Return what a file's header says, and whether it may stand where it stands.

    Args:
        path: The file; links are followed.
        name: Of its folder.
        version: Of its folder.
        owner: Whose the name is; None where nobody's yet.
    """
    n_bytes = 0
    try:
        n_bytes, data = _beginning(path)
        verified = verify_header(parse_header(data))
        verified.header.manifest_offset(n_bytes)  # refuses a file that is cut short
    except InferonnxError as error:
        return StoredModel(
            name=name, version=version, path=path, file_bytes=n_bytes, refusal=error.again()
        )
    header = verified.header
    refusal: InferonnxError | None = None
    if owner is not None and owner != header.owner:
        refusal = OwnerRefusedError(
            "the name belongs to another owner than the one who signed the file"
        )
    elif header.release not in (0, version):
        refusal = PinError(
            f"its sealed release is {header.release}, and not the version of its folder"
        )
    return StoredModel(
        name=name,
        version=version,
        path=path,
        owner=header.owner,
        model_id=verified.model_id,
        release=header.release,
        suite=header.suite.name,
        file_bytes=n_bytes,
        refusal=refusal,
    )


def check_incoming(incoming: int, upload: Upload) -> CheckedFile:
    """Check and sync a file that has come whole, `incoming/<id>/model.sealed`.

    Args:
        incoming: Descriptor of the folder of uploads.
        upload: What was announced.

    Raises:
        InferonnxError: As `check_file`; or the host has meanwhile put something else in
            the file's place, or changed its length.
        OSError: The disk fails, or the file is not there.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with ExitStack() as stack:
        folder = open_folder(upload.id, at=incoming)
        stack.callback(os.close, folder)
        file = os.open(MODEL_FILE, flags, dir_fd=folder)
        stack.callback(os.close, file)
        checked = check_file(file, upload)
        os.fsync(file)
        os.fsync(folder)
        there = os.stat(MODEL_FILE, dir_fd=folder, follow_symlinks=False)
        if not os.path.samestat(there, os.fstat(file)) or there.st_size != checked.n_bytes:
            raise PinError(
                "the server's host has changed the file while it was verified",
                hint="Push it again.",
            )
    return checked


def check_file(file: int, upload: Upload) -> CheckedFile:
    """Read as much of a file as was announced, once, and hold it against that and the signature.

    (1) An owner signed it, and it is the one who announced it. (2) It is the model that
    was announced. (3) Its release is its version, or it has none. (4) Its SHA-256 is the
    one that was announced. (5) All its bytes are what was signed.

    Args:
        file: Descriptor of a regular file.
        upload: What was announced.

    Raises:
        SealedFormatError, SignatureError, OwnerRefusedError: (1) fails.
        PinError: (2), (3) or (4) fails.
        AuthenticationError: (5) fails.
        OSError: The disk does.
    """
    beginning = os.pread(file, HEADER_BYTES, 0)
    verified = verify_header(parse_header(beginning))
    header = verified.header
    if header.owner != upload.owner:  # (1)
        raise OwnerRefusedError("the file is signed by another owner than the request")
    if verified.model_id != upload.model_id:  # (2)
        raise PinError(
            "the file is another model than the request announced", hint="Push it by its own id."
        )
    if header.release not in (0, upload.version):  # (3)
        raise PinError(
            f"the file's release is {header.release}, and can't be version {upload.version}",
            hint="Push a release under its own number.",
        )
    check, whole = FileCheck(verified, file_bytes=upload.n_bytes), Sha256()
    whole.update(beginning)
    for view in _rest(file, upload.n_bytes):
        check.update(view)
        whole.update(view)
    if not equal_bytes(whole.digest(), upload.sha256):  # (4)
        raise PinError(
            "the SHA-256 of what has come is not the one that was announced",
            hint="Push it again; does the file change meanwhile?",
        )
    check.finish()  # (5)
    return CheckedFile(verified, upload.n_bytes)


def _rest(file: int, end: int) -> Iterator[memoryview]:
    """Give what follows the header, in one buffer; the host may have made the file longer."""
    buffer = memoryview(bytearray(CHECK_BYTES))
    offset = HEADER_BYTES
    while n := os.preadv(file, [buffer[: end - offset]], offset):
        yield buffer[:n]
        offset += n


def _beginning(path: str) -> tuple[int, bytes]:
    """Return a file's size, and its header.

    Raises:
        UnavailableError: It can't be read, is not there, or is no file.
    """
    try:
        # Who opens a pipe waits for its writer, unless it says that it does not.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise UnavailableError(f"its {MODEL_FILE} is no regular file")
            return status.st_size, os.pread(file, HEADER_BYTES, 0)
        finally:
            os.close(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnavailableError(f"there is no {MODEL_FILE} in its folder") from error
    except OSError as error:
        raise UnavailableError(f"its {MODEL_FILE} can't be read: {error.strerror}") from error
