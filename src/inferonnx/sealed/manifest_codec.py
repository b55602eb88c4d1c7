"""The manifest as bytes: a length, one JSON text, then blobs.

One encoding a manifest. The JSON is that of RFC 8785: keys sorted, no spaces,
integers only; mappings are lists of pairs, sorted by the UTF-8 bytes of their
first member. What follows from other fields (places of weights, sizes of blocks,
number of segments) is not written, so nothing can contradict it. The JSON gives
the length of each blob, the order of the blobs is fixed. What is parsed is
encoded again and must come out the same.

Only authenticated bytes are parsed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from inferonnx.errors import SealedFormatError
from inferonnx.sealed.constants import MAX_JSON_BYTES, MAX_SEGMENTS, SEGMENT_BYTES
from inferonnx.sealed.manifest import (
    Arena,
    Check,
    Manifest,
    Memory,
    Partition,
    Probe,
    Target,
    ValueInfo,
)
from inferonnx.sealed.weights import lay_out_weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inferonnx.sealed.fields import Blob

_LENGTH_BYTES = 4


def n_segments_of(block_bytes: Iterable[int]) -> int:
    """Return how many segments blocks of these sizes have; each block begins a new one."""
    return sum(-(-size // SEGMENT_BYTES) for size in block_bytes)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest, to be sealed."""
    text = _encode_json(manifest)
    if len(text) > MAX_JSON_BYTES:
        raise SealedFormatError(f"manifest: more than {MAX_JSON_BYTES} bytes of text")
    return b"".join((len(text).to_bytes(_LENGTH_BYTES, "big"), text, *_blobs(manifest)))


def parse_manifest(data: memoryview, *, tag_bytes: int) -> Manifest:
    """Return the manifest in `data`, which is authentic and all of it.

    (1) The length of the JSON is within limit and data. (2) It is JSON with
    exactly the keys of its format. (3) Every value passes the checks of
    `manifest`. (4) The tags are those of all segments. (5) Blobs end where the data
    ends. (6) Encoded again it is the same. S-28 to S-34 and S-36.

    Args:
        data: Kept: blobs are views of it.
        tag_bytes: The suite's tag size.

    Raises:
        SealedFormatError: One of the steps fails.
    """
    n_text = int.from_bytes(data[:_LENGTH_BYTES], "big")
    if len(data) < _LENGTH_BYTES or n_text > min(
        MAX_JSON_BYTES, len(data) - _LENGTH_BYTES
    ):  # (1) S-28
        raise SealedFormatError("manifest: its text is longer than it or its limit")
    text = bytes(data[_LENGTH_BYTES : _LENGTH_BYTES + n_text])
    try:
        tree = json.loads(text.decode(), parse_float=_no_number, parse_constant=_no_number)  # (2)
    except (ValueError, RecursionError) as error:
        raise SealedFormatError("manifest: its text is not JSON of whole numbers") from error
    blobs = _BlobReader(data[_LENGTH_BYTES + n_text :].toreadonly())
    manifest = _parse_tree(tree, blobs, tag_bytes)  # (2) to (4)
    if blobs.n_left:  # (5) S-28
        raise SealedFormatError("manifest: bytes are left after the last blob")
    if _encode_json(manifest) != text:  # (6) S-29, and S-30, S-31: nothing repeated, all sorted
        raise SealedFormatError("manifest: not in its canonical form")
    return manifest


