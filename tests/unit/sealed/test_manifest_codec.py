from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferonnx.crypto import AES_256_GCM
from inferonnx.errors import SealedFormatError
from inferonnx.sealed import (
    Arena,
    Check,
    Manifest,
    Memory,
    Partition,
    Probe,
    Target,
    ValueInfo,
    encode_manifest,
    lay_out_weights,
    parse_manifest,
)
from inferonnx.sealed import manifest_codec as codec
from inferonnx.sealed.constants import DTYPE_BITS, MAX_SEGMENTS, SEGMENT_BYTES

TAG_BYTES = 16

integers = st.integers(0, 2**53 - 1)
texts = st.text(max_size=20)
blobs = st.binary(max_size=20)
shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)
values = st.builds(
    ValueInfo,
    name=texts,
    type=texts,
    shape=st.none() | st.lists(integers | texts | st.none(), max_size=3).map(tuple),
)


def names_but(taken: list[str], most: int) -> st.SearchStrategy[list[str]]:
    taken = list(taken)
    return st.lists(texts.filter(lambda name: name not in taken), unique=True, max_size=most)


@st.composite
def manifests(draw) -> Manifest:
    inputs = draw(st.lists(values, max_size=3, unique_by=lambda v: v.name))
    known = [value.name for value in inputs]
    partitions = []
    for _ in range(draw(st.integers(0, 3))):
        reads = draw(st.lists(st.sampled_from(known), unique=True, max_size=3)) if known else []
        makes = draw(names_but(known, 2))
        names = draw(names_but([*reads, *makes], 3))
        weights = lay_out_weights(
            (name, draw(st.sampled_from(sorted(DTYPE_BITS))), draw(shapes)) for name in names
        )
        partitions.append(
            Partition(
                inputs=tuple(reads),
                outputs=tuple(makes),
                weights=weights,
                skeleton=draw(blobs),
                n_nodes=draw(integers),
                activation_bytes=draw(integers),
                time_us=draw(integers),
            )
        )
        known += makes
    outputs = draw(st.lists(st.sampled_from(known), unique=True)) if known else []
    n_segments = codec.n_segments_of(p.block_bytes for p in partitions)
    return Manifest(
        name=draw(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1)),
        producer=draw(texts),
        strategy=draw(texts),
        metadata=draw(st.dictionaries(texts, texts, max_size=3)),
        inputs=tuple(inputs),
        outputs=tuple(ValueInfo(name=name, type="", shape=None) for name in outputs),
        partitions=tuple(partitions),
        target=draw(st.builds(Target, onnxruntime=texts, layout=texts, arch=texts)),
        arena=draw(
            st.builds(Arena, strategy=integers, initial_bytes=integers, peak_bytes=integers)
        ),
        memory=draw(
            st.builds(
                Memory,
                budget_bytes=integers,
                least_bytes=integers,
                floor_bytes=integers,
                session_bytes=integers,
                call_bytes=integers,
            )
        ),
        planned_shapes=draw(st.dictionaries(texts, shapes, max_size=3)),
        rows_independent=draw(st.booleans()),
        notes=tuple(draw(st.lists(texts, max_size=2))),
        probe=draw(
            st.none()
            | st.builds(
                Probe,
                skeleton=blobs,
                inputs=st.lists(blobs, max_size=2).map(tuple),
                outputs=st.lists(blobs, max_size=2).map(tuple),
            )
        ),
        check=draw(
            st.none()
            | st.builds(
                Check,
                inputs=st.dictionaries(texts, blobs, max_size=2),
                outputs=st.dictionaries(texts, blobs, max_size=2),
            )
        ),
        tags=draw(st.binary(min_size=n_segments * TAG_BYTES, max_size=n_segments * TAG_BYTES)),
    )


def parse(data: bytes) -> Manifest:
    return parse_manifest(memoryview(data), tag_bytes=TAG_BYTES)


@given(manifests())
@settings(max_examples=60)
def test_manifest_survives_a_round_trip(manifest):
    data = encode_manifest(manifest)
    again = parse(data)
    assert again == manifest
    assert encode_manifest(again) == data


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_refused(data):
    with pytest.raises(SealedFormatError):
        parse(data)


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(json_trees, st.binary(max_size=10))
def test_any_json_is_refused(tree, rest):
    text = json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")
    with pytest.raises(SealedFormatError):
        parse(len(text).to_bytes(4, "big") + text + rest)


