from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import SealedFormatError, UsageError
from inferonnx.sealed import (
    Check,
    Partition,
    ValueInfo,
    Weight,
    check_model_name,
    is_model_name,
    lay_out_weights,
)
from inferonnx.sealed.constants import (
    DTYPE_BITS,
    MAX_LIST,
    MAX_PARTITIONS,
    MAX_RANK,
    MAX_TEXT_BYTES,
)

shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)
specs = st.lists(st.tuples(st.sampled_from(sorted(DTYPE_BITS)), shapes), max_size=8)


def partition(**changes) -> Partition:
    arguments = {
        "inputs": ("x",),
        "outputs": ("y",),
        "weights": (),
        "skeleton": b"s",
        "n_nodes": 1,
        "activation_bytes": 0,
        "time_us": 0,
        **changes,
    }
    return Partition(**arguments)


@given(specs)
def test_weights_are_laid_out_aligned_without_overlap_or_gap(spec):
    # S-33
    weights = lay_out_weights((f"w{i}", *pair) for i, pair in enumerate(spec))
    end = 0
    for weight in weights:
        assert weight.offset % 64 == 0
        assert 0 <= weight.offset - end < 64
        end = weight.offset + weight.n_bytes
    part = partition(weights=weights)
    assert part.block_bytes % 64 == 0
    assert 0 <= part.block_bytes - end < 64


W = Weight(name="w", dtype=1, shape=(3,), offset=0, n_bytes=12)


@pytest.mark.parametrize(
    "weights",
    [
        (replace(W, offset=64),),
        (W, replace(W, name="v", offset=12)),
        (W, replace(W, name="v", offset=128)),
        (W, replace(W, name="v", offset=0)),
        (W, replace(W, offset=64)),
        (replace(W, name="x"),),
        [W],
    ],
    ids=["starts-late", "unaligned", "gap", "overlap", "named-twice", "named-as-input", "list"],
)
def test_weights_that_do_not_fit_their_block_are_refused(weights):
    with pytest.raises(SealedFormatError):
        partition(weights=weights)


def test_values_are_frozen(forge):
    with pytest.raises(FrozenInstanceError):
        W.offset = 64
    with pytest.raises(FrozenInstanceError):
        forge.tiny_manifest().name = "x"


@pytest.mark.parametrize("number", [-1, 2**53, True, 1.0, None, "1"])
@pytest.mark.parametrize("field", ["n_nodes", "activation_bytes", "time_us"])
def test_number_that_is_none_is_refused(field, number):
    # S-29
    with pytest.raises(SealedFormatError, match=field):
        partition(**{field: number})


@pytest.mark.parametrize("shape", [(-1,), (2**53,), (True,), (1.5,), [1], (0,) * (MAX_RANK + 1), 3])
def test_shape_that_is_none_is_refused(shape):
    with pytest.raises(SealedFormatError, match=r"shape|axis"):
        ValueInfo(name="x", type="tensor(float)", shape=shape)


@pytest.mark.parametrize("shape", [None, (), (0,), (2**53 - 1, "N", None), (1,) * MAX_RANK])
def test_shape_of_any_kind_is_kept(shape):
    assert ValueInfo(name="x", type="", shape=shape).shape == shape


@pytest.mark.parametrize("name", [None, b"x", "\ud800", "x" * (MAX_TEXT_BYTES + 1)])
def test_text_that_is_none_is_refused(name):
    # S-36
    with pytest.raises(SealedFormatError, match="name"):
        ValueInfo(name=name, type="", shape=None)


BAD = {
    "str": [None, 1, b"x", "\ud800"],
    "int": [None, "1", True, 1.0, -1, 2**53],
    "Blob": [None, "text", bytearray(b"mutable")],
    "tuple[int, ...]": [None, [1], (-1,), (True,), (2**53,), ("N",)],
    "tuple[int | str | None, ...] | None": [[1], (-1,), (True,), ("\ud800",), (1.5,)],
    "tuple[str, ...]": [None, ["x"], (1,), ("\ud800",)],
    "tuple[Blob, ...]": [None, [b"x"], ("text",), (None,)],
    "Mapping[str, str]": [{1: "x"}, {"x": 1}, {"\ud800": "x"}, {"x": "\ud800"}],
    "Mapping[str, Blob]": [{1: b"x"}, {"x": "text"}, {"\ud800": b"x"}],
    "Mapping[str, tuple[int, ...]]": [{1: (1,)}, {"x": (-1,)}, {"x": [1]}],
    "tuple[Weight, ...]": [None, []],
    "tuple[ValueInfo, ...]": [None, []],
    "tuple[Partition, ...]": [None, []],
}


def values_of(manifest) -> list[object]:
    """Return one value of each class that a manifest is made of."""
    return [
        manifest,
        manifest.inputs[0],
        manifest.partitions[0],
        manifest.partitions[0].weights[0],
        manifest.target,
        manifest.arena,
        manifest.memory,
        manifest.probe,
        manifest.check,
    ]


@pytest.mark.parametrize("which", range(9))
def test_every_field_refuses_what_its_type_does_not_allow(forge, which):
    # S-29, S-30
    value = values_of(forge.tiny_manifest())[which]
    tried = 0
    for field in fields(value):
        for bad in BAD.get(field.type, []):
            with pytest.raises(SealedFormatError):
                replace(value, **{field.name: bad})
            tried += 1
    assert tried >= 6


