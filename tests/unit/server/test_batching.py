import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.server.batching import batch_kind, batch_rows, can_join, join, joined_shapes, split
from inferonnx.tensors import DType, Tensor


def tensor(*shape, dtype=DType.INT16, first=0):
    n = 1
    for size in shape:
        n *= size
    if dtype is DType.STRING:
        return Tensor(dtype=dtype, shape=shape, strings=[f"s{first + i}" for i in range(n)])
    data = bytes((first + i) % 256 for i in range(n * dtype.item_bytes))
    return Tensor(dtype=dtype, shape=shape, data=data)


@pytest.mark.parametrize(
    ("inputs", "rows"),
    [
        ({"x": tensor(3, 2)}, 3),
        ({"x": tensor(3, 2), "y": tensor(3)}, 3),
        ({"x": tensor(3, 2), "y": tensor(2)}, None),
        ({"x": tensor()}, None),
        ({"x": tensor(3), "y": tensor()}, None),
        ({"x": tensor(0, 2)}, None),
        ({}, None),
    ],
)
def test_rows_are_the_first_axis_of_all_inputs(inputs, rows):
    assert batch_rows(inputs) == rows


def test_two_requests_are_of_one_kind_when_all_but_their_rows_agrees():
    kind = batch_kind({"x": tensor(3, 2), "y": tensor(3)})
    assert kind == batch_kind({"y": tensor(1), "x": tensor(1, 2)})
    assert kind != batch_kind({"x": tensor(3, 1), "y": tensor(3)})
    assert kind != batch_kind({"x": tensor(3, 2)})
    assert kind != batch_kind({"x": tensor(3, 2), "z": tensor(3)})
    assert kind != batch_kind({"x": tensor(3, 2, dtype=DType.FLOAT16), "y": tensor(3)})


def test_the_shapes_of_a_batch_are_those_of_its_first_request_with_more_rows():
    shapes = joined_shapes({"x": tensor(1, 2, 3), "y": tensor(1)}, 7)
    assert shapes == {"x": (7, 2, 3), "y": (7,)}


def test_one_request_is_handed_on_as_it_is():
    inputs = {"x": tensor(2, 2)}
    joined = join([inputs])
    assert joined["x"] is inputs["x"]
    assert joined is not inputs


@given(
    rows=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    inner=st.lists(st.integers(0, 3), max_size=2),
    dtype=st.sampled_from([DType.INT16, DType.STRING, DType.BOOL, DType.COMPLEX128]),
)
def test_what_is_joined_and_split_again_is_the_same(rows, inner, dtype):
    requests = [{"x": tensor(n, *inner, dtype=dtype, first=7 * n)} for n in rows]
    joined = join(requests)
    assert joined["x"].shape == (sum(rows), *inner)
    parts = split([joined["x"]], rows)
    assert parts == [[request["x"]] for request in requests]


@pytest.mark.parametrize(
    "output",
    [
        tensor(),
        tensor(2, 3),
        tensor(1, 3, 2),
        Tensor(dtype=DType.UINT4, shape=(3, 2), data=bytes(3)),
    ],
)
def test_outputs_that_are_not_by_rows_are_not_split(output):
    assert split([tensor(3), output], [1, 2]) is None


def test_a_part_does_not_see_beyond_its_rows():
    (first,), (second,) = split([tensor(3, 2, dtype=DType.INT8)], [1, 2])
    assert (bytes(first.data), bytes(second.data)) == (b"\0\1", b"\2\3\4\5")


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(DType.FLOAT, True), (DType.STRING, True), (DType.BOOL, True), (DType.UINT4, False)],
)
def test_rows_join_where_they_end_at_a_byte(dtype, expected):
    assert can_join(dtype) is expected
