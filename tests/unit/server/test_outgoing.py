"""At whose pace a reply goes; what is sent is in test_http."""

import asyncio

import h11
import pytest

from inferonnx.server.limits import SEND_BYTES, HttpLimits
from inferonnx.server.messages import Reply
from inferonnx.server.outgoing import reply_pace, send_reply
from inferonnx.server.peer import ClientGoneError

LIMITS = HttpLimits(grace_s=10, reply_s=20, bytes_per_s=100, body_s=50)


class Reader:
    """A connection whose client takes a time for each lot, or all at once."""

    def __init__(self, takes_s=0.0):
        self.lots, self.takes_s = [], takes_s

    def write(self, lot):
        self.lots.append(b"".join(lot))

    async def drain(self, *, timeout_s):
        if self.takes_s:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self.takes_s)


def send(connection, n_bytes, limits=LIMITS):
    state = h11.Connection(h11.SERVER)
    state.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    state.next_event()
    reply = Reply(status=200, pieces=(bytes(n_bytes),))
    return send_reply(connection, reply, head=None, state=state, is_last=True, limits=limits)


def test_a_reply_has_its_own_start_and_never_more_in_hand():
    pace = reply_pace(10, LIMITS)
    assert pace.left_s == 20
    pace.note(1_000_000, 0)
    assert pace.left_s == 20


@pytest.mark.parametrize(("n_bytes", "left_s"), [(500, 15), (50_000, 10.5)])
def test_a_long_reply_is_to_be_read_in_its_time(n_bytes, left_s):
    pace = reply_pace(n_bytes, LIMITS)
    pace.note(500, 10)
    assert pace.left_s == left_s


def test_a_long_reply_holds_up_nobody_however_fast_it_is_read():
    async def main():
        turns = []

        async def turn():
            while True:
                turns.append(True)
                await asyncio.sleep(0)

        turning = asyncio.ensure_future(turn())
        connection = Reader()
        assert await send(connection, 20 * SEND_BYTES) == 20 * SEND_BYTES
        turning.cancel()
        assert len(turns) >= len(connection.lots) - 1 >= 20
        assert all(len(lot) <= SEND_BYTES for lot in connection.lots)

    asyncio.run(main())


@pytest.mark.parametrize(("takes_s", "is_read"), [(0.01, True), (0.15, False), (0.3, False)])
def test_who_reads_slower_than_the_least_rate_is_cut_off(takes_s, is_read):
    limits = HttpLimits(reply_s=0.2, bytes_per_s=10 * SEND_BYTES, body_s=50)
    connection = Reader(takes_s)
    sending = send(connection, 10 * SEND_BYTES, limits)
    if is_read:
        assert asyncio.run(sending) == 10 * SEND_BYTES
    else:
        with pytest.raises(ClientGoneError):
            asyncio.run(sending)
        assert len(connection.lots) < 8
