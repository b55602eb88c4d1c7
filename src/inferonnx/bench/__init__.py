"""Measurements: raw samples and machine facts are kept, comparison is separate."""

from inferonnx.bench.machine import machine_facts
from inferonnx.bench.stream import StreamBench, bench_stream

__all__ = ["StreamBench", "bench_stream", "machine_facts"]
