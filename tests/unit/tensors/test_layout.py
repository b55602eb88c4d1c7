"""Tests of the order of elements in memory, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from inferonnx.tensors.layout import (
    c_strides,
    count_elements,
    fortran_strides,
    gather,
    is_c_order,
    pack_bits,
    swap_bytes,
)

SHAPES = st_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


@given(SHAPES, st.sampled_from([1, 2, 4, 8, 16]))
def test_strides_are_numpys(shape: tuple[int, ...], item: int) -> None:
    array = np.empty(shape, dtype=f"V{item}")
    if array.size:
        assert c_strides(shape, item) == array.strides
        assert fortran_strides(shape, item) == np.empty(shape, f"V{item}", order="F").strides
    assert count_elements(shape) == array.size


@given(st.data(), SHAPES, st.sampled_from(["u1", "<u2", "<f4", "<f8", "<c16"]))
def test_gather_follows_any_view(data: st.DataObject, shape: tuple[int, ...], dtype: str) -> None:
    base = np.arange(count_elements(shape) * np.dtype(dtype).itemsize, dtype="u1")
    array = base.view(dtype).reshape(shape)
    view = array[data.draw(st_numpy.basic_indices(shape, allow_ellipsis=False))]
    if isinstance(view, np.ndarray):
        view = view.transpose(data.draw(st.permutations(range(view.ndim))))
    else:
        view = np.asarray(view)
    offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    if not view.size or offset < 0 or offset > base.nbytes:
        offset = 0
    got = gather(
        memoryview(base) if base.size else memoryview(b""),
        offset=offset if np.shares_memory(view, base) else 0,
        shape=view.shape,
        strides=view.strides,
        item=view.itemsize,
    )
    if np.shares_memory(view, base) or not view.size:
        assert bytes(got) == view.tobytes()


def test_gather_repeats_along_strides_of_zero() -> None:
    base = np.arange(3, dtype="<u2")
    view = np.broadcast_to(base[:, None], (3, 4))
    got = gather(memoryview(base.view("u1")), offset=0, shape=(3, 4), strides=view.strides, item=2)
    assert bytes(got) == view.tobytes()
    all_zero = gather(memoryview(base.view("u1")), offset=2, shape=(5,), strides=(0,), item=2)
    assert bytes(all_zero) == b"\x01\x00" * 5


@pytest.mark.parametrize(
    ("shape", "strides", "answer"),
    [
        ((2, 3), (12, 4), True),
        ((2, 3), (4, 8), False),
        ((1, 3), (999, 4), True),
        ((), (), True),
        ((3,), (-4,), False),
        ((3,), (8,), False),
    ],
)
def test_is_c_order(shape: tuple[int, ...], strides: tuple[int, ...], answer: bool) -> None:
    assert is_c_order(shape, strides, 4) is answer


@pytest.mark.parametrize("word", [1, 2, 4, 8])
def test_swap_bytes_is_numpys(word: int) -> None:
    source = np.arange(24, dtype="u1")
    assert (
        bytes(swap_bytes(memoryview(source), word)) == source.view(f"u{word}").byteswap().tobytes()
    )


@given(st.binary(max_size=20), st.sampled_from([2, 4, 6, 8]))
def test_pack_bits_is_a_little_endian_number(values: bytes, bits: int) -> None:
    whole = sum((value % 2**bits) << (i * bits) for i, value in enumerate(values))
    assert pack_bits(values, bits) == whole.to_bytes((len(values) * bits + 7) // 8, "little")
