import pytest

import inferonnx
from inferonnx.app.host.opened_file import open_file
from inferonnx.app.host.placing import Held, measure_held, place
from inferonnx.errors import InfeasibleBudgetError
from inferonnx.runtime import process
from inferonnx.sizes import MIB

FLOOR = 30 * MIB
HELD = Held(FLOOR, session_bytes=MIB, opening_peak_bytes=0, measured=True)


@pytest.fixture(scope="module")
def manifest(sealed_cnn, key_path):
    opened = open_file(str(sealed_cnn), key=inferonnx.Key.load(key_path))
    opened.close()
    return opened.manifest


def least_of(manifest, held):
    with pytest.raises(InfeasibleBudgetError) as caught:
        place(manifest, held, 1, most_calls=1, may_stay=True)
    return caught.value.needed_bytes


def test_the_least_that_is_named_is_enough_and_no_byte_less(manifest):
    least = least_of(manifest, HELD)
    assert place(manifest, HELD, least, most_calls=8, may_stay=True).peak_bytes == least
    with pytest.raises(InfeasibleBudgetError):
        place(manifest, HELD, least - 1, most_calls=1, may_stay=True)


def test_what_opening_took_must_fit_too(manifest):
    peak = least_of(manifest, HELD) + MIB
    held = HELD._replace(opening_peak_bytes=peak)
    assert least_of(manifest, held) == peak
    assert place(manifest, held, peak, most_calls=1, may_stay=False).peak_bytes == peak


@pytest.mark.parametrize("may_stay", [True, False])
def test_no_budget_is_exceeded_and_more_of_it_is_never_worse(manifest, may_stay):
    blocks = [partition.block_bytes for partition in manifest.partitions]
    least, seen = least_of(manifest, HELD), 0
    for budget in range(least, least + sum(blocks) + 8 * MIB, 17 << 10):
        placed = place(manifest, HELD, budget, most_calls=4, may_stay=may_stay)
        assert placed.peak_bytes <= budget
        assert placed.concurrency >= max(seen, placed.n_parallel)
        seen = placed.concurrency
        if not may_stay:
            assert (placed.resident, placed.n_parallel) == (frozenset(), 1)


def test_calls_run_at_once_when_nothing_is_left_to_stream(manifest):
    placed = place(manifest, HELD, 1 << 40, most_calls=4, may_stay=True)
    assert placed.resident >= {i for i, p in enumerate(manifest.partitions) if p.block_bytes}
    assert placed.n_parallel == placed.concurrency == 4


def test_where_the_system_tells_nothing_the_figures_of_sealing_count(
    manifest, monkeypatch, tmp_path
):
    memory = manifest.memory
    monkeypatch.setattr(process, "PROC", str(tmp_path))
    assert measure_held(memory, before_bytes=0, peak_before=0) == Held(
        memory.floor_bytes, memory.session_bytes, memory.least_bytes, measured=False
    )
    assert measure_held(memory, before_bytes=0, peak_before=None).opening_peak_bytes == 0


def test_a_peak_from_before_is_not_of_opening(manifest):
    reached = process.peak_resident_bytes()
    held = measure_held(manifest.memory, before_bytes=0, peak_before=reached + (64 << 20))
    assert held.measured
    assert held.opening_peak_bytes == 0
    assert held.session_bytes == held.floor_bytes > 0
