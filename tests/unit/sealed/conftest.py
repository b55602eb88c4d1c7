"""What the tests of the sealed file share: vectors, the second reader, whole-file steps."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from inferonnx.errors import InferonnxError
from inferonnx.sealed import (
    HEADER_BYTES,
    FileCheck,
    Manifest,
    OwnerKey,
    Pin,
    SegmentOpener,
    check_pin,
    check_pinned_name,
    file_keys,
    open_manifest,
    parse_header,
    unwrap_data_key,
    verify_header,
)

if TYPE_CHECKING:
    from types import ModuleType

TESTS = Path(__file__).parents[2]


class Steps:
    """A whole file, checked and opened by the package's steps."""

    @staticmethod
    def check(data: bytes) -> bytes:
        """Return the model id of a file that passes the check without a key."""
        verified = verify_header(parse_header(data))
        body = FileCheck(verified, file_bytes=len(data))
        body.update(data[HEADER_BYTES:])
        body.finish()
        return verified.model_id

    @staticmethod
    def open(
        data: bytes, key: OwnerKey, pin: Pin | None, segments: list[bytes]
    ) -> tuple[bytes, Manifest]:
        """Return model id and manifest; `segments` gets each plaintext as it opens."""
        verified = verify_header(parse_header(data))
        if pin is not None:
            check_pin(pin, verified)
        keys = file_keys(verified, unwrap_data_key(verified, key))
        offset = verified.header.manifest_offset(len(data))
        manifest = open_manifest(keys, bytearray(data[offset:]), file_bytes=len(data))
        if pin is not None:
            check_pinned_name(pin, manifest)
        opener = SegmentOpener(keys, manifest)
        for i in range(opener.table.n_segments):
            start = opener.table.offset(i)
            buffer = bytearray(data[start : start + opener.table.length(i)])
            try:
                opener.open_in_place(i, memoryview(buffer))
            except InferonnxError:
                assert not any(buffer), "a buffer that failed is wiped"
                raise
            segments.append(bytes(buffer))
        return verified.model_id, manifest


@pytest.fixture(scope="session")
def steps() -> type[Steps]:
    return Steps


def vector_files() -> dict[str, bytes]:
    """Return the file of each vector of sealed.json, by the vector's name."""
    files: dict[str, bytes] = {}
    text = (TESTS / "vectors" / "sealed.json").read_text(encoding="ascii")
    for vector in json.loads(text)["vectors"]:
        file = vector["file"]
        if "whole" in file:
            data = base64.b64decode(file["whole"])
        else:
            base, at = files[file["of"]], file["at"]
            data = base[:at] + base64.b64decode(file["put"]) + base[at + file["cut"] :]
        files[vector["name"]] = data
    return files


def load_module(folder: str, name: str) -> ModuleType:
    """Import a script of the tests, whose neighbours it imports by name."""
    path = str(TESTS / folder)
    sys.path.insert(0, path)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(path)


@pytest.fixture(scope="session")
def second_reader() -> ModuleType:
    return load_module("reader", "sealed_reader")


@pytest.fixture(scope="session")
def forge() -> ModuleType:
    return load_module("vectors", "vector_forge")


@pytest.fixture(scope="session")
def generator() -> ModuleType:
    return load_module("vectors", "vector_generate")


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    return vector_files()


@pytest.fixture(scope="session")
def good_file(files: dict[str, bytes]) -> bytes:
    return files["good-aes-256-gcm"]
