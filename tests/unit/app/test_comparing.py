import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.app.comparing import check_agreement, compare
from inferonnx.app.sample_codec import decode_values, encode_values
from inferonnx.errors import DifferenceError
from inferonnx.tensors import as_tensor


def values(**arrays):
    return {name: as_tensor(array) for name, array in arrays.items()}


def test_equal_bits_are_exact():
    x = np.array([1.5, np.nan, -np.inf, 0.0], np.float32)
    difference = compare(values(y=x), values(y=x.copy()))
    assert difference.exact
    assert (difference.absolute, difference.ulps) == (0.0, 0)
    check_agreement(difference)


def test_differences_are_measured():
    x = np.array([1.0, 2.0, -4.0], np.float32)
    y = np.array([1.0, np.nextafter(np.float32(2), np.float32(3)), -4.0], np.float32)
    difference = compare(values(y=x), values(y=y))
    assert not difference.exact
    assert difference.ulps == 1
    assert difference.absolute == pytest.approx(2.4e-7, rel=0.02)
    assert difference.relative == pytest.approx(6e-8, rel=0.02)
    check_agreement(difference)


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        (np.zeros(3, np.float32), np.zeros((3, 1), np.float32), "shape"),
        (np.zeros(3, np.float32), np.zeros(3, np.float64), "type"),
        (np.array(["a"]), np.array(["b"]), "string"),
        (np.array([np.inf], np.float32), np.array([1.0], np.float32), "not finite"),
        (np.array([1.0], np.float32), np.array([1.01], np.float32), "tolerated"),
        (np.array([1], np.int64), np.array([2], np.int64), "tolerated"),
    ],
)
def test_what_differs_is_refused(left, right, words):
    with pytest.raises(DifferenceError, match=words):
        check_agreement(compare(values(y=left), values(y=right)))


def test_other_names_are_refused():
    with pytest.raises(DifferenceError, match="names"):
        check_agreement(compare(values(a=np.zeros(1)), values(b=np.zeros(1))))


def test_another_largest_output_is_noticed():
    x, y = np.array([1.0, 1.0001], np.float32), np.array([1.0001, 1.0], np.float32)
    assert not compare(values(y=x), values(y=y)).same_largest


leaves = st.one_of(
    st.lists(st.floats(width=32), max_size=5).map(lambda v: as_tensor(np.array(v, np.float32))),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3).map(
        lambda v: as_tensor(np.array(v, object))
    ),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=6), trees, max_size=3))
def test_samples_survive_the_pipe(sample):
    assert decode_values(encode_values(sample)) == sample
