"""Views of memory that another object owns and only an address of which is known."""

from __future__ import annotations

import ctypes


def view_memory(address: int, n_bytes: int, owner: object) -> memoryview:
    """Return `n_bytes`, at least one, from `address` on as a view, without a copy.

    The view keeps `owner` alive, and whoever holds a slice of the view does too:
    the ctypes array underneath carries the reference. The address itself is
    believed: an object that lies about its memory can do so in any library.
    """
    array = (ctypes.c_char * n_bytes).from_address(address)
    array.owner = owner  # type: ignore[attr-defined]
    return memoryview(array).cast("B")


def view_strided(
    address: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int, owner: object
) -> tuple[memoryview, int]:
    """Return a view of all that a strided array touches, and where its first element is in it.

    Args:
        address: Of the element (0, 0, ...).
        shape: Sizes of the axes.
        strides: Steps of the axes, in bytes.
        item: Bytes of one element.
        owner: Whose memory it is.
    """
    if 0 in shape:
        return memoryview(b""), 0
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    below = -sum(n for n in reach if n < 0)
    above = sum(n for n in reach if n > 0)
    return view_memory(address - below, below + above + item, owner), below
