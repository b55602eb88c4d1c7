"""What a pool does in one order of events each; any order is in tests/properties."""

import asyncio
import gc

import pytest

from inferonnx.errors import (
    BusyError,
    InfeasibleBudgetError,
    ModelError,
    ModelNotReadyError,
    UnavailableError,
)
from inferonnx.server.pool import PAUSE_S, Pool
from sim.models import WIPED, DoublingOpener, facts, new_key
from sim.stepping import SteppingLoop

A, B, C = ("a", 1), ("b", 1), ("c", 1)
KNOWN = {
    "a": facts(least=60, full=90),
    "b": facts(least=60, full=90),  # not beside a
    "c": facts(least=10, full=40),
}


class World:
    """A loop, a pool of 100 bytes, and people who use it."""

    def __init__(self):
        self.loop = SteppingLoop()
        self.opener = DoublingOpener(KNOWN)
        self.users = []
        self.pool = Pool(self.opener, total_bytes=100, concurrency=2)

    def run(self, work):
        """Return what comes of `work`, with all threads and turns that it takes."""
        task = self.loop.create_task(work)
        self.loop.settle(seconds=0)
        for _ in range(20):
            self.turn()
        return task.result()

    def turn(self):
        self.loop.step(5)
        while self.loop.threads.calls:
            self.loop.threads.run_next()
        self.loop.step(5)

    def unlock(self, *models):
        keys = [new_key() for _ in models]
        for model, key in zip(models, keys, strict=True):
            self.run(self.pool.admit(model, model[0], key))
        return keys

    def user(self, model, turns=3):
        self.users.append(User(self, model, turns))
        return self.users[-1]

    def close(self):
        """Check that nothing went wrong unseen, and that no exception was lost."""
        for user in self.users:
            user.done.set()
        self.loop.settle(seconds=10)
        for user in self.users:
            user.task.cancelled() or user.task.exception()
        self.users.clear()
        gc.collect()
        self.loop.close()
        assert not self.opener.wrongs
        assert not self.loop.complaints


class User:
    """Somebody who uses a model from when it may until it leaves."""

    def __init__(self, world, model, turns):
        self.world, self.model = world, None
        self.done = asyncio.Event()
        self.task = world.loop.create_task(self._use(model))
        world.loop.step(turns)

    async def _use(self, model):
        async with self.world.pool.lease(model) as self.model:
            await self.done.wait()

    def leave(self):
        self.done.set()
        self.world.loop.step(3)


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


def test_a_locked_model_is_not_had(world):
    with pytest.raises(ModelNotReadyError, match="locked: its owner has not unlocked it"):
        world.user(A).task.result()
    assert A not in world.pool
    assert world.pool.entry(A) is world.pool.facts(A) is None


def test_an_unlocked_model_is_opened_when_it_is_first_used_and_stays_open(world):
    world.unlock(A, C)
    assert A in world.pool
    assert world.pool.entry(A).residency is None
    assert not world.opener.models
    user = world.user(A)
    world.turn()
    assert user.model is world.opener.models[0]
    entry = world.pool.entry(A)
    assert (entry.share_bytes, entry.n_users, entry.problem) == (90, 1, "")
    assert entry.residency.resident_bytes == 90
    assert world.pool.facts(A) == entry.facts == KNOWN["a"]
    user.leave()
    again = world.user(A)
    assert again.model is user.model
    assert world.pool.used_bytes == 90


def test_the_time_of_an_opening_is_kept(world):
    world.unlock(A)
    world.user(A)
    world.loop.now += 7
    world.turn()
    assert world.pool.entry(A).load_s == 7


@pytest.mark.parametrize("fault", [ModelError("it is broken"), OSError("a disk")])
def test_a_key_that_opens_nothing_is_wiped(world, fault):
    key = new_key()
    world.opener.facts_fault = fault
    with pytest.raises(type(fault)):
        world.run(world.pool.admit(A, "a", key))
    assert key == WIPED
    assert A not in world.pool


def test_a_model_that_all_the_memory_would_not_hold_is_refused(world):
    key = new_key()
    world.opener.known = {"a": facts(least=100 + (3 << 20), full=1 << 30)}
    with pytest.raises(InfeasibleBudgetError, match="beside the server") as caught:
        world.run(world.pool.admit(A, "a", key))
    assert caught.value.needed_bytes == 100 + (3 << 20)
    assert "3 MiB more" in caught.value.hint
    assert key == WIPED


