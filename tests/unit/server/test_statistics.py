import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.server.statistics import (
    FIRST_NS,
    MAX_BATCH_SIZES,
    N_STEPS,
    STEP,
    Failure,
    ModelStatistics,
    Timing,
)


def answered(*latencies_ns):
    statistics = ModelStatistics()
    for ns in latencies_ns:
        statistics.succeeded(Timing(0, 0, ns, 0, 1), rows=1, now_ms=0)
    return statistics


def test_each_part_of_an_answered_request_is_counted_where_it_belongs():
    statistics = ModelStatistics()
    statistics.succeeded(Timing(1, 20, 300, 4000, 8), rows=3, now_ms=77)
    statistics.succeeded(Timing(1, 20, 300, 4000, 8), rows=5, now_ms=78)
    assert (statistics.success.count, statistics.success.ns) == (2, 2 * 4321)
    assert [
        (tally.count, tally.ns)
        for tally in (statistics.queue, statistics.input, statistics.infer, statistics.output)
    ] == [(2, 2), (2, 40), (2, 600), (2, 8000)]
    assert statistics.n_inferences == 8
    assert statistics.last_inference_ms == 78
    assert statistics.n_executions == 0


def test_failures_are_counted_by_reason():
    statistics = ModelStatistics()
    for why in (Failure.REJECTED, Failure.REJECTED, Failure.CANCELED):
        statistics.failed(why, 5)
    assert (statistics.fail.count, statistics.fail.ns) == (3, 15)
    assert statistics.failures == {
        Failure.REJECTED: 2,
        Failure.CANCELED: 1,
        Failure.BACKEND: 0,
        Failure.OTHER: 0,
    }
    assert statistics.success.count == 0


def test_runs_are_counted_by_the_size_of_their_batch():
    statistics = ModelStatistics()
    for n_rows in (1, 4, 4, MAX_BATCH_SIZES, MAX_BATCH_SIZES + 1):
        statistics.executed(n_rows, Timing(9, 1, 2, 3, n_rows), streamed_bytes=100)
    assert statistics.n_executions == 5
    assert statistics.streamed_bytes == 500
    assert sorted(statistics.batches) == [1, 4, MAX_BATCH_SIZES]
    four = statistics.batches[4]
    assert [(t.count, t.ns) for t in (four.input, four.infer, four.output)] == [
        (2, 2),
        (2, 4),
        (2, 6),
    ]
    assert statistics.batches[MAX_BATCH_SIZES].infer.count == 2


def test_there_is_no_percentile_of_nothing():
    assert ModelStatistics().percentile_ns(0.5) is None


@pytest.mark.parametrize("ns", [0, 1, FIRST_NS])
def test_what_is_faster_than_the_first_step_is_in_it(ns):
    assert answered(ns).percentile_ns(0.5) == FIRST_NS


@pytest.mark.parametrize("i", [1, 2, 50, N_STEPS - 1])
def test_a_latency_at_the_end_of_a_step_is_in_that_step(i):
    end = round(FIRST_NS * STEP**i)
    assert answered(end).percentile_ns(0.5) == end


def test_what_takes_longer_than_the_last_step_is_in_it():
    assert answered(10**15).percentile_ns(0.5) == round(FIRST_NS * STEP ** (N_STEPS - 1))


def test_a_share_counts_whole_requests():
    statistics = answered(*[10**5] * 7, *[10**7] * 3)
    assert statistics.percentile_ns(0.7) < 2 * 10**5  # 0.7 * 10 is more than 7 in floats
    assert statistics.percentile_ns(0.71) > 9 * 10**6
    assert statistics.percentile_ns(0.0) < 2 * 10**5
    assert statistics.percentile_ns(1.0) > 9 * 10**6


@given(
    latencies=st.lists(st.integers(FIRST_NS, 9 * 10**10), min_size=1, max_size=30),
    share=st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]),
)
def test_a_percentile_is_right_to_a_tenth(latencies, share):
    exact = sorted(latencies)[max(0, -int(-share * len(latencies) // 1) - 1)]
    found = answered(*latencies).percentile_ns(share)
    assert exact * 0.999 <= found <= exact * STEP * 1.001
