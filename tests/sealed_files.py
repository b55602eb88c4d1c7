"""Sealed files in numbers: signed and whole for whoever has no key, and made in no time.

A real one (tests/golden) lends its header; owner, release and body are changed and
signed again. Who checks a file without its data key, as a server does, can't tell.
"""

from __future__ import annotations

import hashlib
import os
import random
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inferonnx.crypto import Secret, ed25519_public_key
from inferonnx.sealed import HEADER_BYTES, BodyHasher, encode_header, parse_header, verify_header
from inferonnx.sealed.header import sign_header
from inferonnx.server.upload_files import UploadFiles
from inferonnx.server.upload_state import Upload

if TYPE_CHECKING:
    from inferonnx.server.repository import Repository
    from inferonnx.server.stored import StoredModel

GOLDEN = Path(__file__).parent / "golden" / "releases" / "0.1.0" / "optimal.sealed"
MANIFEST_BYTES = 100

SEED, OTHER_SEED = Secret(bytes([1] * 32)), Secret(bytes([2] * 32))
OWNER, OTHER_OWNER = ed25519_public_key(SEED), ed25519_public_key(OTHER_SEED)


def make_file(
    number: int = 0, *, seed: Secret = SEED, release: int = 0, n_bytes: int = 5000
) -> bytes:
    """Return a sealed file; each number is another model."""
    body = random.Random(number).randbytes(n_bytes - HEADER_BYTES)
    hasher = BodyHasher()
    hasher.update(body)
    header = replace(
        parse_header(GOLDEN.read_bytes()),
        owner=ed25519_public_key(seed),
        release=release,
        manifest_bytes=MANIFEST_BYTES,
        manifest_sha256=hashlib.sha256(body[-MANIFEST_BYTES:]).digest(),
        root=hasher.root(),
    )
    return encode_header(sign_header(header, seed).header) + body


def announced(data: bytes, **changed: object) -> Upload:
    """Return the upload that announces a file, but for what is changed."""
    verified = verify_header(parse_header(data))
    fields = {
        "id": os.urandom(16).hex(),
        "name": "net",
        "version": 1,
        "owner": verified.header.owner,
        "model_id": verified.model_id,
        "n_bytes": len(data),
        "sha256": hashlib.sha256(data).digest(),
        "metadata": metadata_of(data),
    }
    return Upload(**(fields | changed))


def metadata_of(data: bytes) -> str:
    """Return the header Upload-Metadata that announces a file."""
    return "sha256 " + b64encode(hashlib.sha256(data).hexdigest().encode()).decode()


def put(repository: Repository, upload: Upload, data: bytes) -> None:
    """Let a file grow to its end."""
    files = UploadFiles(repository.incoming)
    files.make(upload)
    with open(files.open(upload), "wb") as file:
        file.write(data)


def bring(repository: Repository, data: bytes, **changed: object) -> StoredModel:
    """Install a file."""
    upload = announced(data, **changed)
    put(repository, upload, data)
    stored = repository.install(upload, repository.check(upload))
    UploadFiles(repository.incoming).forget(upload.id)
    return stored


def tree(folder: Path | str) -> dict[str, bytes]:
    """Return every file below a folder, by its path; links are no files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
