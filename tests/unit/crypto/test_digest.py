"""Known answers: FIPS 180-4 examples, RFC 4231, RFC 5869 appendix A, RFC 7914 section 12."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.crypto import Secret, Sha256, hkdf_sha256, hmac_sha256, scrypt, sha256


def test_sha256_has_its_known_answer():
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(b"abc").hex() == expected
    assert sha256(b"a", bytearray(b"b"), memoryview(b"c")).hex() == expected


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_sha256_of_parts_is_that_of_their_sum(parts):
    whole = hashlib.sha256(b"".join(parts)).digest()
    assert sha256(*parts) == whole
    state = Sha256(parts[0] if parts else b"")
    for part in parts[1:]:
        state.update(part)
    assert state.digest() == whole


@pytest.mark.parametrize(
    ("key", "parts", "expected"),
    [
        (
            b"\x0b" * 20,
            (b"Hi ", b"There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            (b"what do ya want for nothing?",),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            b"\xaa" * 131,
            (b"Test Using Larger Than Block-Size Key - Hash Key First",),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ],
    ids=["case-1", "case-2", "case-6"],
)
def test_hmac_has_its_known_answers(key, parts, expected):
    assert hmac_sha256(Secret(key), *parts).hex() == expected


def test_hkdf_has_its_known_answer_with_salt():
    # RFC 5869, A.1
    key = hkdf_sha256(
        Secret(b"\x0b" * 22),
        salt=bytes(range(13)),
        info=bytes(range(0xF0, 0xFA)),
        n_bytes=42,
    )
    assert key.reveal().hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


def test_hkdf_has_its_known_answer_without_salt():
    # RFC 5869, A.3
    key = hkdf_sha256(Secret(b"\x0b" * 22), info=b"", n_bytes=42)
    assert key.reveal().hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_hkdf_depends_on_key_salt_and_info():
    a, b = Secret(b"a" * 32), Secret(b"b" * 32)
    keys = [
        hkdf_sha256(key, salt=salt, info=info).reveal()
        for key in (a, b)
        for salt in (b"", b"s")
        for info in (b"", b"i")
    ]
    assert len(set(keys)) == 8
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(("passphrase", "salt"), [(b"", b""), (b"password", b"NaCl")])
def test_scrypt_is_that_of_the_standard_library(passphrase, salt):
    expected = hashlib.scrypt(passphrase, salt=salt, n=1 << 10, r=8, p=3, dklen=32)
    assert scrypt(passphrase, salt=salt, log2_n=10, r=8, p=3).reveal() == expected