def test_a_second_key_for_an_unlocked_model_is_wiped_and_the_first_kept(world):
    first, second = new_key(), new_key()
    world.run(world.pool.admit(A, "a", first))
    assert world.run(world.pool.admit(A, "a", second)) == KNOWN["a"]
    assert (first, second) == (new_key(), WIPED)
    world.run(world.pool.admit(A, "a", first))  # the same again is no reason to wipe it
    assert first == new_key()


def test_a_withdrawn_model_is_closed_after_its_last_user_and_its_key_wiped(world):
    (key,) = world.unlock(A)
    user = world.user(A)
    world.turn()
    leaving = world.loop.create_task(world.pool.withdraw(A))
    world.turn()
    assert not user.model.closed
    assert not leaving.done()
    assert key == new_key()
    assert A not in world.pool
    with pytest.raises(ModelNotReadyError, match="unloaded"):
        world.user(A).task.result()
    assert world.run(world.pool.withdraw(A)) is False
    user.leave()
    world.turn()
    assert leaving.result() is True
    assert user.model.closed
    assert key == WIPED
    assert world.pool.used_bytes == 0
    world.unlock(A)
    assert A in world.pool


def test_a_model_that_is_withdrawn_while_it_is_opened_is_not_used(world):
    (key,) = world.unlock(A)
    waiting = world.user(A)
    leaving = world.loop.create_task(world.pool.withdraw(A))
    world.loop.step(3)
    with pytest.raises(ModelNotReadyError, match="unloaded"):
        waiting.task.result()  # at once, whatever the thread does
    world.turn()
    world.turn()
    assert leaving.result() is True
    assert key == WIPED
    assert world.opener.models[0].closed


def test_who_asks_for_a_withdrawal_may_leave_before_it_is_done(world):
    (key,) = world.unlock(A)
    user = world.user(A)
    world.turn()
    leaving = world.loop.create_task(world.pool.withdraw(A))
    world.loop.step(3)
    leaving.cancel()
    world.turn()
    assert leaving.cancelled()
    user.leave()
    world.turn()
    assert user.model.closed
    assert key == WIPED
    world.unlock(A)


def test_a_model_is_unlocked_again_only_when_the_old_one_is_gone(world):
    world.unlock(A)
    user = world.user(A)
    world.turn()
    leaving = world.loop.create_task(world.pool.withdraw(A))
    key = new_key()
    admitting = world.loop.create_task(world.pool.admit(A, "a", key))
    world.turn()
    assert not admitting.done()
    user.leave()
    world.turn()
    assert leaving.done()
    assert admitting.done()
    assert key == new_key()
    assert A in world.pool


def test_room_is_taken_from_the_idle_model_used_longest_ago(world):
    world.opener.known = {name: facts(least=40, full=40) for name in "abc"}
    world.unlock(A, B, C)
    users = [world.user(A), world.user(B)]
    world.turn()
    world.turn()
    users[0].leave()
    users[1].leave()
    user = world.user(C)
    world.turn()
    world.turn()
    assert user.model
    assert users[0].model.closed
    assert not users[1].model.closed


def test_a_model_in_use_is_closed_after_its_users_and_takes_no_new_ones_meanwhile(world):
    world.unlock(A, B)
    first = world.user(A)
    world.turn()
    wanting = world.user(B)
    late = world.user(A)
    world.turn()
    assert wanting.model is late.model is None
    assert not first.model.closed
    first.leave()
    world.turn()
    world.turn()
    assert first.model.closed
    assert wanting.model
    assert late.model is None
    wanting.leave()
    for _ in range(3):
        world.turn()
    assert wanting.model.closed
    assert late.model
    assert world.user(A, turns=1).model is late.model  # at once, it takes users again


def test_a_model_whose_user_may_never_leave_is_not_waited_for(world):
    world.opener.known = {name: facts(least=40, full=40) for name in "abc"}
    world.unlock(A, B, C)
    stuck, other = world.user(A), world.user(B)
    world.turn()
    world.turn()
    wanting = world.user(C)
    world.turn()
    assert wanting.model is None
    with world.pool.overdue(A):
        world.turn()
        other.leave()
        world.turn()
        world.turn()
        assert other.model.closed
        assert wanting.model
        with world.pool.overdue(C):
            refused = world.user(B)
            world.turn()
            with pytest.raises(BusyError, match="do not end"):
                refused.task.result()
            late = world.user(A)
            assert late.model is stuck.model
            late.leave()
    wanting.leave()
    world.loop.now += PAUSE_S
    again = world.user(B)
    world.turn()
    world.turn()
    assert again.model
    assert not stuck.model.closed


