"""Files encrypted one by one, as the paper's system keeps a model's partitions on disk.

A file is nonce, tag and ciphertext of one AES-256-GCM message; its name is the
associated data. The whole file is decrypted before anybody sees a byte of it, so
whoever loads from it holds it twice for a moment. For measurements of others: our own
sealed file is another thing (docs/sealed-format.md).
"""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

from inferonnx.crypto import AES_256_GCM
from inferonnx.errors import AuthenticationError, UsageError
from inferonnx.runtime.files import FileSource, read_file
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from inferonnx.crypto import Secret

_HEAD_BYTES = AES_256_GCM.nonce_bytes + AES_256_GCM.tag_bytes
_MOST_BYTES = 2**31 - 1
"""What OpenSSL takes in one piece."""


class OpenedFile:
    """The plaintext of a file, in pages of its own that go with it.

    Attributes:
        address: Of its first byte.
        n_bytes: Its length.
    """

    def __init__(self, path: str, key: Secret) -> None:
        """Read and decrypt the whole file.

        Raises:
            AuthenticationError: Key, name or content are not those of the encryption.
            UsageError, UnavailableError: It can't be read.
        """
        source = FileSource(path)
        try:
            self.n_bytes = source.size - _HEAD_BYTES
            if self.n_bytes < 1:
                raise AuthenticationError
            head = bytearray(_HEAD_BYTES)
            source.read_into(0, memoryview(head))
            self._map = mmap.mmap(-1, self.n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            source.read_into(_HEAD_BYTES, memoryview(self._map))
        finally:
            source.close()
        nonce, tag = bytes(head[: AES_256_GCM.nonce_bytes]), bytes(head[AES_256_GCM.nonce_bytes :])
        AES_256_GCM.aead(key).open_in_place(nonce, _name(path), tag, memoryview(self._map))
        self.address = ctypes.addressof((ctypes.c_char * self.n_bytes).from_buffer(self._map))


def encrypt_file(source: str, target: str, key: Secret) -> None:
    """Write `source` encrypted to `target`.

    Raises:
        UsageError, UnavailableError: One can't be read or the other not be written; the
            source is above 2 GiB.
    """
    content = bytearray(read_file(source))
    if len(content) > _MOST_BYTES:
        raise UsageError(f"{source!r} has more than the 2 GiB that one message can have")
    nonce = os.urandom(AES_256_GCM.nonce_bytes)
    tag = AES_256_GCM.aead(key).seal_in_place(nonce, _name(target), memoryview(content))
    with whole_file(target, inputs=[source]) as file:
        file.write(nonce + tag)
        file.write(content)


def _name(path: str) -> bytes:
    return os.fsencode(os.path.basename(path))
