"""AEGIS-256X2 with 256-bit tags (draft-irtf-cfrg-aegis-aead), by libaegis.

libaegis comes inside the extension module of `pyaegis`. Its C functions are
called there directly: importing the package would cost the enclave 7 MiB, most
of it for classes that are not used here, the library itself half a MiB.
"""

from __future__ import annotations

import ctypes
import os.path
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from inferonnx.crypto.aead import WIPED, wipe
from inferonnx.errors import AuthenticationError, UnavailableError

if TYPE_CHECKING:
    from inferonnx.crypto.secret import Secret

T = TypeVar("T", bytes, bytearray)

KEY_BYTES = 32
NONCE_BYTES = 32
TAG_BYTES = 32

_POINTER, _BYTES, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t


class Aegis256x2:
    """AEGIS-256X2 under one key."""

    __slots__ = ("_key", "_key_place", "_open", "_seal")

    def __init__(self, key: Secret) -> None:
        """Prepare for `key`, 32 bytes.

        Raises:
            UnavailableError: libaegis is not installed.
        """
        library = _library()
        self._key = key.copy()
        memory = _sized(self._key.memory, KEY_BYTES, "key")
        self._key_place: ctypes.Array[ctypes.c_char] | None = (
            ctypes.c_char * KEY_BYTES
        ).from_buffer(memory)
        self._seal = library.aegis256x2_encrypt_detached
        self._open = library.aegis256x2_decrypt_detached

    def seal_in_place(self, nonce: bytes, aad: bytes, buffer: memoryview) -> bytes:
        """See `Aead.seal_in_place`."""
        _sized(nonce, NONCE_BYTES, "nonce")
        key = self._held()
        tag = ctypes.create_string_buffer(TAG_BYTES)
        hold, place = _place(buffer)
        size = len(buffer)
        self._seal(place, tag, TAG_BYTES, place, size, aad, len(aad), nonce, key)
        del hold
        return tag.raw

    def open_in_place(self, nonce: bytes, aad: bytes, tag: bytes, buffer: memoryview) -> None:
        """See `Aead.open_in_place`."""
        _sized(nonce, NONCE_BYTES, "nonce")
        _sized(tag, TAG_BYTES, "tag")
        key = self._held()
        hold, place = _place(buffer)
        size = len(buffer)
        try:
            failed = self._open(place, place, size, tag, TAG_BYTES, aad, len(aad), nonce, key)
            if failed:
                raise AuthenticationError
        except BaseException:
            # libaegis wipes too, but that is not part of what its header promises.
            wipe(buffer)
            raise
        finally:
            del hold

    def wipe(self) -> None:
        """See `Aead.wipe`."""
        self._key_place = None
        self._key.wipe()

    def _held(self) -> ctypes.Array[ctypes.c_char]:
        place = self._key_place
        if place is None:
            raise ValueError(WIPED)
        return place


def is_available() -> bool:
    """Return whether libaegis is installed and can be loaded."""
    try:
        _library()
    except UnavailableError:
        return False
    return True


def _place(buffer: memoryview) -> tuple[object, int | None]:
    """Return what keeps the memory of `buffer` in place, and its address."""
    if not len(buffer):
        return None, None
    first = ctypes.c_char.from_buffer(buffer)
    return first, ctypes.addressof(first)


def _sized(value: T, n_bytes: int, what: str) -> T:
    # ctypes passes an address without a length: a short value would be read past its end.
    if len(value) != n_bytes:
        raise ValueError(f"AEGIS-256X2 takes a {what} of {n_bytes} bytes, not {len(value)}")
    return value


@cache
def _library() -> ctypes.CDLL:
    # find_spec looks the package up without running it.
    spec = find_spec("pyaegis")
    folders = (spec.submodule_search_locations if spec else None) or ()
    paths = [
        os.path.join(folder, "_aegis_ffi" + end) for folder in folders for end in EXTENSION_SUFFIXES
    ]
    path = next((path for path in paths if os.path.isfile(path)), None)
    if path is None:
        raise _missing()
    try:
        library = ctypes.CDLL(path)
        library.aegis_init()  # chooses the code for this CPU
        sizes = [
            getattr(library, f"aegis256x2_{what}")()
            for what in ("keybytes", "npubbytes", "abytes_max")
        ]
        library.aegis256x2_encrypt_detached.argtypes = (
            _POINTER, _POINTER, _SIZE, _POINTER, _SIZE, _BYTES, _SIZE, _BYTES, _POINTER,
        )  # fmt: skip
        library.aegis256x2_decrypt_detached.argtypes = (
            _POINTER, _POINTER, _SIZE, _BYTES, _SIZE, _BYTES, _SIZE, _BYTES, _POINTER,
        )  # fmt: skip
    except (OSError, AttributeError) as error:
        raise _missing() from error
    if sizes != [KEY_BYTES, NONCE_BYTES, TAG_BYTES]:
        raise _missing()
    return library


def _missing() -> UnavailableError:
    return UnavailableError(
        "AEGIS-256X2 needs libaegis, which is not installed",
        hint="Run `pip install 'inferonnx[aegis]'`; it builds libaegis and needs a C compiler.",
    )
