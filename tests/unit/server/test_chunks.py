from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.server.chunks import Chunks
from inferonnx.server.messages import HttpError

BODY = b'5;ext="a"\r\nhello\r\n0C \r\n, you\r\nthere\r\n00;x\r\nA: b\r\nC:\r\n\r\n'


def read(*pieces, limit_bytes=1000, n_chunks=None, line_bytes=100):
    """Return the body, whether it is over, and what is behind it."""
    chunks = Chunks(limit_bytes=limit_bytes, n_chunks=n_chunks, line_bytes=line_bytes)
    found = []
    for piece in pieces:
        found += map(bytes, chunks.parts(piece))
    return b"".join(found), chunks.is_over, chunks.behind


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
def test_any_split_reads_to_the_same(cuts):
    places = [0, *sorted(cuts), len(BODY)]
    pieces = [BODY[a:b] for a, b in pairwise(places)]
    assert read(*pieces[:-1], pieces[-1] + b"GET") == (b"hello, you\r\nthere", True, b"GET")


def test_nothing_is_over_before_its_end():
    for n in range(len(BODY)):
        assert read(BODY[:n])[1:] == (False, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b" 1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b"1\n",
        b"1\r\r\n",
        b"1;\x00\r\n",
        b"1;\r2\r\n",
        b"1" * 21 + b"\r\n",
        b"1;" + b"a" * 99,
        b"1;" + b"a" * 99 + b"\r\n",
        b"5\r\nhelloX",
        b"5\r\nhello\n",
        b"5\r\nhello\r\r",
        b"0\r\n\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA\r\n",
        b"0\r\n A: b\r\n",
        b"0\r\nA : b\r\n",
        b"0\r\nA: \x00\r\n",
        b"0\r\n" + b"A: b\r\n" * 17,
        b"0\r\nA: " + b"b" * 100,
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_malformed(data, step):
    with pytest.raises(HttpError, match="malformed") as caught:
        read(*(data[i : i + step] for i in range(0, len(data), step)))
    assert (caught.value.status, caught.value.close) == (400, True)


@pytest.mark.parametrize("before", [b"", b"3e7\r\n" + bytes(999) + b"\r\n"], ids=["first", "later"])
@pytest.mark.parametrize("more", [0, 1])
def test_a_chunk_is_refused_when_it_announces_too_much(before, more):
    size = b"%x\r\n" % ((1 if before else 1000) + more)
    if not more:
        assert read(before + size)[1] is False
        return
    with pytest.raises(HttpError, match="larger than 1000 B") as caught:
        read(before + size)
    assert caught.value.status == 413


@pytest.mark.parametrize("n", [2, 3])
def test_chunks_with_something_in_them_are_counted(n):
    data = b"1\r\nx\r\n" * n + b"0\r\n\r\n"
    if n == 2:
        assert read(data, n_chunks=2) == (b"xx", True, b"")
        return
    with pytest.raises(HttpError, match="maximum of 2 non-empty"):
        read(data, n_chunks=2)
