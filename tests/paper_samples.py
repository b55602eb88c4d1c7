"""Results as the paper's measurements leave them; every value is made up, by simple rules.

A model's times are multiples of one number, so that a test can say what a figure must show.
"""

from __future__ import annotations

import copy
from typing import Any

LIMIT = 85 * 2**20
LABEL = "EPC limit enforced by cgroup"

BASE_MS = {
    "squeezenet1.0-7": 10.0,
    "mobilenetv2-7": 12.0,
    "densenet-7": 60.0,
    "efficientnet-lite4-11": 40.0,
    "inception-v3-12": 100.0,
    "resnet101-v2-7": 150.0,
    "resnet152-v2-7": 200.0,
    "efficientnet-v2-l-18": 400.0,
}
FACTORS = {
    "entire-disk-tee": 6.0,
    "entire-memory-tee": 4.0,
    "entire-disk-plain": 2.0,
    "entire-disk-plain-tls": 2.5,
    "partitions-disk-tee": 3.0,
    "stream-tee": 1.5,
    "stream-free": 1.4,
    "memory-plain": 1.0,
    "disk-plain": 1.2,
    "disk-plain-cold": 1.8,
}
FREE = {"entire-disk-plain", "entire-disk-plain-tls", "stream-free", "memory-plain"}
FREE |= {"disk-plain", "disk-plain-cold"}
TWICE = ("resnet152-v2-7", "efficientnet-v2-l-18")


def row(model: str, configuration: str, limit: int | None) -> dict[str, Any]:
    """Return a row of three runs: the middle one is the product of base and factor."""
    ms = BASE_MS[model] * FACTORS[configuration]
    total = [ms, ms * 0.95, ms * 1.1]
    is_served = configuration not in ("memory-plain", "disk-plain", "disk-plain-cold")
    faults = 20000.0 if configuration == "entire-memory-tee" else 0.0
    n_parts = 4 if configuration == "partitions-disk-tee" else 1
    return {
        "model": model,
        "configuration": configuration,
        "limit_bytes": limit,
        "label": LABEL if limit else "no limit enforced",
        "total_ms": total,
        "server_ms": [value - 2 for value in total] if is_served else None,
        "inference_ms": [value - 3 for value in total],
        "partition_ms": [[(value - 3) / n_parts] * n_parts for value in total],
        "major_faults": [faults, faults * 1.01, faults * 0.99],
        "peak_bytes": 80 * 2**20,
        "streamed_bytes": int(ms * 1e6) if configuration == "stream-tee" else None,
        "cold": configuration.endswith("-cold"),
        "error": None,
    }


def paper_results(**changes: object) -> dict[str, Any]:
    """Return an object of schema `inferonnx.paper/1`: eight models in all configurations."""
    rows = [
        row(model, configuration, None if configuration in FREE else LIMIT)
        for model in BASE_MS
        for configuration in FACTORS
    ]
    rows += [row(m, c, 72 * 2**20) for m in TWICE for c in ("stream-tee", "entire-memory-tee")]
    base = {
        "schema": "inferonnx.paper/1",
        "machine": {
            "cpu": "Made-up processor of the tests",
            "vector": ["avx2", "vaes"],
            "cores": 2,
            "memory_bytes": 8 * 2**30,
            "kernel": "0.0-test",
            "python": "3.11.0",
            "inferonnx": "0.0.test",
            "onnxruntime": "1.32.0",
        },
        "label": LABEL,
        "limit_bytes": LIMIT,
        "runs": 3,
        "partitions_folder": "partitions",
        "fault": {
            "here_ns": 12345.0,
            "swap": "zram",
            "sgx_cycles": 40000,
            "sgx_source": "VAULT, ASPLOS 2018",
        },
        "started": "2000-01-01T00:00:00+00:00",
        "seconds": 1234.5,
        "rows": rows,
    }
    return copy.deepcopy(base | changes)


PEERS = {
    ("tract", "entire", "memory"): 8.0,
    ("tract", "entire", "disk"): 12.0,
    ("tract", "entire", "disk-encrypted"): 14.0,
    ("tract", "partitions", "disk-encrypted"): 9.0,
    ("onnxruntime", "entire", "memory"): 4.0,
    ("inferonnx", "stream", "disk-encrypted"): 1.5,
}


def paper_peers(**changes: object) -> dict[str, Any]:
    """Return an object of schema `inferonnx.peers/1`."""
    rows = [
        {
            "model": model,
            "engine": engine,
            "form": form,
            "storage": storage,
            "latency_ms": [ms * factor, ms * factor * 1.1, ms * factor * 0.9],
            "peak_bytes": int((84 if engine == "inferonnx" else 10 * factor + 200) * 2**20),
            "major_faults": [0, 0, 0] if engine == "inferonnx" else [500, 510, 490],
            "error": None,
        }
        for model, ms in BASE_MS.items()
        for (engine, form, storage), factor in PEERS.items()
    ]
    base = {
        "schema": "inferonnx.peers/1",
        "machine": {"cpu": "Made-up processor of the tests"},
        "label": LABEL,
        "limit_bytes": LIMIT,
        "rows": rows,
    }
    return copy.deepcopy(base | changes)
