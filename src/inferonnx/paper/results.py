"""`results/paper.json`: everything that was measured, the machine, and what a fault costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inferonnx.bench.machine import machine_facts
from inferonnx.epc import PUBLISHED_SGX_FAULT_CYCLES, PUBLISHED_SGX_FAULT_SOURCE
from inferonnx.runtime.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inferonnx.epc import FaultCost

SCHEMA = "inferonnx.paper/1"


def fault_facts(cost: FaultCost | None) -> dict[str, Any]:
    """Return what a page fault costs here, beside the published cost of an SGX page swap."""
    return {
        "here_ns": None if cost is None else cost.median_ns,
        "swap": None if cost is None else cost.swap,
        "sgx_cycles": PUBLISHED_SGX_FAULT_CYCLES,
        "sgx_source": PUBLISHED_SGX_FAULT_SOURCE,
    }


def paper_results(
    rows: Sequence[dict[str, Any]],
    *,
    label: str,
    limit_bytes: int | None,
    n_runs: int,
    partitions_folder: str,
    fault: dict[str, Any],
    started: str,
    seconds: float,
) -> dict[str, Any]:
    """Return the object that results/paper.json holds."""
    return {
        "schema": SCHEMA,
        "machine": machine_facts(),
        "label": label,
        "limit_bytes": limit_bytes,
        "runs": n_runs,
        "partitions_folder": partitions_folder,
        "fault": fault,
        "started": started,
        "seconds": round(seconds, 1),
        "rows": list(rows),
    }


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    with whole_file(str(path)) as file:
        file.write(text.encode())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object, a row a line."""
    rows = ",\n  ".join(json.dumps(row) for row in value["rows"])
    head = json.dumps({**value, "rows": []}, indent=1)
    write_text(path, head.replace('"rows": []', f'"rows": [\n  {rows}\n ]') + "\n")
