"""What the machine of a measurement is, so that unlike machines are not compared."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version


def machine_facts() -> dict[str, object]:
    """Return processor, its vector extensions, cores, memory, kernel and versions."""
    info = _proc("/proc/cpuinfo")
    flags = info.get("flags", "").split()
    return {
        "cpu": info.get("model name", platform.processor() or "unknown"),
        "vector": [f for f in ("avx2", "avx512f", "avx512_vnni", "vaes") if f in flags],
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("inferonnx", "onnxruntime", "cryptography")},
    }


def _proc(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            pairs = (line.partition(":") for line in file)
            return {name.strip(): value.strip() for name, _, value in pairs if value}
    except OSError:
        return {}
