"""One sum of memory, and what closed models leave of it."""

from inferonnx.server.shares import Shares
from inferonnx.server.slots import Slot
from sim.models import facts, new_key


def slot(least, full):
    return Slot("path", new_key(), facts(least=least, full=full, passes=0))


def test_the_last_model_that_closes_leaves_all_there_is_and_others_what_the_arena_keeps():
    one, other, third = slot(30, 200), slot(30, 200), slot(30, 200)
    shares = Shares([one, other, third], total_bytes=100)
    assert shares.free(one) == 100
    shares.hold(one, 40, 20)
    shares.hold(other, 30, 10)
    assert (shares.free(third), shares.used_bytes) == (30, 70)
    shares.hold(one, 0)
    assert (shares.free(third), shares.used_bytes) == (50, 50)  # 20 of them the arena's
    shares.hold(other, 0)
    assert (shares.free(third), shares.used_bytes) == (100, 0)
