"""What calls need beside each other, and what of it grows: from the figures of a manifest."""

from types import SimpleNamespace

import pytest

from inferonnx.app.host.needs import (
    arena_bytes,
    growing_bytes,
    parallel_bytes,
    sharing_bytes,
    sharing_calls,
)
from inferonnx.sizes import MIB


def manifest(*, passes, activations, call):
    return SimpleNamespace(
        arena=SimpleNamespace(peak_bytes=passes * MIB),
        memory=SimpleNamespace(call_bytes=call * MIB),
        partitions=[SimpleNamespace(activation_bytes=n * MIB) for n in (0, activations)],
    )


MODEL = manifest(passes=20, activations=4, call=1)


def test_each_call_that_shares_takes_what_one_was_measured_to_take():
    assert [sharing_bytes(MODEL, n) // MIB for n in range(1, 5)] == [20, 21, 22, 23]


def test_calls_at_once_take_their_own_activations_and_never_more_than_a_pass():
    assert [parallel_bytes(MODEL, n) // MIB for n in (1, 2, 3)] == [20, 26, 32]
    large = manifest(passes=20, activations=19, call=1)
    assert [parallel_bytes(large, n) // MIB for n in (1, 2)] == [20, 40]


@pytest.mark.parametrize(("spare", "calls"), [(-1, 1), (0, 1), (2.5, 3), (3, 4), (4, 5), (99, 5)])
def test_as_many_calls_share_as_there_is_room_for(spare, calls):
    assert sharing_calls(MODEL, int(spare * MIB), 5) == calls


@pytest.mark.parametrize(
    ("passes", "activations", "call", "grows"),
    [
        (20, 4, 1, 10),  # both figures agree
        (40, 4, 1, 30),  # more was measured than is known: workspace, say
        (20, 6, 1, 14),  # twice what is known to grow
        (20, 19, 1, 20),  # never more than all of it
        (5, 1, 0, 2),
    ],
)
def test_what_is_fixed_does_not_grow(passes, activations, call, grows):
    model = manifest(passes=passes, activations=activations, call=call)
    assert growing_bytes(model, passes * MIB) == grows * MIB
    assert growing_bytes(model, (passes + 7) * MIB) == (grows + 14) * MIB


@pytest.mark.parametrize(
    ("passes", "left", "takes"),
    [
        (12, 12, 4.5),  # next to nothing but code pages
        (22, 22, 17),
        (22, 60, 52),  # what the share has besides is passes' as well
        (131, 131, 153.25),  # addresses that nothing touches
        (5, 5, 2),
    ],
)
def test_an_arena_has_what_passes_need_and_what_is_left_to_them(passes, left, takes):
    assert arena_bytes(passes * MIB, left * MIB) == takes * MIB
