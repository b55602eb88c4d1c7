from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.crypto import Secret
from inferonnx.errors import KeyFileError
from inferonnx.sealed import (
    OwnerKey,
    encode_owner_key,
    encode_protected_owner_key,
    is_protected,
    parse_owner_key,
)

SALT = bytes(range(16))

secrets = st.binary(min_size=32, max_size=32).map(Secret)
keys = st.builds(
    lambda wrap, seed: OwnerKey.from_secrets(wrap_secret=wrap, signing_seed=seed), secrets, secrets
)


@given(keys)
def test_key_survives_a_round_trip(key):
    text = encode_owner_key(key)
    assert parse_owner_key(text) == key
    assert not is_protected(text)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_key_file_or_refused(data):
    with pytest.raises(KeyFileError):
        parse_owner_key(data)
    with pytest.raises(KeyFileError):
        is_protected(data)


@given(st.data())
def test_any_change_outside_comments_is_refused(data):
    # S-38, S-39
    key = OwnerKey.from_secrets(wrap_secret=Secret(b"w" * 32), signing_seed=Secret(b"s" * 32))
    text = bytearray(encode_owner_key(key))
    start = bytes(text).index(b"inferonnx owner")
    place = data.draw(st.integers(start, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 127))
    if text[place : place + 1] == b"#" and text[place - 1 : place] == b"\n":
        return  # a line became a comment: it is missing, which a vector covers
    with pytest.raises(KeyFileError):
        parse_owner_key(bytes(text))


def test_protected_key_needs_its_passphrase():
    # S-39
    key = OwnerKey.from_secrets(wrap_secret=Secret(b"w" * 32), signing_seed=Secret(b"s" * 32))
    text = encode_protected_owner_key(key, passphrase="æ", salt=SALT)
    assert is_protected(text)
    assert parse_owner_key(text, passphrase="æ") == key
    for secret in (key.wrap_secret, key.signing_seed):
        assert secret.reveal().hex().encode() not in text
    with pytest.raises(KeyFileError, match="wrong"):
        parse_owner_key(text, passphrase="ae")
    with pytest.raises(KeyFileError, match="none was given"):
        parse_owner_key(text)


@pytest.mark.parametrize("passphrase", ["", "\ud800"])
def test_passphrase_that_is_no_text_is_refused(passphrase):
    key = OwnerKey.from_secrets(wrap_secret=Secret(b"w" * 32), signing_seed=Secret(b"s" * 32))
    with pytest.raises(KeyFileError):
        encode_protected_owner_key(key, passphrase=passphrase, salt=SALT)


def test_salt_of_another_size_is_refused():
    key = OwnerKey.from_secrets(wrap_secret=Secret(b"w" * 32), signing_seed=Secret(b"s" * 32))
    with pytest.raises(ValueError, match="salt"):
        encode_protected_owner_key(key, passphrase="x", salt=b"")


@pytest.mark.parametrize(("wrap", "seed"), [(31, 32), (32, 33), (0, 32)])
def test_secrets_of_another_size_are_refused(wrap, seed):
    with pytest.raises(KeyFileError):
        OwnerKey.from_secrets(wrap_secret=Secret(bytes(wrap)), signing_seed=Secret(bytes(seed)))


def test_public_id_and_public_key_stand_in_the_file():
    key = OwnerKey.from_secrets(wrap_secret=Secret(b"w" * 32), signing_seed=Secret(b"s" * 32))
    text = encode_owner_key(key).decode()
    assert f"id: {key.public_id}\n" in text
    assert f"public-key: {key.public_key.hex()}\n" in text
    assert "Keep it secret and keep a copy" in text


def test_independent_secrets_make_independent_ids():
    a, b = Secret(b"a" * 32), Secret(b"b" * 32)
    one = OwnerKey.from_secrets(wrap_secret=a, signing_seed=a)
    two = OwnerKey.from_secrets(wrap_secret=a, signing_seed=b)
    assert one.key_id == two.key_id
    assert one.public_key != two.public_key
