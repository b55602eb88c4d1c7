from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.crypto import AEGIS_256X2, AES_256_GCM
from inferonnx.errors import AuthenticationError, SealedFormatError
from inferonnx.sealed import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    SegmentOpener,
    SegmentTable,
    file_keys,
    open_manifest,
    parse_header,
    unwrap_data_key,
    verify_header,
)
from inferonnx.sealed.binding import manifest_aad, segment_aad
from inferonnx.sealed.constants import MAX_SEGMENTS

EDGES = [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES]

blocks = st.lists(st.sampled_from(EDGES) | st.integers(0, 5 * SEGMENT_BYTES), max_size=8)


def opener_of(data: bytes, key) -> SegmentOpener:
    verified = verify_header(parse_header(data))
    keys = file_keys(verified, unwrap_data_key(verified, key))
    sealed = bytearray(data[verified.header.manifest_offset(len(data)) :])
    return SegmentOpener(keys, open_manifest(keys, sealed, file_bytes=len(data)))


@given(blocks)
def test_segments_cover_all_blocks_without_overlap(block_bytes):
    # S-23
    table = SegmentTable(block_bytes)
    place, index = HEADER_BYTES, 0
    for block, size in enumerate(block_bytes):
        segments = table.block_segments(block)
        assert segments.start == index
        assert sum(table.length(i) for i in segments) == size
        for i in segments:
            assert table.offset(i) == place
            assert 1 <= table.length(i) <= SEGMENT_BYTES
            assert table.length(i) == SEGMENT_BYTES or i == segments[-1]
            place += table.length(i)
        index = segments.stop
    assert (table.n_segments, table.end) == (index, place)


@pytest.mark.parametrize(
    ("size", "lengths"),
    [
        (0, []),
        (1, [1]),
        (SEGMENT_BYTES - 1, [SEGMENT_BYTES - 1]),
        (SEGMENT_BYTES, [SEGMENT_BYTES]),
        (SEGMENT_BYTES + 1, [SEGMENT_BYTES, 1]),
        (2 * SEGMENT_BYTES, [SEGMENT_BYTES, SEGMENT_BYTES]),
    ],
)
def test_block_is_cut_at_whole_segments(size, lengths):
    table = SegmentTable([size])
    assert [table.length(i) for i in range(table.n_segments)] == lengths


@pytest.mark.parametrize("index", [-1, 2, 3])
def test_segment_that_is_not_there_is_an_index_error(index):
    table = SegmentTable([5, 0, 5, 0])
    with pytest.raises(IndexError):
        table.offset(index)
    with pytest.raises(IndexError):
        table.length(index)


def test_number_of_segments_is_limited():
    # S-36
    assert SegmentTable([MAX_SEGMENTS * SEGMENT_BYTES]).n_segments == MAX_SEGMENTS
    with pytest.raises(SealedFormatError):
        SegmentTable([MAX_SEGMENTS * SEGMENT_BYTES, 1])


def test_segment_opens_in_place_and_touches_nothing_around(good_file, forge):
    opener = opener_of(good_file, forge.OWNER)
    start, length = opener.table.offset(1), opener.table.length(1)
    buffer = bytearray(b"<" * 3 + good_file[start : start + length] + b">" * 5)
    opener.open_in_place(1, memoryview(buffer)[3:-5])
    assert buffer[3:-5] == forge.derived("tiny segment 1", length)
    assert (buffer[:3], buffer[-5:]) == (b"<<<", b">>>>>")


def test_segment_that_fails_wipes_its_buffer_alone(good_file, forge):
    # S-25
    opener = opener_of(good_file, forge.OWNER)
    start, length = opener.table.offset(0), opener.table.length(0)
    buffer = bytearray(b"<" * 3 + good_file[start : start + length] + b">" * 5)
    buffer[3] ^= 1
    with pytest.raises(AuthenticationError):
        opener.open_in_place(0, memoryview(buffer)[3:-5])
    assert buffer == b"<<<" + bytes(length) + b">>>>>"


@pytest.mark.parametrize("extra", [-1, 1])
def test_buffer_of_another_length_is_refused_before_anything(good_file, forge, extra):
    opener = opener_of(good_file, forge.OWNER)
    buffer = bytearray(b"x" * (opener.table.length(0) + extra))
    with pytest.raises(ValueError, match="segment 0"):
        opener.open_in_place(0, memoryview(buffer))
    assert set(buffer) == {ord("x")}


def test_segments_open_on_many_threads(good_file, forge):
    opener = opener_of(good_file, forge.OWNER)
    table, failures = opener.table, []

    def work(index: int) -> None:
        start, length = table.offset(index), table.length(index)
        for _ in range(200):
            buffer = bytearray(good_file[start : start + length])
            opener.open_in_place(index, memoryview(buffer))
            if buffer != forge.derived(f"tiny segment {index}", length):
                failures.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_associated_data_of_any_two_messages_differs():
    # S-24, S-27
    base = {"index": 1, "n_segments": 3, "n_bytes": 64}
    fixed, other = bytes(32), b"\1" * 32
    messages = [
        segment_aad(AES_256_GCM, fixed, **base),
        segment_aad(AEGIS_256X2, fixed, **base),
        segment_aad(AES_256_GCM, other, **base),
        *(segment_aad(AES_256_GCM, fixed, **{**base, name: 9}) for name in base),
        manifest_aad(AES_256_GCM, fixed, n_bytes=64),
        manifest_aad(AES_256_GCM, fixed, n_bytes=65),
        manifest_aad(AEGIS_256X2, fixed, n_bytes=64),
        manifest_aad(AES_256_GCM, other, n_bytes=64),
    ]
    assert len(set(messages)) == len(messages)
