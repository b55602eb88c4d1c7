"""A profile with made-up values, by simple rules, so that a test can say what must be shown."""

from __future__ import annotations

import copy
from typing import Any

MIB = 2**20


def profile(n: int = 40, *, inside: bool = True, **changes: object) -> dict[str, Any]:
    """Return an object of schema `inferonnx.profile/1`; each tenth operator is large."""
    operators = [
        {
            "index": i,
            "name": f"/layer{i}/op",
            "type": ("Conv", "Relu", "MaxPool")[i % 3],
            "weights_bytes": (90 if i % 10 == 9 else i % 3) * MIB,
            "activation_bytes": (1 + i % 5) * MIB,
            "peak_bytes": ((90 if i % 10 == 9 else i % 3) + 1 + i % 5) * MIB,
            "alive_bytes": (2 + i % 7) * MIB,
            "outside_ms": 0.5 + i % 4,
            "inside_ms": (0.5 + i % 4) * 3 if inside else None,
            "faults": float(10 * i) if inside else None,
        }
        for i in range(n)
    ]
    weights = sum(one["weights_bytes"] for one in operators)  # type: ignore[misc]
    base = {
        "schema": "inferonnx.profile/1",
        "model": "made-up.onnx",
        "machine": {"cpu": "Made-up processor of the tests", "cores": 2},
        "epc_bytes": 85 * MIB,
        "limit_bytes": 85 * MIB if inside else None,
        "label": "EPC limit enforced by cgroup" if inside else "no limit enforced",
        "weights_bytes": weights,
        "activation_bytes": 8 * MIB,
        "entire_peak_bytes": weights + 8 * MIB,
        "notes": ["A note."],
        "operators": operators,
    }
    return copy.deepcopy(base | changes)
