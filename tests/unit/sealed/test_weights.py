from __future__ import annotations

from dataclasses import replace

import pytest

from inferonnx.errors import SealedFormatError
from inferonnx.sealed import Weight, lay_out_weights, weight_bytes

W = Weight(name="w", dtype=1, shape=(3,), offset=0, n_bytes=12)


@pytest.mark.parametrize(
    ("dtype", "shape", "n_bytes"),
    [
        (1, (), 4),
        (1, (3,), 12),
        (1, (0, 7), 0),
        (10, (3, 5), 30),
        (15, (2,), 32),
        (21, (3,), 2),
        (22, (4,), 2),
        (25, (5,), 2),
        (9, (5,), 5),
    ],
)
def test_size_of_a_weight_is_its_elements_in_whole_bytes(dtype, shape, n_bytes):
    assert weight_bytes(dtype, shape) == n_bytes


@pytest.mark.parametrize("dtype", [0, 8, 27, 28, -1, True, "1", None])
def test_element_type_that_no_weight_has_is_refused(dtype):
    with pytest.raises(SealedFormatError, match="dtype"):
        weight_bytes(dtype, (1,))


def test_weight_of_another_size_is_refused():
    with pytest.raises(SealedFormatError, match="size"):
        replace(W, n_bytes=16)


@pytest.mark.parametrize("shape", [(-1,), ("N",), (None,), [1], None, (True,)])
def test_weight_of_no_known_shape_is_not_laid_out(shape):
    with pytest.raises(SealedFormatError, match="weight shape"):
        lay_out_weights([("w", 1, shape)])


def test_weights_begin_at_multiples_of_64():
    weights = lay_out_weights([("a", 2, (1,)), ("b", 2, (0,)), ("c", 2, (64,)), ("d", 2, (65,))])
    assert [(w.offset, w.n_bytes) for w in weights] == [(0, 1), (64, 0), (64, 64), (128, 65)]