@pytest.mark.parametrize(
    ("place", "most"),
    [
        ("notes", MAX_LIST),
        ("inputs", MAX_LIST),
        ("outputs", MAX_LIST),
        ("partitions", MAX_PARTITIONS),
    ],
)
def test_lists_of_a_manifest_are_limited(forge, place, most):
    # S-36: at the limit something else may be wrong, but not the number
    manifest = forge.tiny_manifest()
    item = getattr(manifest, place)[0]
    with pytest.raises(SealedFormatError, match=f"{place} has more than"):
        replace(manifest, **{place: (item,) * (most + 1)})
    if place in ("notes", "outputs"):
        assert len(getattr(replace(manifest, **{place: (item,) * most}), place)) == most
    else:
        with pytest.raises(SealedFormatError, match=r"twice|already"):
            replace(manifest, **{place: (item,) * most})


def test_text_at_its_limit_is_kept():
    assert ValueInfo(name="x" * MAX_TEXT_BYTES, type="", shape=None).name


@pytest.mark.parametrize("place", ["inputs", "outputs"])
def test_lists_of_blobs_are_limited(forge, place):
    # S-36
    with pytest.raises(SealedFormatError, match="more than"):
        replace(forge.tiny_manifest().probe, **{place: (b"",) * (MAX_LIST + 1)})


def test_block_beyond_integers_is_refused():
    # S-36: the sum of two sizes that are each allowed
    weights = lay_out_weights([("a", 2, (2**52,)), ("b", 2, (2**52,))])
    with pytest.raises(SealedFormatError, match="block size"):
        partition(weights=weights)
    with pytest.raises(SealedFormatError, match="weight offset"):
        lay_out_weights([("a", 2, (2**53 - 1,)), ("b", 2, (1,))])


def test_blob_that_is_none_is_refused():
    with pytest.raises(SealedFormatError, match="skeleton"):
        partition(skeleton="text")
    with pytest.raises(SealedFormatError, match="check outputs"):
        Check(inputs={}, outputs={"y": bytearray(b"mutable")})


def test_lists_are_limited():
    with pytest.raises(SealedFormatError, match="more than"):
        partition(inputs=("x",) * (MAX_LIST + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": (ValueInfo(name="z", type="", shape=None),)},
        {"inputs": ()},
        {"inputs": (ValueInfo(name="x", type="", shape=None),) * 2},
        {"partitions": (partition(outputs=("x", "y")),)},
        {"partitions": (partition(), partition())},
        {"partitions": (partition(inputs=("y",)),)},
    ],
)
def test_value_that_is_not_made_once_before_its_use_is_refused(forge, changes):
    # S-34
    with pytest.raises(SealedFormatError):
        replace(forge.tiny_manifest(), **changes)


def test_output_of_a_partition_named_twice_is_refused():
    # S-34
    with pytest.raises(SealedFormatError, match="twice"):
        partition(outputs=("y", "y"))


def test_input_may_be_an_output_and_values_may_be_unused(forge):
    manifest = forge.tiny_manifest()
    x = ValueInfo(name="x", type="", shape=None)
    unused = ValueInfo(name="unused", type="", shape=None)
    kept = replace(manifest, inputs=(x, unused), outputs=(x, *manifest.outputs))
    assert [value.name for value in kept.outputs] == ["x", "y"]
    assert replace(kept, partitions=(), outputs=(x,)).partitions == ()


@pytest.mark.parametrize(
    "name", ["n", "n" * 255, "ü" * 127, "a b", "模型", "😀", "a/b", "~ ' ; --\xa0"]
)
def test_name_that_people_can_read_is_kept(name):
    assert is_model_name(name)
    check_model_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "n" * 256, "ü" * 128, "\n", "\x1f", "\x7f", "\x85", "\x9f", "\u2029", "\ud800", 1],
)
def test_name_that_people_can_not_read_is_refused(forge, name):
    assert not is_model_name(name)
    with pytest.raises(SealedFormatError, match="name"):
        replace(forge.tiny_manifest(), name=name)


@pytest.mark.parametrize("name", ["", "\n", "n" * 256])
def test_name_that_a_person_gave_is_a_matter_of_usage(name):
    with pytest.raises(UsageError, match="name of a model"):
        check_model_name(name)


def test_messages_do_not_give_names_away(forge):
    with pytest.raises(SealedFormatError) as caught:
        partition(inputs=("secret-layer", "secret-layer"))
    assert "secret" not in str(caught.value) + caught.value.where + caught.value.hint


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_a_boundary_value_by_the_name_of_a_weight_is_refused(side: str) -> None:
    # As an output it would be the weight's own memory, which a later block overwrites.
    names = {"inputs": ("x",), "outputs": ("y",)} | {side: ("w",)}
    with pytest.raises(SealedFormatError, match="share a name"):
        Partition(
            **names,
            weights=lay_out_weights([("w", 1, (4,))]),
            skeleton=b"",
            n_nodes=1,
            activation_bytes=0,
            time_us=0,
        )
