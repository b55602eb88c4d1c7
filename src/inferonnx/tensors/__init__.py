"""Tensors: their value, what callers hand in turned into it, and the files that hold them.

Neither numpy nor onnx is needed or imported. Codecs are loaded when first used,
so that importing this room stays cheap in the enclave.
"""

from __future__ import annotations

from inferonnx.tensors.dtype import DType
from inferonnx.tensors.tensor import MAX_ELEMENTS, MAX_RANK, TEXT_ERRORS, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inferonnx.tensors.convert import as_tensor
    from inferonnx.tensors.npy import encode_npy, npy_pieces, parse_npy
    from inferonnx.tensors.npz import encode_npz, npz_pieces, parse_npz
    from inferonnx.tensors.proto import encode_tensor_pb, parse_tensor_pb, tensor_pb_pieces
    from inferonnx.tensors.validate import validate

__all__ = [
    "MAX_ELEMENTS",
    "MAX_RANK",
    "TEXT_ERRORS",
    "DType",
    "Tensor",
    "as_tensor",
    "encode_npy",
    "encode_npz",
    "encode_tensor_pb",
    "npy_pieces",
    "npz_pieces",
    "parse_npy",
    "parse_npz",
    "parse_tensor_pb",
    "tensor_pb_pieces",
    "validate",
]

_HOMES = {
    "as_tensor": "convert",
    "encode_npy": "npy",
    "encode_npz": "npz",
    "encode_tensor_pb": "proto",
    "npy_pieces": "npy",
    "npz_pieces": "npz",
    "parse_npy": "npy",
    "parse_npz": "npz",
    "parse_tensor_pb": "proto",
    "tensor_pb_pieces": "proto",
    "validate": "validate",
}


def __getattr__(name: str) -> object:
    """Load the module that holds `name` when it is first asked for."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
