"""AEGIS-256X2 where libaegis is not installed, or not as it should be."""

from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.bindings import _rust

from inferonnx.crypto import AEGIS_256X2, Secret, aegis
from inferonnx.errors import AuthenticationError, UnavailableError

KEY = Secret(bytes(range(32)))
NONCE = bytes(range(16, 48))


@pytest.fixture
def package(without_aegis, monkeypatch, tmp_path):
    """An installed package `pyaegis` with nothing in it."""
    monkeypatch.delitem(sys.modules, "pyaegis")
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "pyaegis"
    folder.mkdir()
    (folder / "__init__.py").touch()
    return folder


def refusal() -> UnavailableError:
    assert not AEGIS_256X2.is_available()
    with pytest.raises(UnavailableError) as caught:
        AEGIS_256X2.aead(KEY)
    return caught.value


def test_missing_library_says_what_to_install(without_aegis):
    error = refusal()
    assert "needs libaegis" in error.message
    assert "pip install 'inferonnx[aegis]'" in error.hint
    assert "C compiler" in error.hint


def test_package_without_its_extension_is_missing(package):
    assert refusal().__cause__ is None


def test_file_that_is_no_library_is_missing(package):
    (package / f"_aegis_ffi{aegis.EXTENSION_SUFFIXES[0]}").write_text("not a library")
    assert isinstance(refusal().__cause__, OSError)


def test_library_without_the_functions_is_missing(package):
    (package / f"_aegis_ffi{aegis.EXTENSION_SUFFIXES[0]}").symlink_to(_rust.__file__)
    assert isinstance(refusal().__cause__, AttributeError)


def test_buffer_is_wiped_by_us_whatever_the_library_left_in_it(monkeypatch):
    class Careless:
        """A library that fails with plaintext in the buffer."""

        aegis256x2_encrypt_detached = None

        @staticmethod
        def aegis256x2_decrypt_detached(place, *_):
            aegis.ctypes.memset(place, 0x41, 9)
            return -1

    monkeypatch.setattr(aegis, "_library", Careless)
    buffer = bytearray(9)
    with pytest.raises(AuthenticationError):
        AEGIS_256X2.aead(KEY).open_in_place(NONCE, b"", bytes(32), memoryview(buffer))
    assert buffer == bytes(9)
