from __future__ import annotations

from dataclasses import replace

import pytest

from inferonnx.crypto import AES_256_GCM, SUITES, Secret
from inferonnx.errors import SealedFormatError, UsageError
from inferonnx.sealed import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    SealWriter,
    SegmentTable,
    encode_manifest,
    lay_out_weights,
    parse_header,
)
from inferonnx.sealed import writer as writer_module
from inferonnx.sealed.constants import MAX_RELEASE
from inferonnx.sealed.keys import commitment
from machine import EACH_SUITE

SALT = bytes(range(32))
DATA_KEY = Secret(b"d" * 32)


def writer_for(manifest, key, **changes) -> SealWriter:
    arguments = {
        "key": key,
        "suite": AES_256_GCM,
        "release": 1,
        "block_bytes": [p.block_bytes for p in manifest.partitions],
        "data_key": DATA_KEY,
        "wrap_salt": SALT,
        **changes,
    }
    return SealWriter(**arguments)


def seal(manifest, key, plain, **changes) -> bytes:
    writer = writer_for(manifest, key, **changes)
    body = bytearray()
    for i in range(writer.table.n_segments):
        buffer = bytearray(plain(i, writer.table.length(i)))
        writer.seal_segment(memoryview(buffer))
        assert writer.table.offset(i) == HEADER_BYTES + len(body)
        body += buffer
    end = writer.finish(manifest)
    return end.header + bytes(body) + end.manifest


def pattern(index: int, length: int) -> bytes:
    return (bytes(range(256)) * (length // 256 + 1))[index : index + length]


def large(forge):
    """Return the tiny manifest with blocks around the size of a segment."""
    sizes = [SEGMENT_BYTES - 64, 0, SEGMENT_BYTES, 2 * SEGMENT_BYTES + 64]
    manifest = forge.tiny_manifest()
    return replace(
        manifest,
        partitions=tuple(
            replace(part, weights=lay_out_weights([("w", 2, (size,))]) if size else ())
            for part, size in zip(manifest.partitions, sizes, strict=True)
        ),
    )


@EACH_SUITE
def test_sealed_file_opens_to_what_was_sealed(suite, forge, steps, second_reader):
    # S-01, and by the second reader too: segments of 1 MiB are made here, not kept as vectors
    manifest = large(forge)
    data = seal(manifest, forge.OWNER, pattern, suite=suite)
    segments: list[bytes] = []
    model_id, opened = steps.open(data, forge.OWNER, None, segments)
    assert steps.check(data) == model_id == parse_header(data).model_id
    assert [len(s) for s in segments] == [
        SEGMENT_BYTES - 64,
        SEGMENT_BYTES,
        SEGMENT_BYTES,
        SEGMENT_BYTES,
        64,
    ]
    assert segments == [pattern(i, len(s)) for i, s in enumerate(segments)]
    assert replace(opened, tags=b"") == manifest

    key = forge.OWNER
    second = second_reader.Opened(data, (key.wrap_secret.reveal(), key.key_id, key.public_key))
    second.open_all()
    assert second.segments == segments
    assert second_reader.check(data) == model_id


@EACH_SUITE
def test_writer_makes_the_file_that_the_steps_make(suite, forge):
    parts = forge.seal(suite)
    manifest = forge.tiny_manifest()
    data = seal(
        manifest,
        forge.OWNER,
        lambda index, _: parts.plain[index],
        suite=suite,
        release=forge.RELEASE,
        data_key=parts.data_key,
        wrap_salt=forge.derived("tiny wrap salt"),
    )
    assert data == parts.file


def test_another_data_key_changes_every_ciphertext(forge):
    # S-14: what the key of one file encrypts is never encrypted under it again
    manifest = forge.tiny_manifest()
    one = seal(manifest, forge.OWNER, pattern)
    two = seal(manifest, forge.OWNER, pattern, data_key=Secret(b"e" * 32))
    n_body = len(one) - HEADER_BYTES
    same = sum(a == b for a, b in zip(one[-n_body:], two[-n_body:], strict=True))
    assert same < n_body // 16  # by chance one byte in 256


def test_another_salt_changes_the_slot_alone(forge):
    # S-18
    manifest = forge.tiny_manifest()
    one = seal(manifest, forge.OWNER, pattern)
    two = seal(manifest, forge.OWNER, pattern, wrap_salt=bytes(32))
    assert one[:248] == two[:248]
    assert one[248:HEADER_BYTES] != two[248:HEADER_BYTES]
    assert one[HEADER_BYTES:] == two[HEADER_BYTES:]


def test_sealing_is_deterministic(forge):
    manifest = forge.tiny_manifest()
    assert seal(manifest, forge.OWNER, pattern) == seal(manifest, forge.OWNER, pattern)


def test_calls_out_of_order_are_refused_and_change_nothing(forge, steps):
    manifest = forge.tiny_manifest()
    writer = writer_for(manifest, forge.OWNER)
    with pytest.raises(ValueError, match="after the last segment"):
        writer.finish(manifest)
    body = bytearray()
    for i in range(writer.table.n_segments):
        with pytest.raises(ValueError, match=f"segment {i} has"):
            writer.seal_segment(memoryview(bytearray(7)))
        buffer = bytearray(writer.table.length(i))
        writer.seal_segment(memoryview(buffer))
        body += buffer
    with pytest.raises(ValueError, match="sealed already"):
        writer.seal_segment(memoryview(bytearray(64)))
    with pytest.raises(ValueError, match="other blocks"):
        writer.finish(replace(manifest, partitions=manifest.partitions[:1], outputs=()))
    end = writer.finish(manifest)
    with pytest.raises(ValueError, match="finish comes once"):
        writer.finish(manifest)
    steps.open(end.header + bytes(body) + end.manifest, forge.OWNER, None, [])


@pytest.mark.parametrize("release", [-1, MAX_RELEASE + 1])
def test_release_beyond_its_limit_is_refused(forge, release):
    with pytest.raises(UsageError, match="release"):
        writer_for(forge.tiny_manifest(), forge.OWNER, release=release)


@pytest.mark.parametrize("changes", [{"data_key": Secret(b"x")}, {"wrap_salt": b"x"}])
def test_random_bytes_of_another_size_are_refused(forge, changes):
    with pytest.raises(ValueError, match="32 random bytes"):
        writer_for(forge.tiny_manifest(), forge.OWNER, **changes)


def test_manifest_beyond_its_limit_is_refused(forge, monkeypatch):
    # S-36, with a limit that a test can reach
    monkeypatch.setattr(writer_module, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(SealedFormatError, match="more than 100"):
        seal(forge.tiny_manifest(), forge.OWNER, pattern)


@EACH_SUITE
def test_file_has_the_commitment_and_the_tags_of_its_suite(suite, forge):
    manifest = forge.tiny_manifest()
    data = seal(manifest, forge.OWNER, pattern, suite=suite)
    fits = [s for s in SUITES.values() if data[64:96] == commitment(DATA_KEY, s)]
    assert fits == [suite]  # S-15
    without_tags = SegmentTable.of_manifest(manifest).end + len(encode_manifest(manifest))
    assert len(data) == without_tags + 4 * suite.tag_bytes  # three tags and the manifest's
