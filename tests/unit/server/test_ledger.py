import asyncio
import gc
import weakref

import pytest

from inferonnx.errors import UsageError
from inferonnx.oip import BusyError
from inferonnx.server.ledger import REPLIES_WAITING, REPLY_TURN_S, Ledger
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


def test_who_waits_for_room_is_not_passed_by_one_for_whom_there_is_some(loop):
    ledger = Ledger(10)
    held = ledger.try_reserve(8)
    large, small = waiting(loop, ledger, 5), waiting(loop, ledger, 1)
    held.shrink(1)
    loop.step(2)
    assert not large.done()
    assert not small.done()
    large.cancel()  # it has not run yet
    assert ledger.try_reserve(1) is not None
    loop.step(3)
    assert small.done()


def test_who_gives_up_to_grow_lets_those_behind_it_in(loop):
    ledger = Ledger(10)
    ledger.try_reserve(6)
    one = ledger.try_reserve(8, at_once=1)
    growing = loop.create_task(one.grow(7))
    loop.step(2)
    behind = waiting(loop, ledger, 2)
    assert not behind.done()
    growing.cancel()
    loop.step(3)
    assert behind.done()


def test_nothing_is_kept_of_who_has_gone_or_never_began(loop):
    ledger = Ledger(10)
    one = ledger.try_reserve(10, at_once=2)
    assert ledger.try_reserve(9, at_once=1) is None  # not both could end
    gone = weakref.ref(one)
    one.release()
    del one
    gc.collect()
    assert gone() is None
    assert not ledger._growing


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
    gone = Ledger(10).try_reserve(10, at_once=1)
    gone.release()
    with pytest.raises(ValueError, match="0 bytes are missing"):
        loop.run_until_complete(gone.grow(1))
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
    promised = Ledger(10).try_reserve(6, at_once=2)
    assert promised.could_grow(4)
    assert not promised.could_grow(5)  # that and the promise


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


def held(loop, reservation, n_bytes, **more):
    task = loop.create_task(reservation.hold(n_bytes, **more))
    loop.step(4)
    return task


def test_a_reply_is_held_where_there_is_room(loop):
    ledger = Ledger(10)
    one = ledger.try_reserve(2)
    assert held(loop, one, 7).done()
    assert (ledger.used_bytes, one.n_bytes) == (7, 7)
    two = ledger.try_reserve(3)
    assert held(loop, two, 1).done()
    assert (ledger.used_bytes, two.n_bytes) == (8, 1)  # of its request nothing is left
    one.release()
    two.release()
    assert ledger.used_bytes == 0
    assert held(loop, ledger.try_reserve(2), 7).done()
    assert ledger.used_bytes == 7


def test_replies_leave_half_of_the_total_to_requests(loop):
    ledger = Ledger(10)
    held(loop, ledger.try_reserve(1), 6)
    assert held(loop, ledger.try_reserve(1), 2).done()  # beyond
    assert ledger.used_bytes == 7
    assert ledger.try_reserve(3) is not None


def test_a_reply_is_held_before_it_is_made_and_again_when_it_is(loop):
    ledger = Ledger(20)
    one, two = ledger.try_reserve(2), ledger.try_reserve(2)
    assert held(loop, one, 9).done()
    assert held(loop, one, 5).done()
    assert ledger.used_bytes == 7
    assert held(loop, two, 50).done()
    assert held(loop, two, 40).done()  # it has the turn: it waits for nobody, itself least
    one.release()
    two.release()
    assert ledger.used_bytes == 0
    assert held(loop, ledger.try_reserve(2), 50).done()


def test_what_is_only_tried_goes_beyond_nothing(loop):
    ledger = Ledger(20)
    one = ledger.try_reserve(2)
    assert not one.try_hold(13)
    assert (one.n_bytes, ledger.used_bytes) == (2, 2)
    assert one.try_hold(9)
    assert one.try_hold(5)
    assert (one.n_bytes, ledger.used_bytes) == (5, 5)
    assert held(loop, one, 50).done()
    assert not one.try_hold(1)  # it is beyond until it is sent
    one.release()
    assert ledger.used_bytes == 0
    assert held(loop, ledger.try_reserve(1), 50).done()


def test_one_reply_at_a_time_is_held_beyond_the_total(loop):
    ledger = Ledger(10)
    first, second = ledger.try_reserve(2), ledger.try_reserve(2)
    assert held(loop, first, 50).done()
    waits = held(loop, second, 60)
    assert not waits.done()
    assert ledger.used_bytes == 4
    first.shrink(1)
    loop.step(4)
    assert not waits.done()
    first.release()
    loop.step(4)
    assert waits.done()
    second.release()
    assert ledger.used_bytes == 0
    assert held(loop, ledger.try_reserve(1), 50).done()


def test_what_is_released_again_gives_nothing_back_twice(loop):
    ledger = Ledger(10)
    one, two = ledger.try_reserve(1), ledger.try_reserve(1)
    assert held(loop, one, 5).done()
    assert held(loop, two, 50).done()  # beyond
    for _ in range(2):
        one.release()
        two.release()
    assert held(loop, ledger.try_reserve(1), 6).done()
    assert held(loop, ledger.try_reserve(1), 2).done()  # beyond: half is for requests
    assert ledger.used_bytes == 7


def test_nobody_keeps_the_turn_beyond_the_total_from_others_for_ever(loop):
    ledger = Ledger(10)
    one, two = ledger.try_reserve(1), ledger.try_reserve(1)
    assert held(loop, one, 50).done()
    waits = held(loop, two, 50)
    loop.now += REPLY_TURN_S - 1
    loop.step(3)
    assert not waits.done()
    loop.now += 2
    loop.step(3)
    with pytest.raises(BusyError, match="other replies") as caught:
        waits.result()
    assert caught.value.retry_after_s == 1
    one.release()
    assert held(loop, two, 50).done()


def test_few_replies_wait_and_the_next_is_refused(loop):
    ledger = Ledger(100)
    first, *others = [ledger.try_reserve(1) for _ in range(REPLIES_WAITING + 2)]
    held(loop, first, 200)
    waiting = [held(loop, one, 200) for one in others]
    assert [task.done() for task in waiting] == [False] * REPLIES_WAITING + [True]
    with pytest.raises(BusyError, match="in use by other replies"):
        waiting[-1].result()
    waiting[0].cancel()
    loop.step(4)
    assert not held(loop, others[-1], 200).done()  # it has the place of who has left
    for one in (first, *others):
        one.release()
        loop.step(4)


def test_a_reply_waits_for_the_one_before_it(loop):
    ledger = Ledger(10)
    one, sent = ledger.try_reserve(1), loop.create_future()
    task = held(loop, one, 50, before=sent)
    assert not task.done()
    sent.set_result(None)
    loop.step(4)
    assert task.done()
