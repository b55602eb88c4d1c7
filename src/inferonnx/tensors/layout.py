"""Order of elements in memory: what is strided, reversed or loose becomes C order, little-endian.

Only bytes are moved; nothing here knows what they mean.
"""

from __future__ import annotations

_WORDS = (8, 4, 2, 1)
"""Sizes in bytes in which elements are moved, largest first."""


def count_elements(shape: tuple[int, ...]) -> int:
    """Return the product of `shape`; 1 for rank 0."""
    n = 1
    for size in shape:
        n *= size
    return n


def is_c_order(shape: tuple[int, ...], strides: tuple[int, ...], item_bytes: int) -> bool:
    """Say whether elements at `strides` (bytes) stand without gaps, the last axis fastest."""
    expected = item_bytes
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True


def c_strides(shape: tuple[int, ...], item_bytes: int) -> tuple[int, ...]:
    """Return the strides in bytes of C order, the last axis fastest."""
    strides = []
    step = item_bytes
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def fortran_strides(shape: tuple[int, ...], item_bytes: int) -> tuple[int, ...]:
    """Return the strides in bytes of Fortran's order, the first axis fastest."""
    return tuple(reversed(c_strides(tuple(reversed(shape)), item_bytes)))


def gather(
    source: memoryview, *, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int
) -> bytearray:
    """Return the elements of a strided array in C order.

    Args:
        source: Bytes that hold every element.
        offset: Place of element (0, 0, ...) in `source`, in bytes.
        shape: Sizes of the axes.
        strides: Steps of the axes in bytes; may be negative or zero.
        item: Bytes of one element.

    Cost: one slice copy for each run along the longest axis.
    """
    result = bytearray(count_elements(shape) * item)
    if not result:
        return result
    if not shape:
        result[:] = source[offset : offset + item]
        return result
    fixed = (item, offset, len(source), *strides)
    unit = next(word for word in _WORDS if not any(n % word for n in fixed))
    words = item // unit
    origin = _in_words(source, unit)
    target = _in_words(memoryview(result), unit)
    to_strides = c_strides(shape, item)
    inner = max(range(len(shape)), key=lambda axis: (strides[axis] != 0, shape[axis]))
    n, step, to_step = shape[inner], strides[inner] // unit, to_strides[inner] // unit
    for start, to_start in _starts(shape, strides, to_strides, inner):
        first, to_first = (offset + start) // unit, to_start // unit
        for word in range(words):
            to = slice(to_first + word, to_first + word + (n - 1) * to_step + 1, to_step)
            target[to] = _run(origin, first + word, n, step)
    return result


def _in_words(view: memoryview, unit: int) -> memoryview:
    match unit:
        case 8:
            return view.cast("Q")
        case 4:
            return view.cast("I")
        case 2:
            return view.cast("H")
    return view


def _run(origin: memoryview, first: int, n: int, step: int) -> memoryview:
    """Return `n` words from `first` on, `step` words apart."""
    if step > 0:
        return origin[first : first + (n - 1) * step + 1 : step]
    if step < 0:
        low = first + (n - 1) * step
        return origin[low : first + 1][::step] if n > 1 else origin[first : first + 1]
    # A step of zero comes from broadcasting: one word, seen n times.
    return _in_words(memoryview(origin[first : first + 1].tobytes() * n), origin.itemsize)


def _starts(
    shape: tuple[int, ...], strides: tuple[int, ...], to_strides: tuple[int, ...], inner: int
) -> list[tuple[int, int]]:
    """Return where each run along axis `inner` begins, as (place in source, place in result)."""
    starts = [(0, 0)]
    for axis, size in enumerate(shape):
        if axis != inner:
            a, b = strides[axis], to_strides[axis]
            starts = [(x + i * a, y + i * b) for x, y in starts for i in range(size)]
    return starts


def swap_bytes(source: memoryview, word: int) -> bytearray:
    """Return `source` with the bytes of every word of `word` bytes reversed."""
    result = bytearray(source)
    for place in range(word):
        result[place::word] = source[word - 1 - place :: word]
    return result


def pack_bits(values: bytes | bytearray | memoryview, bits: int) -> bytes:
    """Return the low `bits` of each byte of `values`, packed, the first in the lowest bits."""
    mask = (1 << bits) - 1
    result = bytearray()
    held = n_held = 0
    for value in values:
        held |= (value & mask) << n_held
        n_held += bits
        if n_held >= 8:
            result.append(held & 0xFF)
            held >>= 8
            n_held -= 8
    if n_held:
        result.append(held)
    return bytes(result)
