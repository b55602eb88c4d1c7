"""Files of the paper's form of encryption: one message each, bound to its name."""

import ctypes

import pytest

from inferonnx.bench.encrypted_files import OpenedFile, encrypt_file
from inferonnx.crypto import Secret
from inferonnx.errors import AuthenticationError, UsageError

KEY = Secret(bytes(range(32)))
HEAD_BYTES = 28


@pytest.fixture
def encrypted(tmp_path):
    (tmp_path / "plain").write_bytes(b"weights" * 1000)
    encrypt_file(str(tmp_path / "plain"), str(tmp_path / "a.aes"), KEY)
    return tmp_path / "a.aes"


def test_a_file_comes_back_from_its_encryption(encrypted):
    assert b"weights" not in encrypted.read_bytes()
    assert encrypted.stat().st_size == HEAD_BYTES + 7000
    opened = OpenedFile(str(encrypted), KEY)
    assert ctypes.string_at(opened.address, opened.n_bytes) == b"weights" * 1000


def test_no_two_files_share_a_nonce(encrypted):
    other = encrypted.with_name("b.aes")
    encrypt_file(str(encrypted.with_name("plain")), str(other), KEY)
    assert other.read_bytes()[:12] != encrypted.read_bytes()[:12]


@pytest.mark.parametrize("place", [0, 12, HEAD_BYTES, -1])
def test_a_changed_byte_is_refused(encrypted, place):
    content = bytearray(encrypted.read_bytes())
    content[place] ^= 1
    encrypted.write_bytes(content)
    with pytest.raises(AuthenticationError):
        OpenedFile(str(encrypted), KEY)


@pytest.mark.parametrize("n_bytes", [0, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1])
def test_a_short_file_is_refused(encrypted, n_bytes):
    encrypted.write_bytes(encrypted.read_bytes()[:n_bytes])
    with pytest.raises(AuthenticationError):
        OpenedFile(str(encrypted), KEY)


def test_another_name_or_key_is_refused(encrypted):
    with pytest.raises(AuthenticationError):
        OpenedFile(str(encrypted), Secret(bytes(32)))
    moved = encrypted.rename(encrypted.with_name("b.aes"))
    with pytest.raises(AuthenticationError):
        OpenedFile(str(moved), KEY)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        OpenedFile(str(tmp_path / "none"), KEY)
