"""Give a sealed file to another key in place of the one that opens it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.runtime.files import FileSource
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sealed import HEADER_BYTES, WRAP_SALT_BYTES, rewrap

if TYPE_CHECKING:
    from inferonnx.app.host.keys import Key

COPY_BYTES = 1 << 20


def rewrap_file(path: str, *, key: Key, new_key: Key) -> None:
    """Have `new_key` open a sealed file in place of `key`; weights, model id, signature stay.

    The file is written anew and replaced when that is complete.

    Raises:
        SealedFormatError, SignatureError, KeyMismatchError, AuthenticationError: The
            file is not authentic, `key` does not open it, or `new_key` signs differently.
        UnavailableError: The disk is full.
    """
    source = FileSource(path)
    try:
        new_header = rewrap(
            bytes(source.read(0, min(HEADER_BYTES, source.size))),
            key=key.owner,
            new_key=new_key.owner,
            salt=os.urandom(WRAP_SALT_BYTES),
        )
        with whole_file(path) as copy:
            copy.write(new_header)
            for offset in range(HEADER_BYTES, source.size, COPY_BYTES):
                copy.write(source.read(offset, min(COPY_BYTES, source.size - offset)))
    finally:
        source.close()
