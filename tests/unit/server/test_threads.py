import asyncio
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from inferonnx.server.threads import PassThreads, in_thread
from serving.running import PATIENCE_S
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
    del task
    gc.collect()  # what is lost is told of when it goes
    assert not loop.complaints
    loop.close()


class Passes:
    """Passes of models, each in the thread that it was given, until the test ends it."""

    def __init__(self, n_shared=2):
        self.loop = SteppingLoop()
        self.shared, self.extra = ThreadPoolExecutor(1), []
        self.threads = PassThreads(self.shared, n_shared=n_shared, extra=self.one_more)

    def one_more(self):
        self.extra.append(ThreadPoolExecutor(1))
        return self.extra[-1]

    def begin(self, model):
        ends, given = asyncio.Event(), []

        async def compute():
            async with self.threads.thread(model) as thread:
                given.append(thread)
                await ends.wait()

        task = self.loop.create_task(compute())
        self.loop.step(3)
        return given, ends, task

    def end(self, one):
        one[1].set()
        self.loop.step(3)


@pytest.fixture
def passes():
    passes = Passes()
    yield passes
    passes.loop.settle(seconds=1)
    assert not passes.threads._waiting
    assert not passes.threads._n_running
    passes.loop.close()
    assert not passes.loop.complaints


def test_a_model_without_a_thread_is_given_one_whatever_others_hold(passes):
    held = [passes.begin(model) for model in "aab"]
    assert [given for given, *_ in held] == [[passes.shared]] * 2 + [passes.extra]
    assert len(passes.extra) == 1
    waiting = [passes.begin(model) for model in "ba"]
    assert not any(given for given, *_ in waiting)
    passes.end(held[2])  # the one more goes with its pass, and the model has none again
    with pytest.raises(RuntimeError, match="shutdown"):
        passes.extra[0].submit(print)
    assert waiting[0][0] == [passes.extra[1]]
    assert not waiting[1][0]
    passes.end(held[0])
    assert waiting[1][0] == [passes.shared]
    for one in (held[1], *waiting):
        passes.end(one)
    again = [passes.begin("a") for _ in range(3)]
    assert [given for given, *_ in again] == [[passes.shared]] * 2 + [[]]
    for one in again:
        passes.end(one)


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_who_is_cancelled_before_it_computes_keeps_no_thread(passes, turns):
    held = [passes.begin("a") for _ in range(2)]
    gone, behind = passes.begin("a"), passes.begin("a")
    if turns:
        held[0][1].set()  # its thread is given away before the cancelled one has left
        passes.loop.step(turns - 1)
    gone[2].cancel()
    passes.loop.step(3)
    assert gone[2].cancelled()
    passes.end(held[0])
    assert behind[0] == [passes.shared]
    after = passes.begin("a")
    passes.end(held[1])
    assert after[0] == [passes.shared]
    passes.end(behind)
    passes.end(after)


def test_a_thread_that_was_given_to_who_is_cancelled_goes_to_the_next(passes):
    held = [passes.begin("a") for _ in range(2)]
    gone, behind = passes.begin("a"), passes.begin("a")
    held[0][1].set()
    passes.loop.step(1)  # given, and not yet taken
    gone[2].cancel()
    passes.loop.step(3)
    assert gone[2].cancelled()
    assert not gone[0]
    assert behind[0] == [passes.shared]
    passes.end(held[1])
    passes.end(behind)


def test_one_more_thread_is_one_of_its_own_and_ends_with_its_pass():
    async def main():
        names = []
        with ThreadPoolExecutor(1) as shared:
            threads = PassThreads(shared, n_shared=1)
            async with threads.thread("a") as one, threads.thread("b") as more:
                assert one is shared
                thread = await in_thread(more, threading.current_thread)
                names.append(thread.name)
            await asyncio.to_thread(thread.join, PATIENCE_S)
            assert not thread.is_alive()
        return names

    (name,) = asyncio.run(main())
    assert name.startswith("inferonnx-pass")