def test_who_unloads_a_model_waits_on_for_a_user_who_may_never_leave(world):
    world.unlock(A)
    user = world.user(A)
    world.turn()
    leaving = world.loop.create_task(world.pool.withdraw(A))
    world.turn()
    with world.pool.overdue(A):
        world.turn()
        assert not leaving.done()
    user.leave()
    world.turn()
    assert leaving.result() is True
    assert user.model.closed


def test_two_models_in_constant_use_that_do_not_fit_together_take_turns(world):
    world.unlock(A, B)
    users, served = [world.user(model) for model in (A, B) * 3], []
    for _ in range(30):
        world.turn()
        for user in users:
            if user.model and not user.done.is_set():
                served.append(user)
                user.leave()
    assert len(served) == len(users)
    assert len(world.opener.models) <= 4


def test_who_waited_uses_the_model_before_the_next_in_turn_takes_it_away(world):
    world.unlock(A, B)
    one, other = world.user(A), world.user(B)  # the second opening waits for the first
    world.loop.threads.run_next()
    world.loop.step(10)
    assert one.model
    assert not one.model.closed
    assert other.model is None
    one.leave()
    world.turn()
    world.turn()
    assert other.model


def test_a_model_whose_waiters_have_all_left_is_not_opened_and_closes_nobody(world):
    world.unlock(A, B)
    first = world.user(A)
    world.turn()
    wanting = world.user(B)
    wanting.task.cancel()
    world.turn()
    first.leave()
    world.turn()
    assert not first.model.closed
    assert len(world.opener.models) == 1
    again = world.user(A)
    assert again.model is first.model


def test_who_comes_in_the_moment_that_an_opening_is_given_up_is_served(world):
    world.unlock(A)
    first = world.user(A, turns=1)
    first.task.cancel()
    second = world.user(A, turns=0)  # it comes between the opener's end and its callback
    world.turn()
    world.turn()
    assert second.model


def test_a_caller_that_leaves_does_not_end_the_opening_that_others_wait_for(world):
    world.unlock(A)
    first, second = world.user(A), world.user(A)
    first.task.cancel()
    world.turn()
    assert second.model
    assert world.pool.entry(A).n_users == 1
    assert len(world.opener.models) == 1


def test_a_caller_that_leaves_in_the_moment_that_it_is_let_in_does_not_count(world):
    world.unlock(A)
    user = world.user(A)
    world.loop.threads.run_next()
    while not world.pool.entry(A).n_users:
        world.loop.step()
    assert user.model is None
    user.task.cancel()
    world.loop.step(3)
    assert world.pool.entry(A).n_users == 0


def test_a_caller_may_leave_in_the_moment_that_the_model_does(world):
    world.unlock(A)
    users = [world.user(A), world.user(A)]
    leaving = world.loop.create_task(world.pool.withdraw(A))
    users[0].task.cancel()
    world.turn()
    world.turn()
    assert leaving.result() is True
    assert users[0].task.cancelled()
    with pytest.raises(ModelNotReadyError, match="unloaded"):
        users[1].task.result()


@pytest.mark.parametrize(
    ("fault", "told", "message"),
    [
        (ModelError("it is broken", hint="mend it"), ModelError, "it is broken"),
        (OSError("a disk"), UnavailableError, "can't be opened: an unexpected OSError"),
    ],
)
def test_all_who_wait_for_an_opening_that_fails_get_an_error_of_their_own(
    world, fault, told, message
):
    world.unlock(A)
    world.opener.fault = fault
    users = [world.user(A) for _ in range(3)]
    world.turn()
    errors = [user.task.exception() for user in users]
    assert all(type(error) is told and message in str(error) for error in errors)
    assert len(set(map(id, errors))) == 3
    assert world.pool.used_bytes == 0
    assert world.pool.entry(A).problem == str(errors[0])


