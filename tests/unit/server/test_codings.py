import asyncio
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.server import codings
from inferonnx.server.messages import HttpError

BOTH = [gzip.compress, zlib.compress]


def inflated(data, cuts=()):
    inflater = codings.Inflater()
    found, start = [], 0
    for stop in (*sorted(cuts), len(data)):
        found += inflater.inflate(data[start:stop])
        start = stop
    inflater.finish()
    assert all(len(piece) <= codings.STEP_BYTES for piece in found)
    return b"".join(found)


@pytest.mark.parametrize("compress", BOTH)
@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=5))
def test_any_split_inflates_to_the_same(compress, data, cuts):
    compressed = compress(data)
    assert inflated(compressed, [min(cut, len(compressed)) for cut in cuts]) == data


@pytest.mark.parametrize("compress", BOTH)
def test_a_bomb_comes_in_steps(compress):
    bomb = compress(bytes(10 << 20))
    first = next(codings.Inflater().inflate(bomb))
    assert len(first) == codings.STEP_BYTES
    assert inflated(bomb) == bytes(10 << 20)


@pytest.mark.parametrize("compress", BOTH)
@pytest.mark.parametrize("n", [0, 1, 5, -1])
def test_what_ends_too_early_is_refused(compress, n):
    with pytest.raises(HttpError, match="too early") as info:
        inflated(compress(b"tensor" * 100)[:n])
    assert info.value.status == 400


@pytest.mark.parametrize("compress", BOTH)
@pytest.mark.parametrize("behind", [b"x", b"\0", gzip.compress(b"second member", mtime=0)])
@pytest.mark.parametrize("cut", [False, True])
def test_what_goes_on_is_refused(compress, behind, cut):
    data = compress(b"tensor")
    with pytest.raises(HttpError, match="goes on") as info:
        inflated(data + behind, [len(data)] if cut else [])
    assert info.value.status == 400


@pytest.mark.parametrize("compress", BOTH)
def test_damage_is_refused(compress):
    data = bytearray(compress(b"tensor" * 100))
    data[-1] ^= 1  # the check sum
    for damaged in (bytes(data), b"plain text that is no stream"):
        with pytest.raises(HttpError, match="damaged") as info:
            inflated(damaged)
        assert info.value.status == 400


@pytest.mark.parametrize(
    ("value", "coding"),
    [("", ""), ("identity", ""), (" GZIP ", "gzip"), ("deflate", "deflate"), ("Identity", "")],
)
def test_codings_of_requests(value, coding):
    assert codings.request_coding(value) == coding


@pytest.mark.parametrize("value", ["br", "zstd", "gzip, gzip", "gzip, identity", "x-gzip", "*"])
def test_other_codings_are_refused_by_name(value):
    with pytest.raises(HttpError) as info:
        codings.request_coding(value)
    assert info.value.status == 501
    assert info.value.reply().headers[-1] == ("Accept-Encoding", "gzip, deflate")


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("GZIP;q=0.5", "gzip"),
        ("gzip; q=1.0", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=0.000", ""),
        ("gzip;q=", ""),
        ("gzip;q=7", ""),
        ("", ""),
        ("br", ""),
        ("*", ""),
        ("identity", ""),
        ("gzip, deflate, br", ""),
        ("gzip,", ""),
        ("gzip, identity;q=0", ""),
    ],
)
def test_only_who_names_one_coding_gets_it(value, coding):
    assert codings.reply_coding(value) == coding


@pytest.mark.parametrize(
    ("coding", "inflate"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
@pytest.mark.parametrize("size", [0, 10, codings.INLINE_BYTES, codings.INLINE_BYTES + 1])
def test_replies_are_compressed(coding, inflate, size):
    pieces = [b"a" * (size // 2), memoryview(bytearray(size - size // 2))]
    found = asyncio.run(codings.compress(pieces, sum(map(len, pieces)), coding))
    assert inflate(b"".join(found)) == b"".join(pieces)
