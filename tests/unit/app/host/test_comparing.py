import numpy as np
import pytest

from inferonnx.app.host.comparing import check_agreement, compare
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
        (np.array([17, 30521], np.int64), np.array([18, 30521], np.int64), "integer, by 1;"),
        (np.array([2**53], np.int64), np.array([2**53 + 1], np.int64), "integer, by 1;"),
        (np.array([-(2**63)]), np.array([2**63 - 1]), f"integer, by {2**64 - 1};"),
        (np.array([True]), np.array([False]), "integer, by 1; tolerated are none"),
        (np.array([0, 9], np.uint8), np.array([2, 9], np.uint8), "by 2; tolerated are 1 step"),
        (np.array([1 + 1j], np.complex64), np.array([1 + 2j], np.complex64), "tolerated"),
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


def test_each_output_is_judged_by_itself():
    # One has the largest absolute difference, the other the largest relative one.
    known = values(a=np.array([1e3], np.float32), b=np.array([1e-6], np.float32))
    mine = values(a=np.array([1e3 + 0.1], np.float32), b=np.array([2e-6], np.float32))
    difference = compare(known, mine)
    assert difference.absolute > 0.01
    assert difference.relative > 0.1
    assert difference.within
    check_agreement(difference)


def test_the_output_that_differs_is_named():
    known = values(fine=np.zeros(2, np.float32), wrong=np.ones(2, np.float32))
    mine = values(fine=np.zeros(2, np.float32), wrong=np.full(2, 1.1, np.float32))
    with pytest.raises(DifferenceError, match=r"by 0\.1 .*output 'wrong'") as caught:
        check_agreement(compare(known, mine))
    assert caught.value.hint


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_one_step_of_a_quantised_output_agrees(dtype):
    difference = compare(values(y=np.array([3, 7], dtype)), values(y=np.array([4, 6], dtype)))
    assert (difference.absolute, difference.exact, difference.within) == (1.0, False, True)


def test_imaginary_parts_count():
    known, mine = np.array([2 + 1j], np.complex64), np.array([2 + 1.001j], np.complex64)
    difference = compare(values(y=known), values(y=mine))
    assert difference.absolute == pytest.approx(1e-3, rel=0.01)


def test_sequences_maps_and_missing_values_are_compared_part_by_part():
    one, two = as_tensor(np.ones(1, np.float32)), as_tensor(np.zeros(1, np.float32))
    known = {"s": [one, two], "m": {"k": one}, "o": None}
    assert compare(known, {"s": [one, two], "m": {"k": one}, "o": None}).exact
    for other in (
        {"s": [one], "m": {"k": one}, "o": None},
        {"s": [one, two], "m": {"l": one}, "o": None},
        {"s": [one, two], "m": {"k": one}, "o": one},
    ):
        with pytest.raises(DifferenceError, match="structure"):
            check_agreement(compare(known, other))
    with pytest.raises(DifferenceError, match="output 's'"):
        check_agreement(compare(known, known | {"s": [one, one]}))
