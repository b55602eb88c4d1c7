import struct

from hypothesis import given
from hypothesis import strategies as st

from inferonnx.server.pieces import lots


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 20))
def test_lots_hold_all_bytes_in_order_and_are_full_but_for_the_last(pieces, n):
    found = [b"".join(lot) for lot in lots(pieces, n)]
    assert b"".join(found) == b"".join(pieces)
    assert all(len(lot) == n for lot in found[:-1])
    assert not found or 0 < len(found[-1]) <= n


def test_nothing_is_copied_and_views_of_other_types_are_bytes():
    data = bytearray(b"abcdefgh")
    (lot,) = lots([memoryview(data)[2:], memoryview(struct.pack("2i", 1, 2)).cast("i")], 100)
    data[2] = ord("C")
    assert b"".join(lot) == b"Cdefgh" + struct.pack("2i", 1, 2)
