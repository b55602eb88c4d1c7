"""Measurements: raw samples and machine facts are kept, comparison is separate.

Loaded name by name: a worker is measured, and must not hold what drives it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inferonnx.bench.machine import machine_facts
    from inferonnx.bench.stream import StreamBench, bench_stream

__all__ = ["StreamBench", "bench_stream", "machine_facts"]

_HOMES = {"StreamBench": "stream", "bench_stream": "stream", "machine_facts": "machine"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
