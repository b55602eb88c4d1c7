"""Pool and ledger under any order of events: who comes, goes, is cancelled, or fails.

Each rule is something that happens to a server. After it the loop makes as many turns as
hypothesis likes, none included; threads end when it says so, and any task may be
cancelled at any await.
"""

import asyncio
import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from inferonnx.errors import InferonnxError, ModelError
from inferonnx.server.ledger import Ledger
from inferonnx.server.pool import Pool
from sim.models import WIPED, DoublingOpener, facts, new_key
from sim.stepping import SteppingLoop

TURNS = st.integers(0, 5)
WHICH = st.integers(0, 1 << 16)


class Holder:
    """Somebody who wants something, holds it until told to leave, and can be cancelled."""

    def __init__(self, loop, hold):
        self.leave = asyncio.Event()
        self.comes = asyncio.Event()  # more of what it was promised is needed now
        self.held = None
        self.hold = hold
        self.task = loop.create_task(self._live())

    async def _live(self):
        try:
            with contextlib.suppress(InferonnxError, OSError):  # what openers raise here
                await self.hold(self)
        finally:
            self.held = None


class Machine(RuleBasedStateMachine):
    """What happens to whoever waits for anything."""

    def __init__(self):
        super().__init__()
        self.loop = SteppingLoop()
        self.holders = []

    def begin(self, hold, turns):
        self.holders.append(Holder(self.loop, hold))
        self.loop.step(turns)

    @property
    def live(self):
        return [holder for holder in self.holders if not holder.task.done()]

    @property
    def holding(self):
        return [holder for holder in self.holders if holder.held is not None]

    @precondition(lambda self: self.holding)
    @rule(which=WHICH, turns=TURNS)
    def leave(self, which, turns):
        self.holding[which % len(self.holding)].leave.set()
        self.loop.step(turns)

    @precondition(lambda self: self.live)
    @rule(which=WHICH, turns=TURNS)
    def cancel(self, which, turns):
        self.live[which % len(self.live)].task.cancel()
        self.loop.step(turns)

    @rule(turns=st.integers(1, 5))
    def nothing_happens(self, turns):
        self.loop.step(turns)

    def end(self):
        for holder in self.holders:
            holder.leave.set()
        self.loop.settle(seconds=10)
        assert not self.loop.pending(), "somebody waits for ever"
        for holder in self.holders:
            if not holder.task.cancelled():
                holder.task.result()
        assert not self.loop.complaints


LEDGER_BYTES = 10
SIZES = st.integers(1, LEDGER_BYTES)


class LedgerMachine(Machine):
    def __init__(self):
        super().__init__()
        self.ledger = Ledger(LEDGER_BYTES)

    @rule(n=st.integers(0, LEDGER_BYTES + 1), turns=TURNS)
    def reserve(self, n, turns):
        async def reserve(holder):
            with await self.ledger.reserve(n) as holder.held:
                await holder.leave.wait()

        self.begin(reserve, turns)

    @rule(n=SIZES, at_once=SIZES, step=SIZES, turns=TURNS)
    def reserve_in_steps(self, n, at_once, step, turns):
        """Promise `n`, which is taken as it comes; who ends holds all of it."""

        async def reserve(holder):
            with await self.ledger.reserve(n, at_once=min(at_once, n)) as holder.held:
                while holder.held.missing_bytes:
                    await holder.comes.wait()
                    holder.comes.clear()
                    await holder.held.grow(min(step, holder.held.missing_bytes))
                await holder.leave.wait()

        self.begin(reserve, turns)

    @precondition(lambda self: self.holding)
    @rule(which=WHICH, turns=TURNS)
    def more_comes(self, which, turns):
        self.holding[which % len(self.holding)].comes.set()
        self.loop.step(turns)

    @precondition(lambda self: self.holding)
    @rule(n=st.integers(0, LEDGER_BYTES), which=WHICH)
    def grow_beyond_the_promise(self, n, which):
        free = self.ledger.total_bytes - self.ledger.used_bytes
        held = self.holding[which % len(self.holding)].held
        are_all_whole = not any(holder.held.missing_bytes for holder in self.holding)
        is_grown = held.try_grow(n)
        assert n <= free if is_grown else n > free or not are_all_whole

    @precondition(lambda self: self.holding)
    @rule(n=st.integers(0, LEDGER_BYTES), which=WHICH, turns=TURNS)
    def shrink(self, n, which, turns):
        held = self.holding[which % len(self.holding)].held
        held.shrink(min(n, held.n_bytes))
        self.loop.step(turns)

    @rule(n=st.integers(0, LEDGER_BYTES))
    def try_reserve(self, n):
        # Who waits for others' promises may be passed, who waits for room may not.
        waits_for_room = any(map(self.ledger._has_no_room, self.ledger._waiting))
        reservation = self.ledger.try_reserve(n)
        if reservation is not None:
            reservation.release()
            assert not waits_for_room

    @invariant()
    def requests_keep_to_their_sum(self):
        held = sum(holder.held.n_bytes for holder in self.holding)
        assert held <= self.ledger.used_bytes <= LEDGER_BYTES

    def end(self):
        """Whatever was promised can be had: all come to their end, in whichever order."""
        for _ in range(LEDGER_BYTES * (len(self.holders) + 1)):
            for holder in self.holders:
                holder.comes.set()
                holder.leave.set()
            self.loop.step(3)
        super().end()

    def teardown(self):
        with contextlib.closing(self.loop):
            self.end()
        assert self.ledger.used_bytes == self.ledger.n_waiting == 0


