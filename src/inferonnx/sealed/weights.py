"""Streamed weights, and their places in the block of their partition (S-33)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from inferonnx.sealed.constants import DTYPE_BITS, WEIGHT_ALIGNMENT
from inferonnx.sealed.fields import check_int, check_shape, check_text, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A streamed initializer and its place in its partition's block.

    Attributes:
        name: Input of the skeleton that it is bound to.
        dtype: ONNX's number of its element type.
        shape: Its axes.
        offset: Where it begins in the block, a multiple of 64.
        n_bytes: Its size.
    """

    name: str
    dtype: int
    shape: tuple[int, ...]
    offset: int
    n_bytes: int

    def __post_init__(self) -> None:
        check_text("weight name", self.name)
        check_shape("weight shape", self.shape)
        check_int("weight offset", self.offset)
        if self.n_bytes != weight_bytes(self.dtype, self.shape):
            raise refuse("weight size", "is not that of its type and shape")


def weight_bytes(dtype: int, shape: tuple[int, ...]) -> int:
    """Return the size of a weight (S-33): elements without gaps, rounded up to a byte.

    Raises:
        SealedFormatError: No weight has this element type.
    """
    if type(dtype) is not int or dtype not in DTYPE_BITS:
        raise refuse("weight dtype", "is not one that a weight can have")
    return (prod(shape) * DTYPE_BITS[dtype] + 7) // 8


def lay_out_weights(weights: Iterable[tuple[str, int, tuple[int, ...]]]) -> tuple[Weight, ...]:
    """Return weights with their places in a block (S-33).

    Each begins where the one before ends, rounded up to 64; the block ends
    likewise, and all padding is zero bytes.

    Args:
        weights: Name, ONNX element type and shape of each, in order.

    Raises:
        SealedFormatError: A name, type or shape that no weight can have.
    """
    placed = []
    offset = 0
    for name, dtype, shape in weights:
        check_shape("weight shape", shape)
        n_bytes = weight_bytes(dtype, shape)
        placed.append(Weight(name=name, dtype=dtype, shape=shape, offset=offset, n_bytes=n_bytes))
        offset = aligned(offset + n_bytes)
    return tuple(placed)


def aligned(offset: int) -> int:
    """Return `offset`, rounded up to where a weight may begin."""
    return -(-offset // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT
