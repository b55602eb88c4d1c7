from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.crypto import AES_256_GCM, Secret
from inferonnx.errors import (
    AuthenticationError,
    InferonnxError,
    SealedFormatError,
    SealedVersionError,
    SignatureError,
)
from inferonnx.sealed import (
    HEADER_BYTES,
    Header,
    WrapSlot,
    encode_header,
    parse_header,
    verify_header,
)
from inferonnx.sealed.header import sign_header

SLOT_BYTES = 96

headers = st.builds(
    Header,
    suite=st.just(AES_256_GCM),
    release=st.integers(0, 2**53 - 1),
    owner=st.binary(min_size=32, max_size=32),
    commitment=st.binary(min_size=32, max_size=32),
    manifest_bytes=st.integers(16, 2**30),
    manifest_sha256=st.binary(min_size=32, max_size=32),
    root=st.binary(min_size=32, max_size=32),
    signature=st.binary(min_size=64, max_size=64),
    slot=st.builds(
        WrapSlot,
        key_id=st.binary(min_size=16, max_size=16),
        wrap_salt=st.binary(min_size=32, max_size=32),
        wrapped_key=st.binary(min_size=32, max_size=32),
        wrap_tag=st.binary(min_size=16, max_size=16),
    ),
)


@given(headers, st.binary(max_size=8))
def test_header_survives_a_round_trip(header, rest):
    data = encode_header(header)
    assert len(data) == HEADER_BYTES
    assert parse_header(data + rest) == header
    assert parse_header(memoryview(bytearray(data))) == header


@given(st.binary(max_size=400))
def test_any_bytes_are_a_header_or_refused(data):
    with pytest.raises(SealedFormatError):
        parse_header(data)


@given(st.data())
def test_any_change_of_a_header_is_refused_or_shows(data):
    header = data.draw(headers)
    raw = bytearray(encode_header(header))
    place = data.draw(st.integers(0, HEADER_BYTES - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        changed = parse_header(raw)
    except InferonnxError:
        return
    assert changed != header
    assert (changed.model_id == header.model_id) == (
        changed == replace(header, signature=changed.signature, slot=changed.slot)
    )


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, HEADER_BYTES - 1])
def test_short_header_is_refused(good_file, length):
    with pytest.raises(SealedFormatError):
        parse_header(good_file[:length])


def test_version_is_looked_at_before_what_may_have_changed_with_it(good_file):
    # S-05: a newer version may number its suites differently.
    raw = bytearray(good_file[:HEADER_BYTES])
    raw[16:24] = b"\0\0\0\2\0\0\0\x63"
    with pytest.raises(SealedVersionError, match="version 2"):
        parse_header(raw)


def test_encode_refuses_a_field_of_the_wrong_size(good_file):
    header = parse_header(good_file)
    with pytest.raises(ValueError, match="owner"):
        encode_header(replace(header, owner=b"short"))


def test_model_id_depends_on_every_signed_field(good_file):
    # S-09
    header = parse_header(good_file)
    other = bytes(32)
    changed = [
        replace(header, release=header.release + 1),
        replace(header, owner=other),
        replace(header, commitment=other),
        replace(header, manifest_bytes=header.manifest_bytes + 1),
        replace(header, manifest_sha256=other),
        replace(header, root=other),
        header,
    ]
    assert len({h.model_id for h in changed}) == len(changed)


def test_slot_is_no_part_of_identity_or_signature(good_file):
    header = parse_header(good_file)
    slot = replace(header.slot, wrap_salt=bytes(32))
    assert verify_header(replace(header, slot=slot)).model_id == header.model_id


def test_signed_header_verifies_and_gives_its_model_id(good_file):
    header = sign_header(replace(parse_header(good_file), release=9), Secret(bytes(32))).header
    with pytest.raises(SignatureError):
        verify_header(header)  # the owner field names another key
    assert verify_header(parse_header(good_file)).model_id == parse_header(good_file).model_id


def test_signature_failure_has_the_common_message(good_file):
    # S-37
    header = replace(parse_header(good_file), signature=bytes(64))
    with pytest.raises(SignatureError) as caught:
        verify_header(header)
    assert str(caught.value) == AuthenticationError.MESSAGE


def test_owner_that_is_no_point_of_the_curve_is_refused(good_file):
    header = replace(parse_header(good_file), owner=b"\xff" * 32)
    with pytest.raises(SignatureError):
        verify_header(header)


@pytest.mark.parametrize("missing", [1, 2, 10_000])
def test_file_too_short_for_its_manifest_is_refused(good_file, missing):
    # S-02
    header = parse_header(good_file)
    least = HEADER_BYTES + header.manifest_bytes
    assert header.manifest_offset(least) == HEADER_BYTES
    with pytest.raises(SealedFormatError, match="cut short"):
        header.manifest_offset(least - missing)
