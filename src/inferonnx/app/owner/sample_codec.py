"""Samples and results as bytes, to be handed to another process through a pipe, never a file.

A line of JSON says how tensors make up the values and how long each is; the
tensors follow as TensorProtos, which hold every type.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inferonnx.tensors import Tensor, encode_tensor_pb, parse_tensor_pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.runtime.ort_values import Exported


def encode_values(values: Mapping[str, Exported]) -> bytes:
    """Return named tensors, sequences and maps as bytes."""
    blobs: list[bytes] = []
    tree = {name: _encode(value, blobs) for name, value in values.items()}
    return b"".join([json.dumps(tree).encode(), b"\n", *blobs])


def decode_values(content: bytes) -> dict[str, Exported]:
    """Return what `encode_values` was given; each tensor has memory of its own.

    As a part of `content` it lies where its head ends, and each call of a session would
    copy it to where C++ wants elements: what a host reads lies there from the start.
    """
    end = content.index(b"\n")
    reader = _Reader(memoryview(content)[end + 1 :])
    return {name: _decode(tree, reader) for name, tree in json.loads(content[:end]).items()}


class _Reader:
    """Hands out consecutive slices."""

    def __init__(self, rest: memoryview) -> None:
        self._rest = rest

    def take(self, n_bytes: int) -> memoryview:
        part, self._rest = self._rest[:n_bytes], self._rest[n_bytes:]
        return part


def _encode(value: Exported, blobs: list[bytes]) -> object:
    if isinstance(value, Tensor):
        blobs.append(encode_tensor_pb("", value))
        return len(blobs[-1])
    if value is None:
        return None
    if isinstance(value, dict):
        return {"map": [[key, _encode(part, blobs)] for key, part in value.items()]}
    return [_encode(part, blobs) for part in value]


def _decode(tree: Any, reader: _Reader) -> Exported:  # JSON
    if tree is None:
        return None
    if isinstance(tree, int):
        tensor = parse_tensor_pb(reader.take(tree))[1]
        data = memoryview(bytearray(tensor.data))
        return Tensor(dtype=tensor.dtype, shape=tensor.shape, data=data, strings=tensor.strings)
    if isinstance(tree, dict):
        return {key: _decode(part, reader) for key, part in tree["map"]}
    return [_decode(part, reader) for part in tree]
