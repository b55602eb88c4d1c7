"""MemoryModel, Rates and Plan: arithmetic and refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from inferonnx.errors import PlanError
from inferonnx.plan import MemoryModel, Plan, PlannedPartition, Rates


@pytest.mark.parametrize(("n_bytes", "padded"), [(0, 0), (1, 64), (63, 64), (64, 64), (65, 128)])
def test_padded_rounds_up_to_the_alignment(memory: MemoryModel, n_bytes: int, padded: int) -> None:
    assert memory.padded(n_bytes) == padded


def test_partition_session_bytes_adds_up(memory: MemoryModel) -> None:
    assert memory.partition_session_bytes(n_nodes=3, n_weights=2) == 10 + 3 * 1 + 2 * 2


@pytest.mark.parametrize(
    "change",
    [
        {"floor_bytes": -1},
        {"session_bytes": -1},
        {"node_bytes": -1},
        {"weight_input_bytes": -1},
        {"alignment": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_memory_model_refuses_negative_sizes(memory: MemoryModel, change: dict[str, int]) -> None:
    with pytest.raises(PlanError, match="no negative sizes"):
        replace(memory, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"stream_bytes_per_s": 0.0},
        {"stream_bytes_per_s": math.inf},
        {"stream_bytes_per_s": math.nan},
        {"partition_overhead_s": -1e-9},
        {"stream_overhead_s": math.nan},
        {"stream_overhead_s": math.inf},
    ],
    ids=str,
)
def test_rates_refuse_what_is_not_positive_and_finite(
    rates: Rates, change: dict[str, float]
) -> None:
    with pytest.raises(PlanError, match="positive and finite"):
        replace(rates, **change)


def test_stream_s_is_nothing_for_an_empty_block(rates: Rates) -> None:
    assert rates.stream_s(0) == 0
    assert rates.stream_s(64) == pytest.approx(64e-6 + 10e-6)


def test_cuts_are_the_starts_of_all_but_the_first() -> None:
    partitions = tuple(
        PlannedPartition(
            start=start,
            stop=stop,
            weight_bytes=0,
            activation_bytes=0,
            session_bytes=0,
            time_s=0.0,
            resident=True,
        )
        for start, stop in [(0, 2), (2, 3), (3, 7)]
    )
    plan = Plan(
        partitions=partitions,
        strategy="hand",
        budget_bytes=0,
        floor_bytes=0,
        session_bytes=0,
        buffer_bytes=0,
        activation_bytes=0,
        resident_bytes=0,
        streamed_bytes=0,
        peak_bytes=0,
        least_bytes=0,
        latency_s=0.0,
    )
    assert plan.cuts == (2, 3)
    assert replace(plan, partitions=()).cuts == ()
