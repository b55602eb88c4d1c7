"""Say what a sealed file is, and check every byte of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferonnx.app.host.opened_file import open_file
from inferonnx.app.host.opening import open_unplanned
from inferonnx.errors import UsageError
from inferonnx.runtime.files import FileSource
from inferonnx.sealed import (
    HEADER_BYTES,
    FileCheck,
    VerifiedHeader,
    describe_header,
    describe_manifest,
    parse_header,
    verify_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.app.host.keys import Key

CHUNK_BYTES = 1 << 22

NO_VECTOR = "none in the file"
"""In place of the check vector's answer: models whose samples are large are sealed without."""


def inspect(path: str, *, key: Key | None = None) -> dict[str, Any]:
    """Return what the header says, verified, and with the key what the manifest says."""
    if key is None:
        source = FileSource(path)
        try:
            return describe_header(_verified(source), file_bytes=source.size)
        finally:
            source.close()
    opened = open_file(path, key=key)
    try:
        facts = describe_header(opened.verified, file_bytes=opened.source.size)
        return facts | describe_manifest(opened.manifest)
    finally:
        opened.close()


def check(
    path: str,
    *,
    key: Key | None = None,
    run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Check a whole file; every problem is an error.

    (1) The header's signature. (2) With the key: the manifest, and every segment.
    (3) All bytes against the signed root. (4) With `run`: the check vector.

    Returns:
        model_id and owner (hexadecimal), file_bytes, segments_opened (None without
        a key), check_vector ("agrees", "none in the file", or None when not run).
    """
    if run and key is None:
        raise UsageError("the check vector can't be run without the key", hint="Give the key.")
    opened = open_file(path, key=key) if key else None
    source = opened.source if opened else FileSource(path)
    try:
        verified = opened.verified if opened else _verified(source)  # (1)
        checker = FileCheck(
            verified, file_bytes=source.size, opener=opened.opener if opened else None
        )
        buffer = bytearray(CHUNK_BYTES)
        for offset in range(HEADER_BYTES, source.size, CHUNK_BYTES):
            view = memoryview(buffer)[: min(CHUNK_BYTES, source.size - offset)]
            source.read_into(offset, view)
            checker.update(view)  # (2)
            progress(f"checked {offset * 100 // source.size} %")
        checker.finish()  # (3)
        n_opened = checker.n_opened if opened else None
        file_bytes = source.size
    finally:
        (opened or source).close()
    return {
        "model_id": verified.model_id.hex(),
        "owner": verified.header.owner.hex(),
        "file_bytes": file_bytes,
        "segments_opened": n_opened,
        "check_vector": _run_check(path, key) if run and key else None,  # (4)
    }


def _run_check(path: str, key: Key) -> str:
    from inferonnx.app.host.comparing import check_agreement, compare
    from inferonnx.tensors import parse_npy

    opened = open_file(path, key=key)
    vector = opened.manifest.check
    opened.close()
    if vector is None:
        return NO_VECTOR
    inputs = {name: parse_npy(bytes(data)) for name, data in vector.inputs.items()}
    known = {name: parse_npy(bytes(data)) for name, data in vector.outputs.items()}
    with open_unplanned(path, key=key) as session:
        names = [value.name for value in session.get_outputs()]
        results: list[Any] = session.run(names, inputs)
    check_agreement(compare(known, dict(zip(names, results, strict=True))))
    return "agrees"


def _verified(source: FileSource) -> VerifiedHeader:
    return verify_header(parse_header(source.read(0, min(HEADER_BYTES, source.size))))
