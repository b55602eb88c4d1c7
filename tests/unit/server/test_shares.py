"""One sum of memory, and what closed models leave of it."""

from inferonnx.server.shares import Shares
from inferonnx.server.slots import Slot
from sim.models import facts, new_key


def slot(least, full):
    return Slot("path", new_key(), facts(least=least, full=full, passes=0))


def test_what_closed_models_leave_is_the_next_ones_loss_but_never_of_its_least():
    one, other, tight = slot(30, 200), slot(30, 200), slot(98, 200)
    shares = Shares([one, other, tight], total_bytes=100, left_bytes=5)
    assert shares.free(one) == 100
    shares.hold(one, 60)
    assert shares.free(other) == 40
    shares.hold(one, 0)
    assert shares.free(other) == 95
    assert shares.free(tight) == 98
    shares.hold(one, 0)  # again is not more
    assert shares.free(other) == 95