def test_a_model_that_failed_is_left_alone_for_a_while_and_others_keep_their_memory(world):
    world.unlock(A, B)
    good = world.user(A)
    world.turn()
    good.leave()
    world.opener.fault = ModelError("it is broken")
    world.user(B)
    world.turn()
    world.turn()
    assert good.model.closed
    world.opener.fault = None
    again = world.user(A)
    world.turn()
    assert again.model
    again.leave()
    for _ in range(5):
        with pytest.raises(ModelError, match="it is broken"):
            world.user(B).task.result()
    assert not again.model.closed
    world.loop.now += PAUSE_S
    late = world.user(B)
    world.turn()
    world.turn()
    assert late.model
    assert world.pool.entry(B).problem == ""


def test_a_model_gets_the_room_that_others_leave(world):
    world.unlock(A, C)
    other = world.user(C)
    world.turn()
    user = world.user(A)
    world.turn()
    assert (other.model.share_bytes, user.model.share_bytes) == (40, 60)
    other.leave()
    world.run(world.pool.withdraw(C))
    second = world.user(A)
    assert second.model is user.model  # it is in use
    user.leave()
    second.leave()
    third = world.user(A)
    world.turn()
    world.turn()
    assert third.model is not user.model
    assert user.model.closed
    assert third.model.share_bytes == 90
    third.leave()
    assert world.user(A).model is third.model


def test_what_a_closed_model_leaves_in_the_arena_counts_while_another_is_open(world):
    world.opener.known = {
        "a": facts(least=50, full=50, passes=40),
        "b": facts(least=30, full=60, passes=10),
        "c": facts(least=20, full=20, passes=5),
    }
    world.unlock(A, B, C)
    first, other = world.user(A), world.user(C)
    world.turn()
    world.turn()
    first.leave()
    world.run(world.pool.withdraw(A))
    assert world.pool.used_bytes == 20 + 40  # what a's passes took is still there
    user = world.user(B)
    world.turn()
    assert user.model.share_bytes == 50  # 40 of weights, and 10 of what a left
    assert world.pool.used_bytes == 100
    for leaving in (user, other):
        leaving.leave()
    world.run(world.pool.withdraw(B))
    world.run(world.pool.withdraw(C))
    assert world.pool.used_bytes == 0


def test_a_model_that_could_grow_is_used_as_it_is_while_another_is_opened(world):
    world.opener.known = {
        "a": facts(least=40, full=90),
        "b": facts(least=10, full=10),
        "c": facts(least=50, full=50),
    }
    world.unlock(A, B, C)
    user = world.user(A)
    world.turn()
    user.leave()
    assert user.model.share_bytes == 40
    world.run(world.pool.withdraw(C))
    world.user(B)  # its thread has not ended
    assert world.user(A).model is user.model


def test_a_cancelled_opener_leaves_no_model_open_and_no_caller_waiting(world):
    world.unlock(A)
    user = world.user(A)
    (opener,) = (t for t in world.loop.pending() if t.get_coro().__name__ == "_open")
    opener.cancel()
    world.loop.step(5)
    assert not user.task.done()  # the thread still opens it
    world.turn()
    world.turn()
    with pytest.raises(ModelNotReadyError, match="stopping"):
        user.task.result()
    assert [model.closed for model in world.opener.models] == [True]
    assert world.pool.used_bytes == 0


def test_a_model_that_can_not_be_closed_does_not_hurt_who_wanted_its_room(world):
    world.unlock(A, B)
    user = world.user(A)
    world.turn()
    user.leave()
    world.opener.close_fault = OSError("a disk")
    other = world.user(B)
    world.turn()
    world.turn()
    assert other.model
    assert "could not be closed" in world.pool.entry(A).problem


def test_a_closed_pool_has_wiped_all_keys_and_takes_no_more(world):
    keys = world.unlock(A, C)
    user = world.user(A)
    world.turn()
    late = new_key()
    admitting = world.loop.create_task(world.pool.admit(B, "b", late))
    world.loop.step(2)
    closing = world.loop.create_task(world.pool.close())
    world.turn()
    with pytest.raises(ModelNotReadyError, match="stopping"):
        admitting.result()
    assert not closing.done()
    user.leave()
    world.turn()
    world.turn()
    assert closing.done()
    assert [*keys, late] == [WIPED] * 3
    assert not world.opener.open_models
    world.run(world.pool.close())
