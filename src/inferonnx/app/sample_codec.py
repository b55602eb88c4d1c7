"""Samples and results as bytes, to be handed to another process through a pipe, never a file."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from inferonnx.tensors import Tensor, encode_tensor_pb, parse_tensor_pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.runtime.ort import Exported


def encode_values(values: Mapping[str, Exported]) -> bytes:
    """Return named tensors, sequences and maps as one line of JSON; tensors are TensorProtos."""
    return json.dumps({name: _encode(value) for name, value in values.items()}).encode()


def decode_values(text: bytes) -> dict[str, Exported]:
    """Return what `encode_values` was given."""
    return {name: _decode(value) for name, value in json.loads(text).items()}


def _encode(value: Exported) -> object:
    if isinstance(value, Tensor):
        return base64.b64encode(encode_tensor_pb("", value)).decode()
    if isinstance(value, dict):
        return {"map": [[key, _encode(part)] for key, part in value.items()]}
    return [_encode(part) for part in value]


def _decode(value: Any) -> Exported:  # JSON
    if isinstance(value, str):
        return parse_tensor_pb(base64.b64decode(value))[1]
    if isinstance(value, dict):
        return {key: _decode(part) for key, part in value["map"]}
    return [_decode(part) for part in value]
