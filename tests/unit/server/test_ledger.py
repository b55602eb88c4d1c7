import asyncio

import pytest

from inferonnx.errors import UsageError
from inferonnx.server.ledger import Ledger
from sim.stepping import SteppingLoop


@pytest.fixture
def loop():
    loop = SteppingLoop()
    yield loop
    assert not loop.complaints
    loop.close()


def waiting(loop, ledger, n_bytes):
    task = loop.create_task(ledger.reserve(n_bytes))
    loop.step(2)
    return task


def test_what_is_free_is_reserved_at_once_and_counted(loop):
    ledger = Ledger(10)
    first = waiting(loop, ledger, 6).result()
    assert (ledger.used_bytes, first.n_bytes) == (6, 6)
    with ledger.try_reserve(4) as second:
        assert (ledger.used_bytes, second.n_bytes) == (10, 4)
        assert ledger.try_reserve(1) is None
    assert ledger.used_bytes == 6
    first.release()
    first.release()
    assert ledger.used_bytes == 0


def test_more_than_there_ever_is_is_refused_with_both_figures(loop):
    task = waiting(loop, Ledger(3 << 20), 4 << 20)
    with pytest.raises(UsageError, match=r"takes 4.0 MiB, .* hold 3.0 MiB"):
        task.result()


def test_first_come_first_served_even_where_a_later_one_would_fit(loop):
    ledger = Ledger(10)
    held = ledger.try_reserve(8)
    large, small = waiting(loop, ledger, 5), waiting(loop, ledger, 1)
    assert ledger.n_waiting == 2
    assert ledger.try_reserve(1) is None
    assert not small.done()
    held.shrink(3)
    loop.step(2)
    assert large.done()
    assert not small.done()
    held.shrink(1)
    loop.step(2)
    assert small.done()
    assert ledger.used_bytes == 10


def test_who_holds_something_may_grow_past_those_that_wait(loop):
    ledger = Ledger(10)
    held = ledger.try_reserve(4)
    waiting(loop, ledger, 7)
    assert held.try_grow(6)
    assert not held.try_grow(1)
    assert (held.n_bytes, ledger.used_bytes) == (10, 10)


def test_a_promise_is_taken_in_steps(loop):
    ledger = Ledger(10)
    one = loop.create_task(ledger.reserve(9, at_once=2))
    loop.step(2)
    held = one.result()
    assert (held.n_bytes, held.missing_bytes, ledger.used_bytes) == (2, 7, 2)
    for n_bytes, used in ((3, 5), (4, 9)):
        loop.run_until_complete(held.grow(n_bytes))
        assert ledger.used_bytes == used
    with pytest.raises(ValueError, match="0 bytes are missing, not 1"):
        loop.run_until_complete(held.grow(1))
    held.release()
    assert ledger.used_bytes == 0


def test_a_promise_goes_with_its_reservation(loop):
    ledger = Ledger(10)
    silent = [ledger.try_reserve(10, at_once=1), ledger.try_reserve(9, at_once=1)]
    waits = waiting(loop, ledger, 9)  # beside what the first holds, the second can't end
    assert not waits.done()
    for one in silent:
        one.release()
    loop.step(2)
    assert waits.result().n_bytes == 9


def test_who_announced_all_and_took_little_is_in_nobodys_way(loop):
    """Beside what is held, a request that fits is served; behind it all can still end."""
    ledger = Ledger(100)
    silent = [ledger.try_reserve(n, at_once=1) for n in (100, 90, 90, 90, 90)]
    assert all(silent)
    unsafe = loop.create_task(ledger.reserve(100, at_once=1))  # two can't both have all
    for _ in range(20):
        one = ledger.try_reserve(80, at_once=10)
        loop.run_until_complete(one.grow(70))
        one.release()
    assert not unsafe.done()
    silent[0].release()
    loop.step(2)
    assert unsafe.result().missing_bytes == 99


