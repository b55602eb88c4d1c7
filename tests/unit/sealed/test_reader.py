from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import AuthenticationError, InferonnxError, SealedFormatError
from inferonnx.sealed import (
    HEADER_BYTES,
    FileCheck,
    SegmentOpener,
    file_keys,
    open_manifest,
    parse_header,
    unwrap_data_key,
    verify_header,
)
from inferonnx.sealed.constants import HEADER_FIELDS

SLOT = HEADER_BYTES - sum(size for _, size in HEADER_FIELDS[-4:])


@pytest.fixture
def keys(good_file, forge):
    verified = verify_header(parse_header(good_file))
    return file_keys(verified, unwrap_data_key(verified, forge.OWNER))


def manifest_of(data: bytes) -> bytearray:
    return bytearray(data[parse_header(data).manifest_offset(len(data)) :])


def test_manifest_opens_to_views_of_the_buffer_it_was_given(good_file, keys):
    sealed = manifest_of(good_file)
    manifest = open_manifest(keys, sealed, file_bytes=len(good_file))
    skeleton = manifest.partitions[0].skeleton
    assert isinstance(skeleton, memoryview)
    assert skeleton.readonly
    assert skeleton.obj is sealed
    assert bytes(skeleton) == b"skeleton 0"


def test_source_that_changes_after_it_was_copied_changes_nothing(good_file, keys, forge):
    # S-03: what is verified is the copy, and nothing looks at the source again
    source = bytearray(good_file)
    sealed = manifest_of(bytes(source))
    start = parse_header(source).manifest_offset(len(source))
    copy = bytearray(source[HEADER_BYTES : HEADER_BYTES + 128])
    source[:] = bytes(len(source))
    manifest = open_manifest(keys, sealed, file_bytes=start + len(sealed))
    SegmentOpener(keys, manifest).open_in_place(0, memoryview(copy))
    assert copy == forge.derived("tiny segment 0", 128)


@pytest.mark.parametrize("damage", ["first", "last", "short", "long", "empty"])
def test_manifest_that_is_not_the_headers_is_refused_untouched(good_file, keys, damage):
    # S-26: nothing is opened before the hash is right
    sealed = manifest_of(good_file)
    if damage == "first":
        sealed[0] ^= 1
    elif damage == "last":
        sealed[-1] ^= 1
    else:
        sealed = {"short": sealed[:-1], "long": sealed + b"\0", "empty": bytearray()}[damage]
    before = bytes(sealed)
    with pytest.raises(AuthenticationError):
        open_manifest(keys, sealed, file_bytes=len(good_file))
    assert sealed == before


@pytest.mark.parametrize("extra", [-1, 1, 64])
def test_blocks_that_do_not_fill_the_file_are_refused(good_file, keys, extra):
    # S-35
    with pytest.raises(AuthenticationError):
        open_manifest(keys, manifest_of(good_file), file_bytes=len(good_file) + extra)


def test_manifest_of_a_file_that_is_too_short_is_refused(good_file, keys):
    with pytest.raises(SealedFormatError, match="cut short"):
        open_manifest(keys, manifest_of(good_file), file_bytes=HEADER_BYTES + 10)


@given(st.data())
def test_body_is_checked_the_same_in_any_chunks(good_file, forge, data):
    # S-12
    verified = verify_header(parse_header(good_file))
    keys = file_keys(verified, unwrap_data_key(verified, forge.OWNER))
    manifest = open_manifest(keys, manifest_of(good_file), file_bytes=len(good_file))
    check = FileCheck(verified, file_bytes=len(good_file), opener=SegmentOpener(keys, manifest))
    body = good_file[HEADER_BYTES:]
    while body:
        n = data.draw(st.sampled_from([1, 63, 64, 128, 191, 1000]))
        check.update(body[:n])
        body = body[n:]
    check.finish()
    assert check.n_opened == 3


@pytest.mark.parametrize("taken", [0, 1, -1])
def test_body_that_is_not_all_there_is_refused(good_file, taken):
    verified = verify_header(parse_header(good_file))
    check = FileCheck(verified, file_bytes=len(good_file))
    check.update(good_file[HEADER_BYTES:][:taken])
    with pytest.raises(AuthenticationError):
        check.finish()


def test_body_that_goes_on_is_refused(good_file):
    verified = verify_header(parse_header(good_file))
    check = FileCheck(verified, file_bytes=len(good_file))
    check.update(good_file[HEADER_BYTES:] + b"\0")
    with pytest.raises(AuthenticationError):
        check.finish()


def test_check_with_the_key_stops_at_the_damaged_segment(good_file, forge):
    verified = verify_header(parse_header(good_file))
    keys = file_keys(verified, unwrap_data_key(verified, forge.OWNER))
    manifest = open_manifest(keys, manifest_of(good_file), file_bytes=len(good_file))
    opener = SegmentOpener(keys, manifest)
    check = FileCheck(verified, file_bytes=len(good_file), opener=opener)
    body = bytearray(good_file[HEADER_BYTES:])
    body[opener.table.offset(1) - HEADER_BYTES] ^= 1
    with pytest.raises(AuthenticationError):
        check.update(body)
    assert check.n_opened == 1


def test_check_of_a_file_that_is_too_short_is_refused(good_file):
    verified = verify_header(parse_header(good_file))
    with pytest.raises(SealedFormatError, match="cut short"):
        FileCheck(verified, file_bytes=HEADER_BYTES)


@given(st.data())
def test_no_change_of_a_file_passes(good_file, forge, steps, data):
    """Whatever is changed, whoever opens notices; who only checks, but for the slot."""
    changed = bytearray(good_file)
    place = data.draw(st.integers(0, len(changed) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if kind == "flip":
        changed[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del changed[place : place + data.draw(st.integers(1, 200))]
    else:
        changed[place:place] = data.draw(st.binary(min_size=1, max_size=200))
    with pytest.raises(InferonnxError):
        steps.open(bytes(changed), forge.OWNER, None, [])
    if not (kind == "flip" and SLOT <= place < HEADER_BYTES):
        with pytest.raises(InferonnxError):
            steps.check(bytes(changed))