@given(st.data())
@settings(max_examples=200)
def test_any_member_may_hold_anything_and_only_ours_is_raised(forge, data):
    """Replace one place of a real manifest by any JSON value."""
    plain = forge.seal(AES_256_GCM).plain_manifest
    n_text = int.from_bytes(plain[:4], "big")
    tree = json.loads(plain[4 : 4 + n_text])
    place = tree
    for _ in range(data.draw(st.integers(0, 4))):
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = data.draw(st.sampled_from(sorted(keys)))
        if not isinstance(place[key], dict | list) or not place[key]:
            break
        place = place[key]
    keys = list(place) if isinstance(place, dict) else range(len(place))
    place[data.draw(st.sampled_from(sorted(keys)))] = data.draw(json_trees)
    text = json.dumps(tree, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    raw = text.encode("utf-8", "surrogatepass")
    changed = len(raw).to_bytes(4, "big") + raw + plain[4 + n_text :]
    try:
        manifest = parse(changed)
    except SealedFormatError:
        return
    assert encode_manifest(manifest) == changed


def test_length_is_refused_before_anything_is_copied():
    # S-28
    data = (1 << 26).to_bytes(4, "big") + b"{}"
    with pytest.raises(SealedFormatError, match="longer"):
        parse(data)


def test_text_is_limited_when_sealing_and_when_opening(forge, monkeypatch):
    # S-36, with limits that a test can reach
    manifest = forge.tiny_manifest()
    data = encode_manifest(replace(manifest, tags=bytes(3 * TAG_BYTES)))
    n_text = int.from_bytes(data[:4], "big")
    monkeypatch.setattr(codec, "MAX_JSON_BYTES", n_text)
    encode_manifest(manifest)
    parse(data)
    monkeypatch.setattr(codec, "MAX_JSON_BYTES", n_text - 1)
    with pytest.raises(SealedFormatError, match=f"more than {n_text - 1}"):
        encode_manifest(manifest)
    with pytest.raises(SealedFormatError, match="longer"):
        parse(data)


def test_text_may_end_where_the_manifest_ends(forge):
    # S-28: a manifest without blobs; and a byte less is refused for its length
    manifest = replace(
        forge.tiny_manifest(),
        partitions=(),
        outputs=forge.tiny_manifest().inputs,
        probe=None,
        check=None,
    )
    data = encode_manifest(manifest)
    assert parse(data) == manifest
    with pytest.raises(SealedFormatError, match="longer"):
        parse(data[:-1])


def test_segments_are_limited_also_where_their_tags_are_there(forge):
    # S-36
    def with_segments(n_segments: int) -> bytes:
        weights = lay_out_weights([("w", 2, (n_segments * SEGMENT_BYTES,))])
        manifest = forge.tiny_manifest()
        part = replace(manifest.partitions[0], weights=weights, outputs=("y",))
        return encode_manifest(
            replace(manifest, partitions=(part,), tags=bytes(n_segments * TAG_BYTES))
        )

    assert len(parse(with_segments(MAX_SEGMENTS)).tags) == MAX_SEGMENTS * TAG_BYTES
    with pytest.raises(SealedFormatError, match="segments"):
        parse(with_segments(MAX_SEGMENTS + 1))


def test_pairs_are_sorted_by_their_utf_8(forge):
    # S-31: U+FFFF sorts before U+10000 in UTF-8 and after it in UTF-16
    keys = ["\U00010000", "\uffff", "b", "a", ""]
    manifest = replace(forge.tiny_manifest(), metadata=dict.fromkeys(keys, ""))
    data = encode_manifest(manifest)
    tree = json.loads(data[4 : 4 + int.from_bytes(data[:4], "big")])
    assert [pair[0] for pair in tree["metadata"]] == ["", "a", "b", "\uffff", "\U00010000"]


def test_number_of_segments_counts_each_block_anew():
    assert codec.n_segments_of([]) == 0
    assert codec.n_segments_of([0, 1, 1 << 20, (1 << 20) + 1]) == 0 + 1 + 1 + 2
