import pytest

from inferonnx.server.slots import Slot, first_to_go, free_for, is_worth_more, share_of
from sim.models import DoublingModel, DoublingOpener, facts, new_key


def slot(least, full, *, passes=0, holds=0, used=0, users=0):
    made = Slot("path", new_key(), facts(least=least, full=full, passes=passes))
    made.share_bytes = holds
    made.pass_bytes = passes if holds else 0
    made.last_used = used
    made.n_users = users
    if holds:
        made.model = DoublingModel(DoublingOpener({}), holds)
    return made


def free(mine, *others, arena=0):
    return free_for(mine, [mine, *others], total_bytes=100, arena_bytes=arena)


def share(mine, *others):
    return share_of(mine, [mine, *others], free_bytes=free(mine, *others))


def test_what_others_hold_is_not_free_and_what_a_model_holds_itself_is():
    assert free(slot(30, 80)) == 100
    assert free(slot(30, 80), slot(10, 20), slot(10, 20, holds=15)) == 85
    assert free(slot(30, 80, holds=40), slot(10, 20, holds=15)) == 85


def test_what_the_arena_has_grown_to_stays_until_the_last_model_goes():
    other = slot(10, 20, passes=5, holds=15)
    assert free(slot(30, 80), other, arena=25) == 65  # 20 that nobody open has asked for
    assert free(slot(30, 80, passes=15), other, arena=25) == 80  # 15 of them are for this one
    assert free(slot(30, 80, passes=25), other, arena=25) == 85
    assert free(slot(30, 80, passes=5), slot(10, 20), arena=25) == 100  # nobody is open


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 80),  # all that it can use
        ([slot(30, 50)], 70),  # the least of one that is closed stays free
        ([slot(10, 50, holds=45)], 55),  # what is open keeps what it has
        ([slot(45, 50), slot(40, 50, used=1)], 60),  # two leasts do not fit: the later used one's
        ([slot(71, 90)], 80),  # never beside this one: nothing is kept for it
        ([slot(70, 90)], 30),
        ([slot(10, 20, holds=75)], 30),  # others hold too much: its least, which takes room first
    ],
)
def test_a_share_is_what_the_others_can_spare(others, expected):
    assert share(slot(30, 80), *others) == expected


def test_a_model_that_leaves_is_kept_no_memory():
    other = slot(50, 50)
    other.withdrawn = True
    assert share(slot(30, 80), other) == 80


@pytest.mark.parametrize(
    ("holds", "users", "offered", "expected"),
    [
        (40, 0, 80, True),
        (40, 1, 80, False),  # it is in use
        (40, 0, 59, False),  # less than a quarter more
        (40, 0, 60, True),
        (80, 0, 80, False),
        (0, 0, 80, False),  # it is closed
    ],
)
def test_a_model_is_worth_closing_when_it_gets_a_quarter_more(holds, users, offered, expected):
    assert is_worth_more(slot(30, 80, holds=holds, users=users), offered) is expected


def test_a_model_that_leaves_does_not_grow():
    mine = slot(30, 80, holds=40)
    mine.withdrawn = True
    assert not is_worth_more(mine, 80)


def test_first_goes_what_leaves_anyway_then_what_is_idle_then_what_is_old():
    old_in_use = slot(1, 1, holds=1, used=1, users=1)
    in_use = slot(1, 1, holds=1, used=4, users=1)
    old_idle = slot(1, 1, holds=1, used=2)
    idle = slot(1, 1, holds=1, used=3)
    leaving = slot(1, 1, holds=1, used=9, users=2)
    leaving.withdrawn = True
    order = [in_use, idle, leaving, old_idle, slot(1, 1), old_in_use]
    gone = []
    while any(s.model for s in order):
        gone.append(first_to_go(order))
        order.remove(gone[-1])
    assert gone == [leaving, old_idle, idle, old_in_use, in_use]


def test_a_model_whose_user_may_never_leave_does_not_go():
    stuck = slot(1, 1, holds=1, used=1, users=1)
    stuck.n_overdue = 1
    in_use = slot(1, 1, holds=1, used=4, users=1)
    assert first_to_go([stuck, in_use]) is in_use
    assert first_to_go([stuck, slot(1, 1)]) is None
