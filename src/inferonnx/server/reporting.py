"""What a server tells about itself: to Prometheus, to Triton's clients, to the status page."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

from inferonnx.oip.statistics import BatchStatistics, Duration
from inferonnx.oip.statistics import ModelStatistics as OipStatistics
from inferonnx.runtime import process
from inferonnx.server.metrics import ModelSample, ServerSample
from inferonnx.server.models import READY

if TYPE_CHECKING:
    from inferonnx.server.context import Context
    from inferonnx.server.models import ModelView
    from inferonnx.server.statistics import Tally

PERCENTILES = (0.5, 0.9, 0.99)


def statistics_of(view: ModelView) -> OipStatistics:
    """Return a version's statistics as Triton's clients read them."""
    counts = view.queue.statistics
    residency = view.entry.residency if view.entry else None
    return OipStatistics(
        name=view.stored.name,
        version=str(view.stored.version),
        last_inference_ms=counts.last_inference_ms,
        inference_count=counts.n_inferences,
        execution_count=counts.n_executions,
        success=_duration(counts.success),
        fail=_duration(counts.fail),
        queue=_duration(counts.queue),
        compute_input=_duration(counts.input),
        compute_infer=_duration(counts.infer),
        compute_output=_duration(counts.output),
        batches=tuple(
            BatchStatistics(
                batch_size=rows,
                compute_input=_duration(tally.input),
                compute_infer=_duration(tally.infer),
                compute_output=_duration(tally.output),
            )
            for rows, tally in sorted(counts.batches.items())
        ),
        resident_bytes=residency.resident_bytes if residency else None,
    )


def server_sample(context: Context) -> ServerSample:
    """Return what a scrape sees."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return ServerSample(
        models=[_model_sample(view) for view in context.models.views()],
        resident_bytes=process.resident_bytes() or 0,
        peak_resident_bytes=process.peak_resident_bytes() or 0,
        budget_bytes=context.config.memory_bytes,
        request_bytes=context.ledger.used_bytes,
        request_limit_bytes=context.ledger.total_bytes,
        n_connections=context.n_connections(),
        n_waiting=context.ledger.n_waiting,
        cpu_s=usage.ru_utime + usage.ru_stime,
        uptime_s=context.ticks_s() - context.started_s,
    )


def status(context: Context) -> dict[str, Any]:
    """Return what the status page and `inferonnx top` show (docs/protocol.md, "status")."""
    sample = server_sample(context)
    return {
        "schema": "inferonnx.status/1",
        "version": context.version,
        "uptime_s": round(sample.uptime_s, 3),
        "config": context.config_digest.hex(),
        "public_key": context.identity.public_key_hash.hex(),
        "memory": {
            "budget_bytes": sample.budget_bytes,
            "resident_bytes": sample.resident_bytes,
            "peak_bytes": sample.peak_resident_bytes,
            "server_bytes": sample.budget_bytes
            - context.pool.total_bytes
            - sample.request_limit_bytes,
            "models_bytes": context.pool.used_bytes,
            "models_limit_bytes": context.pool.total_bytes,
            "requests_bytes": sample.request_bytes,
            "requests_limit_bytes": sample.request_limit_bytes,
        },
        "connections": sample.n_connections,
        "requests_waiting": sample.n_waiting,
        "cpu_s": round(sample.cpu_s, 3),
        "models": [_status_of(view) for view in context.models.views()],
    }


def listing(view: ModelView) -> dict[str, Any]:
    """Return one entry of the list of models."""
    stored, entry = view.stored, view.entry
    residency = entry.residency if entry else None
    return {
        "name": stored.name,
        "version": stored.version,
        "state": view.state,
        "reason": view.reason,
        "sealed_name": entry.facts.name if entry else None,
        "release": stored.release,
        "owner": stored.owner.hex(),
        "model_id": stored.model_id.hex(),
        "suite": stored.suite,
        "file_bytes": stored.file_bytes,
        "is_open": residency is not None,
        "share_bytes": entry.share_bytes if entry else 0,
        "least_bytes": entry.facts.least_bytes if entry else None,
        "resident_bytes": residency.resident_bytes if residency else 0,
        "streamed_bytes": residency.streamed_bytes if residency else None,
        "partitions": residency.n_partitions if residency else None,
        "resident_partitions": residency.n_resident if residency else None,
    }


def _status_of(view: ModelView) -> dict[str, Any]:
    counts = view.queue.statistics
    latencies = {
        f"p{round(share * 100)}_ms": None if ns is None else ns / 1e6
        for share in PERCENTILES
        for ns in (counts.percentile_ns(share),)
    }
    return listing(view) | {
        "pending": counts.n_pending,
        "requests": counts.success.count,
        "failures": {why.value: n for why, n in counts.failures.items()},
        "inferences": counts.n_inferences,
        "executions": counts.n_executions,
        "request_ns": counts.success.ns,
        "queue_ns": counts.queue.ns,
        "infer_ns": counts.infer.ns,
        "opened_bytes": counts.streamed_bytes,
        "latency": latencies,
        "latency_steps": [[ns / 1e6, n] for ns, n in counts.histogram_ns()],
    }


def _model_sample(view: ModelView) -> ModelSample:
    entry = view.entry
    residency = entry.residency if entry else None
    return ModelSample(
        name=view.stored.name,
        version=view.stored.version,
        statistics=view.queue.statistics,
        is_ready=view.state == READY,
        share_bytes=entry.share_bytes if entry else 0,
        resident_bytes=residency.resident_bytes if residency else 0,
        load_s=entry.load_s if entry else 0.0,
    )


def _duration(tally: Tally) -> Duration:
    return Duration(count=tally.count, ns=tally.ns)