def _encode_json(manifest: Manifest) -> bytes:
    probe, check = manifest.probe, manifest.check
    tree = {
        "arena": {
            "initial_bytes": manifest.arena.initial_bytes,
            "peak_bytes": manifest.arena.peak_bytes,
            "strategy": manifest.arena.strategy,
        },
        "check": check and {"inputs": _sizes(check.inputs), "outputs": _sizes(check.outputs)},
        "inputs": [[value.name, value.type, value.shape] for value in manifest.inputs],
        "memory": {
            "budget_bytes": manifest.memory.budget_bytes,
            "floor_bytes": manifest.memory.floor_bytes,
            "call_bytes": manifest.memory.call_bytes,
            "least_bytes": manifest.memory.least_bytes,
            "session_bytes": manifest.memory.session_bytes,
        },
        "metadata": _sorted(manifest.metadata),
        "name": manifest.name,
        "notes": manifest.notes,
        "outputs": [[value.name, value.type, value.shape] for value in manifest.outputs],
        "partitions": [
            {
                "activation_bytes": partition.activation_bytes,
                "inputs": partition.inputs,
                "n_nodes": partition.n_nodes,
                "outputs": partition.outputs,
                "skeleton_bytes": len(partition.skeleton),
                "time_us": partition.time_us,
                "weights": [[w.name, w.dtype, w.shape] for w in partition.weights],
            }
            for partition in manifest.partitions
        ],
        "planned_shapes": _sorted(manifest.planned_shapes),
        "probe": probe
        and {
            "input_bytes": [len(blob) for blob in probe.inputs],
            "output_bytes": [len(blob) for blob in probe.outputs],
            "skeleton_bytes": len(probe.skeleton),
        },
        "producer": manifest.producer,
        "rows_independent": manifest.rows_independent,
        "strategy": manifest.strategy,
        "target": {
            "arch": manifest.target.arch,
            "layout": manifest.target.layout,
            "onnxruntime": manifest.target.onnxruntime,
        },
    }
    text = json.dumps(tree, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def _blobs(manifest: Manifest) -> Iterator[Blob]:
    """Yield the blobs in their fixed order (S-32)."""
    for partition in manifest.partitions:
        yield partition.skeleton
    if manifest.probe is not None:
        yield manifest.probe.skeleton
        yield from manifest.probe.inputs
        yield from manifest.probe.outputs
    if manifest.check is not None:
        for blobs in (manifest.check.inputs, manifest.check.outputs):
            yield from (blob for _, blob in _sorted(blobs))
    yield manifest.tags


class _BlobReader:
    """Takes blobs off the front of what follows the JSON."""

    def __init__(self, rest: memoryview) -> None:
        self._rest = rest

    @property
    def n_left(self) -> int:
        return len(self._rest)

    def take(self, n_bytes: object) -> memoryview:
        if type(n_bytes) is not int or not 0 <= n_bytes <= len(self._rest):
            raise SealedFormatError("manifest: a blob is longer than what is left")
        blob, self._rest = self._rest[:n_bytes], self._rest[n_bytes:]
        return blob


def _parse_tree(tree: object, blobs: _BlobReader, tag_bytes: int) -> Manifest:
    (arena, check, inputs, memory, metadata, name, notes, outputs, partitions, planned_shapes,
     probe, producer, rows_independent, strategy, target) = _object(
        tree, "arena", "check", "inputs", "memory", "metadata", "name", "notes", "outputs",
        "partitions", "planned_shapes", "probe", "producer", "rows_independent", "strategy",
        "target",
    )  # fmt: skip
    # The blobs are taken in their order in the file: skeletons, probe, check, tags.
    parsed = tuple(_partition(partition, blobs) for partition in _list(partitions))
    parsed_probe = None if probe is None else _probe(probe, blobs)
    parsed_check = None if check is None else _check(check, blobs)
    n_segments = n_segments_of(partition.block_bytes for partition in parsed)
    if n_segments > MAX_SEGMENTS:
        raise SealedFormatError(f"manifest: more than {MAX_SEGMENTS} segments")
    return Manifest(
        name=name,
        producer=producer,
        strategy=strategy,
        metadata=_mapping(metadata),
        inputs=tuple(_value(value) for value in _list(inputs)),
        outputs=tuple(_value(value) for value in _list(outputs)),
        partitions=parsed,
        target=Target(**_named(target, "arch", "layout", "onnxruntime")),
        arena=Arena(**_named(arena, "initial_bytes", "peak_bytes", "strategy")),
        memory=Memory(
            **_named(
                memory, "budget_bytes", "call_bytes", "floor_bytes", "least_bytes", "session_bytes"
            )
        ),
        planned_shapes={key: _tuple(shape) for key, shape in _mapping(planned_shapes).items()},
        rows_independent=rows_independent,
        notes=_tuple(notes),
        probe=parsed_probe,
        check=parsed_check,
        tags=blobs.take(n_segments * tag_bytes),  # (4)
    )


def _partition(tree: object, blobs: _BlobReader) -> Partition:
    activation_bytes, inputs, n_nodes, outputs, skeleton_bytes, time_us, weights = _object(
        tree, "activation_bytes", "inputs", "n_nodes", "outputs", "skeleton_bytes", "time_us",
        "weights",
    )  # fmt: skip
    triples = (_items(weight, 3) for weight in _list(weights))
    return Partition(
        inputs=_tuple(inputs),
        outputs=_tuple(outputs),
        weights=lay_out_weights((name, dtype, _tuple(shape)) for name, dtype, shape in triples),
        skeleton=blobs.take(skeleton_bytes),
        n_nodes=n_nodes,
        activation_bytes=activation_bytes,
        time_us=time_us,
    )


def _probe(tree: object, blobs: _BlobReader) -> Probe:
    input_bytes, output_bytes, skeleton_bytes = _object(
        tree, "input_bytes", "output_bytes", "skeleton_bytes"
    )
    return Probe(
        skeleton=blobs.take(skeleton_bytes),
        inputs=tuple(blobs.take(size) for size in _list(input_bytes)),
        outputs=tuple(blobs.take(size) for size in _list(output_bytes)),
    )


def _check(tree: object, blobs: _BlobReader) -> Check:
    inputs, outputs = _object(tree, "inputs", "outputs")
    return Check(
        inputs={name: blobs.take(size) for name, size in _mapping(inputs).items()},
        outputs={name: blobs.take(size) for name, size in _mapping(outputs).items()},
    )


def _value(tree: object) -> ValueInfo:
    name, type_text, shape = _items(tree, 3)
    return ValueInfo(name=name, type=type_text, shape=None if shape is None else _tuple(shape))


def _object(tree: object, *keys: str) -> list[Any]:
    """Return the members of a JSON object that has exactly these keys (S-30)."""
    if type(tree) is not dict or len(tree) != len(keys) or not tree.keys() >= set(keys):
        raise SealedFormatError("manifest: an object has other keys than its format")
    return [tree[key] for key in keys]


def _named(tree: object, *keys: str) -> dict[str, Any]:
    return dict(zip(keys, _object(tree, *keys), strict=True))


def _list(tree: object) -> list[Any]:
    if type(tree) is not list:
        raise SealedFormatError("manifest: something else where a list belongs")
    return tree


def _tuple(tree: object) -> tuple[Any, ...]:
    return tuple(_list(tree))


def _items(tree: object, n_items: int) -> list[Any]:
    items = _list(tree)
    if len(items) != n_items:
        raise SealedFormatError(f"manifest: a list that is not of {n_items} entries")
    return items


def _mapping(tree: object) -> dict[str, Any]:
    """Return a list of pairs as a mapping; the final comparison refuses repeated keys."""
    mapping = {}
    for pair in _list(tree):
        key, value = _items(pair, 2)
        if type(key) is not str:
            raise SealedFormatError("manifest: the key of a pair is not text")
        mapping[key] = value
    return mapping


def _sorted(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(mapping.items(), key=lambda pair: pair[0].encode())


def _sizes(blobs: Mapping[str, Blob]) -> list[tuple[str, int]]:
    return [(name, len(blob)) for name, blob in _sorted(blobs)]


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{len(text)} characters that are no whole number")
