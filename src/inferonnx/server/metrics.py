"""Prometheus' text format, with Triton's names for what Triton measures and ours for the rest.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
Names `nv_*`: Triton Inference Server, docs/user_guide/metrics.md. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inferonnx.server.statistics import ModelStatistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ModelSample(NamedTuple):
    """One version of a model at the moment of a scrape; bytes."""

    name: str
    version: int
    statistics: ModelStatistics
    is_ready: bool
    share_bytes: int
    resident_bytes: int
    load_s: float


class ServerSample(NamedTuple):
    """The process at the moment of a scrape; bytes, seconds, counts."""

    models: Sequence[ModelSample]
    resident_bytes: int
    peak_resident_bytes: int
    budget_bytes: int
    request_bytes: int
    request_limit_bytes: int
    n_connections: int
    n_waiting: int
    cpu_s: float
    uptime_s: float


def _value(read: Callable[[ModelStatistics], int]) -> Callable[[ModelSample], float]:
    return lambda sample: read(sample.statistics)


# name, kind, help, how it is read
_PER_MODEL: tuple[tuple[str, str, str, Callable[[ModelSample], float]], ...] = (
    (
        "nv_inference_request_success",
        "counter",
        "Requests that were answered",
        _value(lambda s: s.success.count),
    ),
    (
        "nv_inference_count",
        "counter",
        "Inferences, counted by rows of a batch",
        _value(lambda s: s.n_inferences),
    ),
    ("nv_inference_exec_count", "counter", "Runs of the model", _value(lambda s: s.n_executions)),
    (
        "nv_inference_request_duration_us",
        "counter",
        "Time of answered requests",
        _value(lambda s: s.success.ns // 1000),
    ),
    (
        "nv_inference_queue_duration_us",
        "counter",
        "Time that requests waited",
        _value(lambda s: s.queue.ns // 1000),
    ),
    (
        "nv_inference_compute_input_duration_us",
        "counter",
        "Time spent on inputs",
        _value(lambda s: s.input.ns // 1000),
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "counter",
        "Time spent computing",
        _value(lambda s: s.infer.ns // 1000),
    ),
    (
        "nv_inference_compute_output_duration_us",
        "counter",
        "Time spent on outputs",
        _value(lambda s: s.output.ns // 1000),
    ),
    (
        "nv_inference_pending_request_count",
        "gauge",
        "Requests that wait or run",
        _value(lambda s: s.n_pending),
    ),
    ("nv_model_load_duration_secs", "gauge", "Time that the last opening took", lambda m: m.load_s),
    (
        "inferonnx_streamed_bytes",
        "counter",
        "Bytes of weights read and opened by passes",
        _value(lambda s: s.streamed_bytes),
    ),
    ("inferonnx_model_ready", "gauge", "1 when the model is unlocked", lambda m: int(m.is_ready)),
    (
        "inferonnx_model_share_bytes",
        "gauge",
        "Memory that the open model may take",
        lambda m: m.share_bytes,
    ),
    (
        "inferonnx_model_resident_bytes",
        "gauge",
        "Weights that stay decrypted in memory",
        lambda m: m.resident_bytes,
    ),
)

_PROCESS: tuple[tuple[str, str, str, Callable[[ServerSample], float]], ...] = (
    (
        "inferonnx_memory_budget_bytes",
        "gauge",
        "Memory that the process may take",
        lambda s: s.budget_bytes,
    ),
    (
        "inferonnx_memory_resident_bytes",
        "gauge",
        "Resident memory of the process",
        lambda s: s.resident_bytes,
    ),
    (
        "inferonnx_memory_peak_bytes",
        "gauge",
        "Peak of it since the start",
        lambda s: s.peak_resident_bytes,
    ),
    ("inferonnx_request_bytes", "gauge", "Bytes that requests hold", lambda s: s.request_bytes),
    (
        "inferonnx_request_limit_bytes",
        "gauge",
        "Bytes that requests may hold",
        lambda s: s.request_limit_bytes,
    ),
    ("inferonnx_requests_waiting", "gauge", "Requests that wait for memory", lambda s: s.n_waiting),
    ("inferonnx_connections", "gauge", "Open connections", lambda s: s.n_connections),
    ("process_cpu_seconds_total", "counter", "CPU time of the process", lambda s: s.cpu_s),
    ("inferonnx_uptime_seconds", "gauge", "Time since the start", lambda s: s.uptime_s),
)


def exposition(sample: ServerSample) -> str:
    """Return the whole reply to a scrape."""
    return "".join(f"{line}\n" for line in _lines(sample))


def _lines(sample: ServerSample) -> Iterator[str]:
    for name, kind, text, read in _PER_MODEL:
        yield from _head(name, kind, text)
        for model in sample.models:
            yield f"{name}{{{_labels(model)}}} {_number(read(model))}"
    yield from _head("nv_inference_request_failure", "counter", "Requests that were not answered")
    for model in sample.models:
        for why, count in model.statistics.failures.items():
            yield f'nv_inference_request_failure{{{_labels(model)},reason="{why.value}"}} {count}'
    for name, kind, text, read_process in _PROCESS:
        yield from _head(name, kind, text)
        yield f"{name} {_number(read_process(sample))}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _labels(model: ModelSample) -> str:
    # A name has no character that would need an escape: control.names.
    return f'model="{model.name}",version="{model.version}"'


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}"
