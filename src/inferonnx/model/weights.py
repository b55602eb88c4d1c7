"""Weights: where an initializer's bytes lie, and how they are handed out.

A weight is a view of one stored tensor, perhaps transposed or a part of it. Views
are made when asked for and not before: a model of many gigabytes is never copied
as a whole, and the pieces of a split weight share the memory of the one they are
pieces of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.errors import ModelError
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import TensorProto

# Whole bytes of one element, as numpy type that only carries bits.
_CARRIERS = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64, 128: np.complex128}

# Rows and columns copied at a time where memory is read against its direction; twice
# as fast as numpy's own copy of a transpose.
_BLOCK = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A stored tensor as one reader of it wants to see it.

    Attributes:
        dtype: Element type.
        shape: Shape of the view.
        stored: Flat uint8 array of the stored tensor: C order, little-endian.
        stored_shape: Shape of the stored tensor.
        transposed: The view is of the stored matrix's transpose.
        axis: Axis of the view (after the transpose) that `span` cuts.
        span: Half-open range along `axis`; None takes all.
    """

    dtype: DType
    shape: tuple[int, ...]
    stored: np.ndarray[Any, np.dtype[np.uint8]]
    stored_shape: tuple[int, ...]
    transposed: bool = False
    axis: int = 0
    span: tuple[int, int] | None = None

    @property
    def n_bytes(self) -> int:
        """Bytes of the view."""
        return self.dtype.n_bytes(prod(self.shape))

    def transpose(self) -> Weight:
        """Return the transpose of a whole matrix."""
        if self.span is not None or len(self.shape) != 2:
            raise ValueError("only a whole matrix is transposed")
        return replace(self, shape=self.shape[::-1], transposed=not self.transposed)

    def part(self, start: int, stop: int, *, axis: int = 0) -> Weight:
        """Return elements [start, stop) along `axis` of a whole weight."""
        if self.span is not None or not 0 <= start < stop <= self.shape[axis]:
            raise ValueError("only a whole weight is cut, inside its shape")
        shape = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        return replace(self, shape=shape, axis=axis, span=(start, stop))

    def array(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the view's bytes, flat: shared with the store where they are contiguous there."""
        if not self.transposed and self.span is None:
            return self.stored
        elements: np.ndarray[Any, Any] = self.stored.view(_CARRIERS[self.dtype.bits]).reshape(
            self.stored_shape
        )
        view = elements.T if self.transposed else elements
        if self.span is not None:
            view = view[(slice(None),) * self.axis + (slice(*self.span),)]
        copy = np.empty(view.shape, view.dtype)
        if self.transposed:
            _fill_by_blocks(copy, view)
        else:
            copy[...] = view
        return copy.reshape(-1).view(np.uint8)

    def data(self) -> memoryview:
        """Return the view's bytes in C order."""
        return self.array().data


def _fill_by_blocks(target: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> None:
    """Copy a matrix whose memory runs the other way, in blocks that a cache holds."""
    for row in range(0, target.shape[0], _BLOCK):
        for column in range(0, target.shape[1], _BLOCK):
            block = (slice(row, row + _BLOCK), slice(column, column + _BLOCK))
            target[block] = source[block]


def is_plain(tensor: TensorProto) -> bool:
    """Return whether the tensor's elements are numbers that onnxruntime holds as bytes."""
    known = tensor.data_type in DType._value2member_map_ and tensor.data_type != DType.STRING
    # Elements of six bits straddle bytes; no operator of onnxruntime takes them yet.
    return known and DType(tensor.data_type).bits != 6


def tensor_bytes(tensor: TensorProto) -> int:
    """Return the bytes of a plain tensor, wherever they lie."""
    return DType(tensor.data_type).n_bytes(prod(tensor.dims))


def weight_of(tensor: TensorProto, files: Mapping[str, Any]) -> Weight:
    """Return the plain `tensor` as a weight.

    Args:
        tensor: Its bytes are inside it, or in one of `files`.
        files: Buffers of external data by location.

    Raises:
        ModelError: The external data ends too early.
    """
    shape = tuple(tensor.dims)
    n_bytes = tensor_bytes(tensor)
    stored = _external(tensor, files, n_bytes) if is_external(tensor) else _internal(tensor)
    if stored.size != n_bytes:
        raise ModelError(
            f"tensor {tensor.name!r} has {stored.size} bytes and needs {n_bytes}",
            where=tensor.name,
        )
    return Weight(dtype=DType(tensor.data_type), shape=shape, stored=stored, stored_shape=shape)


def bring_in(tensor: TensorProto, files: Mapping[str, Any]) -> None:
    """Move the bytes of the plain `tensor` into it, from one of `files`.

    Raises:
        ModelError: The external data ends too early.
    """
    data = bytes(weight_of(tensor, files).data())
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = data


def is_external(tensor: TensorProto) -> bool:
    """Return whether the tensor's bytes lie in another file."""
    return bool(tensor.data_location == 1)  # TensorProto.EXTERNAL


def external_fields(tensor: TensorProto) -> dict[str, str]:
    """Return location, offset and length as the tensor gives them."""
    return {entry.key: entry.value for entry in tensor.external_data}


def _external(
    tensor: TensorProto, files: Mapping[str, Any], n_bytes: int
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    fields = external_fields(tensor)
    buffer = files[fields["location"]]
    offset = int(fields.get("offset", 0))
    if offset + n_bytes > len(buffer):
        raise ModelError(f"the data of tensor {tensor.name!r} is cut off", where=tensor.name)
    return np.frombuffer(buffer, np.uint8, n_bytes, offset)


def _internal(tensor: TensorProto) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if tensor.HasField("raw_data"):
        return np.frombuffer(tensor.raw_data, np.uint8)
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    bits = DType(tensor.data_type).bits
    return pack(flat, bits) if bits < 8 else flat


def pack(
    codes: np.ndarray[Any, np.dtype[np.uint8]], bits: int
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return elements of two or four bits, one in each byte, packed: the first one lowest."""
    per_byte = 8 // bits
    low = codes & np.uint8((1 << bits) - 1)
    low = np.concatenate([low, np.zeros(-low.size % per_byte, np.uint8)])
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    return np.asarray(np.bitwise_or.reduce(low.reshape(-1, per_byte) << shifts, axis=1), np.uint8)