def test_two_that_could_not_both_end_do_so_one_after_the_other(loop):
    ledger = Ledger(10)
    first, second = ledger.try_reserve(8, at_once=4), ledger.try_reserve(8, at_once=2)
    late = loop.create_task(second.grow(1))
    loop.step(2)
    assert not late.done()  # one more, and neither would find four
    loop.run_until_complete(first.grow(4))
    loop.step(2)
    assert not late.done()
    first.release()
    loop.step(2)
    assert late.done()
    assert second.n_bytes == 3


def test_what_never_could_be_held_is_known():
    ledger = Ledger(10)
    held, _others = ledger.try_reserve(4), ledger.try_reserve(5)
    assert held.could_grow(6)
    assert not held.try_grow(6)
    assert not held.could_grow(7)


def test_who_leaves_the_queue_lets_the_next_in(loop):
    ledger = Ledger(10)
    ledger.try_reserve(5)
    large, small = waiting(loop, ledger, 6), waiting(loop, ledger, 5)
    large.cancel()
    loop.step(3)
    assert large.cancelled()
    assert small.result().n_bytes == 5
    assert ledger.n_waiting == 0


def test_who_leaves_from_the_middle_is_not_counted_any_more(loop):
    ledger = Ledger(10)
    held = ledger.try_reserve(10)
    tasks = [waiting(loop, ledger, 10) for _ in range(3)]
    tasks[1].cancel()
    loop.step(3)
    assert ledger.n_waiting == 2
    held.release()
    loop.step(2)
    tasks[0].result().release()
    loop.step(2)
    assert tasks[2].result().n_bytes == ledger.used_bytes == 10


def test_what_is_granted_in_the_moment_of_a_cancellation_comes_back(loop):
    ledger = Ledger(10)
    held = ledger.try_reserve(10)
    task, next_one = waiting(loop, ledger, 8), waiting(loop, ledger, 10)
    held.release()  # grants, but the task has not run yet
    assert ledger.used_bytes == 8
    task.cancel()
    loop.step(3)
    assert task.cancelled()
    assert next_one.result().n_bytes == ledger.used_bytes == 10


def test_a_cancelled_one_that_has_not_left_yet_is_passed_over(loop):
    ledger = Ledger(10)
    held = ledger.try_reserve(10)
    task, next_one = waiting(loop, ledger, 8), waiting(loop, ledger, 10)
    task.cancel()  # it has not run yet
    held.release()
    loop.step(3)
    assert task.cancelled()
    assert next_one.result().n_bytes == ledger.used_bytes == 10


def test_a_time_out_of_asyncio_leaves_nothing_behind(loop):
    ledger = Ledger(10)
    held = ledger.try_reserve(10)

    async def impatient():
        async with asyncio.timeout(1):
            await ledger.reserve(5)

    task = loop.create_task(impatient())
    loop.step(2)
    loop.now = 2
    loop.step(3)
    with pytest.raises(TimeoutError):
        task.result()
    held.release()
    assert (ledger.used_bytes, ledger.n_waiting) == (0, 0)


@pytest.mark.parametrize("n_bytes", [-1, 5])
def test_a_reservation_gives_no_more_back_than_it_holds(n_bytes):
    ledger = Ledger(10)
    held = ledger.try_reserve(4)
    with pytest.raises(ValueError, match="can't give"):
        held.shrink(n_bytes)
    assert ledger.used_bytes == 4


def test_nobody_reserves_less_than_nothing(loop):
    ledger = Ledger(10)
    with pytest.raises(ValueError, match="-1 bytes"):
        ledger.try_reserve(-1)
    with pytest.raises(ValueError, match="-1 bytes"):
        waiting(loop, ledger, -1).result()
    with pytest.raises(ValueError, match="-1 bytes"):
        ledger.try_reserve(1).try_grow(-1)
    assert ledger.used_bytes == 1