POOL_BYTES = 100
KNOWN = {
    "half": facts(least=40, full=90, passes=10),
    "most": facts(least=70, full=100, passes=60),  # not beside "half"
    "small": facts(least=10, full=20, passes=5),
    "large": facts(least=101, full=200),  # never
}
MODELS = st.sampled_from([(path, 1) for path in KNOWN])
FAULTS = st.sampled_from([None, None, ModelError("it is broken"), OSError("a disk")])


class PoolMachine(Machine):
    def __init__(self):
        super().__init__()
        self.opener = DoublingOpener(KNOWN, total=POOL_BYTES)
        self.pool = Pool(self.opener, total_bytes=POOL_BYTES, concurrency=2)
        self.keys = []
        self.ends_abruptly = False

    @initialize(ends_abruptly=st.booleans())
    def unlock_most(self, ends_abruptly):
        self.ends_abruptly = ends_abruptly
        for path in ("half", "most", "small"):
            self.admit((path, 1), 2)
        self.all_threads_end()

    @rule(model=MODELS, turns=TURNS)
    def admit(self, model, turns):
        key = new_key()

        async def admit(_):
            self.keys.append(key)
            await self.pool.admit(model, model[0], key)

        self.begin(admit, turns)

    @rule(model=MODELS, turns=TURNS)
    def use(self, model, turns):
        async def use(holder):
            async with self.pool.lease(model) as holder.held:
                await holder.leave.wait()

        self.begin(use, turns)

    @rule(model=MODELS, turns=TURNS)
    def withdraw(self, model, turns):
        async def withdraw(_):
            slot = self.pool._slots.get(model)
            if await self.pool.withdraw(model):
                assert slot.data_key == WIPED
                assert slot.model is None

        self.begin(withdraw, turns)

    @rule(fault=FAULTS)
    def openings_go(self, fault):
        self.opener.fault = fault

    @rule(fault=FAULTS)
    def manifests_go(self, fault):
        self.opener.facts_fault = fault

    @rule(fault=FAULTS)
    def closings_go(self, fault):
        self.opener.close_fault = fault

    @rule(turns=TURNS)
    def cancel_an_opener(self, turns):
        for task in self.loop.pending():
            if task.get_coro().__name__ == "_open":
                task.cancel()
        self.loop.step(turns)

    @precondition(lambda self: self.loop.threads.calls)
    @rule(which=WHICH, turns=TURNS)
    def a_thread_ends(self, which, turns):
        self.loop.threads.run_next(which)
        self.loop.step(turns)

    @rule(n=st.integers(1, 3), turns=TURNS)
    def all_threads_end(self, n=2, turns=3):
        for _ in range(n):
            self.loop.step(4)
            while self.loop.threads.calls:
                self.loop.threads.run_next()
        self.loop.step(turns)

    @rule()
    def cancel_who_is_just_let_in(self):
        for _ in range(12):
            if sum(slot.n_users for slot in self.pool._slots.values()) > len(self.holding):
                for holder in self.live:
                    if holder.held is None:
                        holder.task.cancel()
                return
            self.loop.threads.run_next()
            self.loop.step()

    @rule()
    def time_goes_by(self):
        self.loop.now += 2

    @invariant()
    def models_keep_to_their_sum(self):
        assert self.pool.used_bytes <= POOL_BYTES
        assert self.opener.held_bytes <= self.pool.used_bytes
        assert not self.opener.wrongs

    @invariant()
    def what_is_used_is_open(self):
        assert not any(holder.held.closed for holder in self.holding)

    def teardown(self):
        with contextlib.closing(self.loop):
            if self.ends_abruptly:
                self.stop_abruptly()
            else:
                self.stop()

    def stop(self):
        self.opener.fault = self.opener.facts_fault = self.opener.close_fault = None
        self.end()
        # The arena is taken to have grown for a model whose opening failed, too.
        assert bool(self.opener.open_models) == bool(self.pool.used_bytes)
        closing = self.loop.create_task(self.pool.close())
        self.loop.settle(seconds=3)
        assert closing.done(), "somebody still counts as a user"
        assert not self.opener.open_models
        assert all(key == WIPED for key in self.keys)
        self.models_keep_to_their_sum()

    def stop_abruptly(self):
        """As `asyncio.run` does when its coroutine is interrupted."""
        for task in self.loop.pending():
            task.cancel()
        self.loop.settle(seconds=3)
        assert not self.loop.pending(), "somebody waits for ever"
        assert not self.loop.complaints


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=200, stateful_step_count=40)
TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=300, stateful_step_count=50)
