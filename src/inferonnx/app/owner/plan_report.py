"""A plan as data, as the plan page and `plan --json` show it (report.schema)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inferonnx.app.owner.planned import PlannedModel
    from inferonnx.graph import Graph
    from inferonnx.plan import PlannedPartition


def plan_facts(planned: PlannedModel, *, model: str, suite: str) -> dict[str, Any]:
    """Return the plan as a JSON-able object of schema `inferonnx.plan/1`."""
    plan = planned.plan
    rate = planned.trial.stream_bytes_per_s
    return {
        "schema": "inferonnx.plan/1",
        "model": model,
        "strategy": plan.strategy,
        "suite": suite,
        "budget_bytes": plan.budget_bytes,
        "peak_bytes": planned.peak_bytes,
        "open_peak_bytes": planned.open_peak_bytes,
        "floor_bytes": plan.floor_bytes,
        "session_bytes": plan.session_bytes,
        "buffer_bytes": plan.buffer_bytes,
        "resident_bytes": plan.resident_bytes,
        "streamed_bytes": plan.streamed_bytes,
        "activation_bytes": plan.activation_bytes,
        "least_bytes": planned.least_bytes,
        "latency_s": planned.latency_s,
        "notes": list(planned.prepared.notes),
        "partitions": [
            {
                "start": part.start,
                "stop": part.stop,
                "weight_bytes": part.weight_bytes,
                "activation_bytes": part.activation_bytes,
                "time_s": compute_s,
                "stream_s": part.weight_bytes / rate if rate and not part.resident else 0.0,
                "resident": part.resident,
                "operators": _operators(planned.prepared.graph, part),
            }
            for part, compute_s in zip(plan.partitions, planned.trial.compute_s, strict=True)
        ],
    }


def _operators(graph: Graph, part: PlannedPartition) -> list[dict[str, Any]]:
    return [
        {
            "name": graph.label(i),
            "op_type": graph.nodes[i].op_type,
            "weight_bytes": sum(graph.weight_bytes[name] for name in graph.nodes[i].weights),
            "time_s": graph.times_s[i],
        }
        for i in range(part.start, part.stop)
    ]
