"""How long a client may keep us waiting; bodies as they come are in test_http."""

import pytest

from inferonnx.server.incoming import Pace
from inferonnx.server.limits import HttpLimits

LIMITS = HttpLimits(grace_s=10, bytes_per_s=100)


def test_patience_is_a_start_and_time_for_what_moved():
    pace = Pace(LIMITS)
    assert pace.left_s == 10
    pace.note(500, 4)
    assert (pace.left_s, pace.n_bytes) == (11, 500)
    pace.note(0, 11)
    assert pace.left_s == 0
    assert Pace(LIMITS, grace_s=3).left_s == 3


def test_patience_that_is_more_than_over_is_no_negative_time():
    pace = Pace(LIMITS)
    pace.note(0, 12)
    assert pace.left_s == 0


def test_nobody_has_more_in_hand_than_the_most_whatever_has_moved():
    pace = Pace(LIMITS, most_s=2)
    assert pace.left_s == 2
    pace.note(1_000_000, 0)
    assert pace.left_s == 2
    pace.note(0, 1.5)  # of the two seconds, not of the hours for what had moved
    assert pace.left_s == 0.5


def test_patience_ends_with_the_total_however_much_moves():
    pace = Pace(LIMITS, total_s=12)
    pace.note(1_000_000, 9)
    assert pace.left_s == 3
    pace.note(1_000_000, 3)
    assert pace.left_s == 0


@pytest.mark.parametrize(("faster", "left_s"), [(1000, 10.5), (10, 15)])
def test_a_client_is_hastened_and_never_slowed_down(faster, left_s):
    pace = Pace(LIMITS)
    pace.hasten(faster)
    pace.note(500, 0)
    assert pace.left_s == left_s
