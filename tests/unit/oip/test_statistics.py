"""Tests of the statistics extension."""

from __future__ import annotations

from inferonnx.oip.statistics import (
    BatchStatistics,
    Duration,
    ModelStatistics,
    model_statistics,
)


def test_a_model_that_did_something() -> None:
    stats = ModelStatistics(
        name="m",
        version="3",
        last_inference_ms=1_700_000_000_000,
        inference_count=5,
        execution_count=2,
        success=Duration(count=4, ns=40),
        fail=Duration(count=1, ns=1),
        queue=Duration(count=4, ns=4),
        batches=(BatchStatistics(batch_size=2, compute_infer=Duration(count=1, ns=9)),),
        resident_bytes=1000,
    )
    zero = {"count": 0, "ns": 0}
    assert model_statistics([stats]) == {
        "model_stats": [
            {
                "name": "m",
                "version": "3",
                "last_inference": 1_700_000_000_000,
                "inference_count": 5,
                "execution_count": 2,
                "inference_stats": {
                    "success": {"count": 4, "ns": 40},
                    "fail": {"count": 1, "ns": 1},
                    "queue": {"count": 4, "ns": 4},
                    "compute_input": zero,
                    "compute_infer": zero,
                    "compute_output": zero,
                    "cache_hit": zero,
                    "cache_miss": zero,
                },
                "response_stats": {},
                "batch_stats": [
                    {
                        "batch_size": 2,
                        "compute_input": zero,
                        "compute_infer": {"count": 1, "ns": 9},
                        "compute_output": zero,
                    }
                ],
                "memory_usage": [{"type": "CPU", "id": 0, "byte_size": 1000}],
            }
        ]
    }


def test_memory_that_is_not_known_is_left_out() -> None:
    (found,) = model_statistics([ModelStatistics(name="m", version="1")])["model_stats"]
    assert found["memory_usage"] == []
    assert model_statistics([]) == {"model_stats": []}
