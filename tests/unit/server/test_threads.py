import asyncio
import threading
import weakref

import pytest

from inferonnx.server.threads import in_thread
from sim.stepping import SteppingLoop


def test_it_returns_what_the_call_returns_and_raises_what_it_raises():
    async def both():
        here = threading.get_ident()
        assert await in_thread(None, lambda a, *, b: (a, b), 1, b=2) == (1, 2)
        assert await in_thread(None, threading.get_ident) != here
        with pytest.raises(KeyError, match="no"):
            await in_thread(None, {}.__getitem__, "no")

    asyncio.run(both())


def test_a_thread_holds_nothing_of_a_call_that_has_returned():
    class Model:
        def close(self):
            return weakref.ref(self)

    async def closed():
        return await in_thread(None, Model().close)

    loop = SteppingLoop()
    task = loop.create_task(closed())
    loop.step(2)
    ((_future, *held),) = loop.threads.calls
    loop.threads.run_next()
    loop.step(5)
    assert task.result()() is None  # although the executor still has the call
    assert held
    loop.close()


@pytest.mark.parametrize("outcome", ["returns", "raises"])
def test_a_cancellation_comes_through_when_the_thread_has_ended(outcome):
    loop = SteppingLoop()
    done = []

    def call():
        done.append(True)
        if outcome == "raises":
            raise KeyError("nobody reads this")

    task = loop.create_task(in_thread(None, call))
    loop.step(3)
    for _ in range(3):
        task.cancel()
        loop.step(5)
        assert not task.done()
    loop.threads.run_next()
    loop.step(5)
    assert done
    assert task.cancelled()
    assert not loop.complaints
    loop.close()
