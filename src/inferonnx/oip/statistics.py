"""The statistics extension: what was counted, as values and as a document."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from inferonnx.oip.messages import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How often something was done, and how long that took in all, in nanoseconds."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatistics:
    """Runs with a certain number of rows."""

    batch_size: int
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What a version of a model has done since it was loaded.

    Attributes:
        name: Of the model.
        version: Of the version, as text.
        last_inference_ms: When the last request came, in milliseconds since 1970; 0 for none.
        inference_count: Rows computed.
        execution_count: Runs; fewer than rows where requests were batched.
        success: Requests answered, from arrival to answer.
        fail: Requests that failed.
        queue: Time waited. Its count must grow with each request: perf_analyzer finds the
            version that it measures by it.
        compute_input: Time to read inputs.
        compute_infer: Time to compute.
        compute_output: Time to write outputs.
        batches: By number of rows, ascending.
        resident_bytes: Memory that the version holds; None when it is not known.
    """

    name: str
    version: str
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    batches: tuple[BatchStatistics, ...] = ()
    resident_bytes: int | None = None


def model_statistics(models: Iterable[ModelStatistics]) -> Document:
    """Return the statistics of versions of models."""
    return {"model_stats": [_statistics(model) for model in models]}


def _statistics(model: ModelStatistics) -> Document:
    names = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
    stats = {name: _duration(getattr(model, name)) for name in names}
    # perf_analyzer warns of a cache unless these stand there as zero.
    stats |= {name: _duration(Duration()) for name in ("cache_hit", "cache_miss")}
    usage = [{"type": "CPU", "id": 0, "byte_size": model.resident_bytes}]
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference_ms,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        "inference_stats": stats,
        "response_stats": {},
        "batch_stats": [_batch(batch) for batch in model.batches],
        "memory_usage": [] if model.resident_bytes is None else usage,
    }


def _batch(batch: BatchStatistics) -> Document:
    return {
        "batch_size": batch.batch_size,
        "compute_input": _duration(batch.compute_input),
        "compute_infer": _duration(batch.compute_infer),
        "compute_output": _duration(batch.compute_output),
    }


def _duration(duration: Duration) -> Document:
    return {"count": duration.count, "ns": duration.ns}
