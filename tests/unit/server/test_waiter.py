import asyncio

import pytest

from inferonnx.server.waiter import Waiter
from sim.stepping import SteppingLoop


@pytest.fixture
def loop():
    loop = SteppingLoop()
    yield loop
    assert not loop.complaints
    loop.close()


@pytest.mark.parametrize("timeout_s", [None, 5])
def test_who_waits_goes_on_when_woken_and_not_before(loop, timeout_s):
    waiter = Waiter()
    waiter.wake()  # nobody is there: it is not kept for who comes later
    task = loop.create_task(waiter.wait(timeout_s))
    loop.step(3)
    assert not task.done()
    waiter.wake()
    waiter.wake()
    loop.step(2)
    assert task.result() is None


def test_who_is_not_woken_in_time_is_told(loop):
    waiter = Waiter()
    task = loop.create_task(waiter.wait(5))
    loop.step(2)
    loop.now = 6
    loop.step(3)
    with pytest.raises(TimeoutError):
        task.result()
    waiter.wake()  # it has left


def test_who_is_woken_as_its_time_ends_was_woken(loop):
    waiter = Waiter()
    task = loop.create_task(waiter.wait(5))
    loop.step(2)
    waiter.wake()
    loop.now = 6
    loop.step(3)
    assert task.result() is None


def test_who_is_cancelled_leaves_no_place_behind(loop):
    waiter = Waiter()
    task = loop.create_task(waiter.wait())
    loop.step(2)
    task.cancel()
    loop.step(2)
    assert task.cancelled()
    second = loop.create_task(asyncio.wait_for(waiter.wait(), 1))
    loop.step(2)
    waiter.wake()
    loop.step(3)
    assert second.result() is None
