import asyncio
import threading

import pytest

from inferonnx.oip import TooLargeError
from inferonnx.server.ledger import Ledger
from inferonnx.server.messages import HttpError
from inferonnx.server.parsing import parse_within

COSTS = (2, 8)


class Parser:
    """Takes so much, and remembers what it was allowed and where it ran."""

    def __init__(self, needed):
        self.needed, self.allowed, self.in_loop = needed, [], []

    def __call__(self, n_bytes):
        self.allowed.append(n_bytes)
        self.in_loop.append(threading.current_thread() is threading.main_thread())
        if n_bytes < self.needed:
            raise TooLargeError("too much")
        return n_bytes


def parsed(parser, *, total=10_000, beside=50, **more):
    """Parse a message of 100 bytes; return what that gave, and what is held in the end."""

    async def work():
        ledger = Ledger(total)
        reservation = await ledger.reserve(100 + beside)
        return await parse_within(parser, reservation, 100, costs=COSTS, **more), ledger.used_bytes

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("needed", "allowed"), [(50, [50]), (51, [50, 200]), (200, [50, 200]), (201, [50, 200, 800])]
)
def test_memory_is_taken_where_there_was_too_little(needed, allowed):
    parser = Parser(needed)
    assert parsed(parser) == (allowed[-1], 100 + allowed[-1])
    assert parser.allowed == allowed
    assert parser.in_loop == [True] + [False] * (len(allowed) - 1)


def test_what_is_slow_is_for_a_thread_from_the_beginning():
    parser = Parser(50)
    assert parsed(parser, is_slow=True) == (50, 150)
    assert parser.in_loop == [False]


def test_nothing_is_given_back_where_more_is_there_than_is_likely():
    parser = Parser(501)
    assert parsed(parser, beside=500) == (800, 900)
    assert parser.allowed == [500, 500, 800]


def test_too_much_is_refused():
    with pytest.raises(TooLargeError):
        parsed(Parser(801))


def test_memory_that_is_not_there_is_not_waited_for():
    parser = Parser(300)
    with pytest.raises(HttpError) as caught:
        parsed(parser, total=500)
    assert caught.value.status == 413
    assert parser.allowed == [50, 200]
