from __future__ import annotations

from dataclasses import replace

import pytest

from inferonnx.crypto import AEGIS_256X2, AES_256_GCM, Secret
from inferonnx.errors import AuthenticationError, KeyMismatchError, SignatureError
from inferonnx.sealed import (
    HEADER_BYTES,
    OwnerKey,
    file_keys,
    parse_header,
    rewrap,
    unwrap_data_key,
    verify_header,
)
from inferonnx.sealed.constants import HEADER_FIELDS
from inferonnx.sealed.keys import commitment, sub_keys, wrap_data_key

SALT = bytes(range(32))
SLOT = HEADER_BYTES - sum(size for _, size in HEADER_FIELDS[-4:])


@pytest.fixture
def verified(good_file):
    return verify_header(parse_header(good_file))


def test_data_key_is_unwrapped_and_checked(verified, forge):
    data_key = unwrap_data_key(verified, forge.OWNER)
    assert data_key == Secret(forge.derived("tiny aes-256-gcm data key"))
    keys = file_keys(verified, data_key)
    assert (keys.manifest_key, keys.segments_key) == sub_keys(data_key, AES_256_GCM)


def test_wrong_key_is_told_by_both_public_ids(verified, forge):
    # S-19
    stranger = forge.KEYS["stranger"]
    with pytest.raises(KeyMismatchError) as caught:
        unwrap_data_key(verified, stranger)
    assert stranger.public_id in str(caught.value)
    assert forge.OWNER.public_id in str(caught.value)


def test_other_signer_with_the_same_wrap_secret_is_refused(verified, forge):
    # S-20
    with pytest.raises(SignatureError, match="signed by"):
        unwrap_data_key(verified, forge.KEYS["re-signer"])


@pytest.mark.parametrize("data_key", [Secret(bytes(32)), Secret(b""), Secret(bytes(31))])
def test_data_key_that_is_not_committed_to_is_refused(verified, data_key):
    # S-16, however the data key was come by
    with pytest.raises(AuthenticationError):
        file_keys(verified, data_key)


def test_sub_keys_and_commitment_differ_from_each_other_and_between_suites():
    # S-15
    data_key = Secret(bytes(32))
    values = [
        value
        for suite in (AES_256_GCM, AEGIS_256X2)
        for value in (
            commitment(data_key, suite),
            *(key.reveal() for key in sub_keys(data_key, suite)),
        )
    ]
    assert len(set(values)) == 6


def test_wrap_is_bound_to_model_salt_and_key(verified, forge):
    # S-17: each changes the slot's ciphertext, and S-18: the salt changes its key
    data_key = unwrap_data_key(verified, forge.OWNER)
    wraps = {
        wrap_data_key(key, data_key, model_id=model_id, salt=salt).wrap_tag
        for key in (forge.OWNER, forge.KEYS["rewrapped"])
        for model_id in (verified.model_id, bytes(32))
        for salt in (SALT, bytes(32))
    }
    assert len(wraps) == 8
    one, two = (
        wrap_data_key(forge.OWNER, data_key, model_id=verified.model_id, salt=salt)
        for salt in (SALT, bytes(32))
    )
    assert one.wrapped_key != two.wrapped_key


def test_wrap_refuses_a_salt_of_another_size(verified, forge):
    with pytest.raises(ValueError, match="salt"):
        wrap_data_key(forge.OWNER, Secret(bytes(32)), model_id=verified.model_id, salt=b"short")


def test_rewrap_changes_the_slot_alone(good_file, forge, steps):
    # S-22
    old, new = forge.OWNER, forge.KEYS["rewrapped"]
    header = rewrap(good_file[:HEADER_BYTES], key=old, new_key=new, salt=SALT)
    assert header[:SLOT] == good_file[:SLOT]
    assert len(header) == HEADER_BYTES
    data = header + good_file[HEADER_BYTES:]
    assert steps.check(data) == steps.check(good_file)
    segments: list[bytes] = []
    steps.open(data, new, None, segments)
    assert len(segments) == 3
    with pytest.raises(KeyMismatchError):
        steps.open(data, old, None, [])


def test_rewrap_and_back_opens_again(good_file, forge, steps):
    header, keys = good_file[:HEADER_BYTES], [forge.OWNER, forge.KEYS["rewrapped"]]
    for key, new_key in (keys, keys[::-1]):
        header = rewrap(header, key=key, new_key=new_key, salt=SALT)
    steps.open(header + good_file[HEADER_BYTES:], forge.OWNER, None, [])


def test_rewrap_for_another_signer_is_refused(good_file, forge):
    # S-22
    with pytest.raises(KeyMismatchError, match="another signing key"):
        rewrap(good_file[:HEADER_BYTES], key=forge.OWNER, new_key=forge.KEYS["stranger"], salt=SALT)


def test_rewrap_of_a_header_that_is_not_authentic_is_refused(good_file, forge):
    new = forge.KEYS["rewrapped"]
    damaged = bytearray(good_file[:HEADER_BYTES])
    damaged[-1] ^= 1
    with pytest.raises(AuthenticationError):
        rewrap(bytes(damaged), key=forge.OWNER, new_key=new, salt=SALT)
    damaged[31] ^= 1
    with pytest.raises(SignatureError):
        rewrap(bytes(damaged), key=forge.OWNER, new_key=new, salt=SALT)


def test_rewrap_with_the_wrong_old_key_is_refused(good_file, forge):
    with pytest.raises(KeyMismatchError):
        rewrap(
            good_file[:HEADER_BYTES],
            key=forge.KEYS["rewrapped"],
            new_key=forge.OWNER,
            salt=SALT,
        )


def test_keys_are_not_shown(verified, forge):
    keys = file_keys(verified, unwrap_data_key(verified, forge.OWNER))
    shown = repr(keys) + repr(forge.OWNER)
    for secret in (keys.manifest_key, keys.segments_key, forge.OWNER.wrap_secret):
        assert secret.reveal().hex() not in shown
        assert repr(secret.reveal()) not in shown


def test_new_wrap_secret_keeps_the_signing_key(forge):
    new = forge.OWNER.with_new_wrap_secret(Secret(bytes(32)))
    assert new.public_key == forge.OWNER.public_key
    assert new.key_id != forge.OWNER.key_id
    assert new == OwnerKey.from_secrets(
        wrap_secret=Secret(bytes(32)), signing_seed=forge.OWNER.signing_seed
    )
    assert replace(new) == new
