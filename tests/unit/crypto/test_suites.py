"""What every suite promises: in place, detached tags, exact sizes, wiped on failure."""

from __future__ import annotations

import mmap
import threading

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.crypto import AES_256_GCM, Secret, aes_gcm
from inferonnx.errors import AuthenticationError
from machine import EACH_SUITE

KEY = Secret(bytes(range(32)))
EDGES = [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 4096, (1 << 20) - 1, 1 << 20]


def pattern(n_bytes: int) -> bytes:
    return (bytes(range(251)) * (n_bytes // 251 + 1))[:n_bytes]


@EACH_SUITE
@pytest.mark.parametrize("n_bytes", EDGES)
@pytest.mark.parametrize("offset", [0, 1, 64])
def test_buffer_is_sealed_and_opened_in_place_and_nothing_around_it_changes(suite, n_bytes, offset):
    # A slice of a mapping, at any alignment, without slack: as segments lie in a block.
    aead, nonce = suite.aead(KEY), suite.nonce(n_bytes)
    with mmap.mmap(-1, offset + n_bytes + 64) as memory:
        memory[:] = b"\xa5" * len(memory)
        memory[offset : offset + n_bytes] = pattern(n_bytes)
        with memoryview(memory) as whole, whole[offset : offset + n_bytes] as buffer:
            tag = aead.seal_in_place(nonce, b"aad", buffer)
            sealed = bytes(buffer)
            aead.open_in_place(nonce, b"aad", tag, buffer)
            assert bytes(buffer) == pattern(n_bytes)
        assert len(tag) == suite.tag_bytes
        assert n_bytes < 16 or sealed != pattern(n_bytes)
        assert memory[:offset] == b"\xa5" * offset
        assert memory[offset + n_bytes :] == b"\xa5" * 64


@EACH_SUITE
@given(data=st.binary(max_size=100), aad=st.binary(max_size=40), counter=st.integers(0, 2**64))
def test_whatever_is_sealed_opens(suite, data, aad, counter):
    aead, buffer = suite.aead(KEY), bytearray(data)
    tag = aead.seal_in_place(suite.nonce(counter), aad, memoryview(buffer))
    aead.open_in_place(suite.nonce(counter), aad, tag, memoryview(buffer))
    assert buffer == data


@EACH_SUITE
@pytest.mark.parametrize("n_bytes", [1, 16, 1000, (1 << 16) + 1])
@pytest.mark.parametrize("what", ["key", "nonce", "aad", "tag", "first byte", "last byte"])
def test_what_does_not_belong_together_is_refused_and_wiped(suite, n_bytes, what):
    aead, nonce, aad = suite.aead(KEY), suite.nonce(7), b"aad"
    buffer = bytearray(pattern(n_bytes))
    tag = aead.seal_in_place(nonce, aad, memoryview(buffer))
    match what:
        case "key":
            aead = suite.aead(Secret(bytes(32)))
        case "nonce":
            nonce = suite.nonce(8)
        case "aad":
            aad = b"aae"
        case "tag":
            tag = tag[:-1] + bytes([tag[-1] ^ 0x80])
        case "first byte":
            buffer[0] ^= 1
        case "last byte":
            buffer[-1] ^= 0x80
    with pytest.raises(AuthenticationError):
        aead.open_in_place(nonce, aad, tag, memoryview(buffer))
    assert not any(buffer)


@EACH_SUITE
def test_every_bit_of_a_tag_counts(suite):
    aead, nonce = suite.aead(KEY), suite.nonce(0)
    buffer = bytearray(b"weights")
    tag = aead.seal_in_place(nonce, b"", memoryview(buffer))
    for bit in range(8 * suite.tag_bytes):
        flipped = (int.from_bytes(tag, "big") ^ 1 << bit).to_bytes(suite.tag_bytes, "big")
        with pytest.raises(AuthenticationError):
            aead.open_in_place(nonce, b"", flipped, memoryview(bytearray(buffer)))


@EACH_SUITE
def test_sizes_are_exact(suite):
    # S-07
    aead, nonce, tag = suite.aead(KEY), suite.nonce(0), bytes(suite.tag_bytes)
    buffer = bytearray(b"x" * 16)
    for change in (-1, 1):
        with pytest.raises(ValueError, match="key"):
            suite.aead(Secret(bytes(suite.key_bytes + change)))
        with pytest.raises(ValueError, match="nonce"):
            aead.seal_in_place(bytes(suite.nonce_bytes + change), b"", memoryview(buffer))
        with pytest.raises(ValueError, match="nonce"):
            aead.open_in_place(bytes(suite.nonce_bytes + change), b"", tag, memoryview(buffer))
    for size in (0, suite.tag_bytes - 1, suite.tag_bytes + 1):
        with pytest.raises(ValueError, match="tag"):
            aead.open_in_place(nonce, b"", bytes(size), memoryview(buffer))
    assert buffer == b"x" * 16


@EACH_SUITE
def test_shorter_tag_is_refused_although_it_is_a_right_one(suite):
    # S-07: the first bytes of a GCM tag are a valid, weaker tag
    aead, nonce = suite.aead(KEY), suite.nonce(0)
    buffer = bytearray(b"x" * 16)
    tag = aead.seal_in_place(nonce, b"", memoryview(buffer))
    with pytest.raises(ValueError, match="tag"):
        aead.open_in_place(nonce, b"", tag[:12], memoryview(buffer))


@EACH_SUITE
def test_nonces_count_big_endian(suite):
    assert suite.nonce(0) == bytes(suite.nonce_bytes)
    assert suite.nonce(0x0102) == bytes(suite.nonce_bytes - 2) + b"\1\2"


@EACH_SUITE
def test_interpreter_lock_is_released(suite):
    """While one thread works on a large buffer, another one runs."""
    aead, buffer = suite.aead(KEY), bytearray(256 << 20)
    done, turns = threading.Event(), 0

    def work() -> None:
        aead.seal_in_place(suite.nonce(0), b"", memoryview(buffer))
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.wait(0.0005):
        turns += 1
    thread.join()
    # With the lock held this thread would wake at most once or twice.
    assert turns >= 3


def test_buffer_is_wiped_when_opening_is_interrupted(monkeypatch):
    class Interrupted:
        def __init__(self, *_):
            pass

        def decryptor(self):
            return self

        def authenticate_additional_data(self, _):
            pass

        def update_into(self, _, buffer):
            buffer[:] = b"plaintext"

        def finalize(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(aes_gcm, "Cipher", Interrupted)
    buffer = bytearray(9)
    with pytest.raises(KeyboardInterrupt):
        AES_256_GCM.aead(KEY).open_in_place(bytes(12), b"", bytes(16), memoryview(buffer))
    assert buffer == bytes(9)


def test_dependencys_error_is_kept_as_the_cause():
    buffer = bytearray(16)
    with pytest.raises(AuthenticationError) as caught:
        AES_256_GCM.aead(KEY).open_in_place(bytes(12), b"", bytes(16), memoryview(buffer))
    assert isinstance(caught.value.__cause__, InvalidTag)


def test_aes_256_gcm_has_its_known_answer():
    # Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation".
    key = Secret(bytes.fromhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"))
    buffer = bytearray(
        bytes.fromhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        )
    )
    tag = AES_256_GCM.aead(key).seal_in_place(
        bytes.fromhex("cafebabefacedbaddecaf888"),
        bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
        memoryview(buffer),
    )
    assert buffer.hex() == (
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    )
    assert tag.hex() == "76fc6ece0f4e1768cddf8853bb2d551b"


@EACH_SUITE
def test_a_key_that_is_wiped_seals_and_opens_nothing_more(suite):
    given = Secret(KEY.reveal())
    aead, nonce, buffer = suite.aead(given), suite.nonce(0), bytearray(b"weights")
    held = aead._key.memory
    assert held == given.memory
    tag = aead.seal_in_place(nonce, b"", memoryview(buffer))
    sealed = bytes(buffer)
    aead.wipe()
    aead.wipe()  # again does nothing
    assert not any(held)
    assert given == KEY  # its own copy was wiped
    with pytest.raises(ValueError, match="wiped"):
        aead.seal_in_place(nonce, b"", memoryview(buffer))
    with pytest.raises(ValueError, match="wiped"):
        aead.open_in_place(nonce, b"", tag, memoryview(buffer))
    assert buffer == sealed
