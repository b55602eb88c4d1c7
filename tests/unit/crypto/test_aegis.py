"""libaegis itself, where it is installed."""

from __future__ import annotations

import mmap
import subprocess
import sys

import pytest

from inferonnx.crypto import AEGIS_256X2, Secret, aegis
from inferonnx.errors import UnavailableError
from machine import module_needs

module_needs(AEGIS_256X2.name)

KEY = Secret(bytes(range(32)))
NONCE = bytes(range(16, 48))


@pytest.fixture
def unloaded():
    """Forget the loaded library before and after."""
    aegis._library.cache_clear()
    yield
    aegis._library.cache_clear()


def test_aegis_256x2_has_its_known_answers():
    # draft-irtf-cfrg-aegis-aead, "AEGIS-256X2 Test Vectors", 1 and 2
    aead, empty = AEGIS_256X2.aead(KEY), bytearray()
    tag = aead.seal_in_place(NONCE, b"", memoryview(empty))
    assert tag.hex() == "25d7e799b49a80354c3f881ac2f1027f471a5d293052bd9997abd3ae84014bb7"

    buffer = bytearray(bytes([4, 5, 6, 7]) * 30)
    tag = aead.seal_in_place(NONCE, bytes([1, 2, 3, 4]) * 2, memoryview(buffer))
    assert buffer.hex() == (
        "72120c2ea8236180d67859001f4729077b7064c414384fe3a7b52f1571f4f8a7d0f01e18db4f3bc0adb150702e"
        "5d147a8d36522132761b994c1bd395589e2ccf0790dfe2a3d12d61cd666b2859827739db4037dd3124c7842445"
        "9376f6cac08e1a7223a2a43e398ce6385cd654a19f481cba3b8f25910b42"
    )
    assert tag.hex() == "b5668d3317159e9cc5d46e4803c3a76ad63bb42b3f47956d94f30db8cb366ad7"


def test_installed_library_is_available(unloaded):
    assert AEGIS_256X2.is_available()


def test_library_with_other_sizes_is_missing(unloaded, monkeypatch):
    monkeypatch.setattr(aegis, "TAG_BYTES", 16)
    with pytest.raises(UnavailableError):
        AEGIS_256X2.aead(KEY)


def test_buffer_is_let_go_when_the_call_ends():
    # A mapping can't be closed while something still points into it.
    aead = AEGIS_256X2.aead(KEY)
    memory = mmap.mmap(-1, 100)
    with memoryview(memory) as view:
        aead.open_in_place(NONCE, b"", aead.seal_in_place(NONCE, b"", view), view)
    memory.close()
    assert memory.closed


def test_package_itself_is_not_imported():
    # Its classes and their imports would cost the enclave 7 MiB.
    code = (
        "import sys; from inferonnx.crypto import AEGIS_256X2, Secret;"
        "AEGIS_256X2.aead(Secret(bytes(32)));"
        "sys.exit('pyaegis' in sys.modules or '_hashlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
