"""Where to cut a model and what to keep decrypted, so that a memory budget is kept.

The names load their modules when they are first used: inside an enclave only
`choose_resident` is needed, and it shall not bring the owner's planner along.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.plan.figures import assess
    from inferonnx.plan.least import LeastBudget, least_budget
    from inferonnx.plan.needs import operator_bytes
    from inferonnx.plan.optimal import plan_optimal
    from inferonnx.plan.overheads import (
        OVERHEAD_LIMIT,
        operator_names,
        parse_operator_overheads,
    )
    from inferonnx.plan.paper import plan_paper
    from inferonnx.plan.residency import choose_resident
    from inferonnx.plan.values import MemoryModel, Plan, PlannedPartition, Rates

__all__ = [
    "OVERHEAD_LIMIT",
    "LeastBudget",
    "MemoryModel",
    "Plan",
    "PlannedPartition",
    "Rates",
    "assess",
    "choose_resident",
    "least_budget",
    "operator_bytes",
    "operator_names",
    "parse_operator_overheads",
    "plan_optimal",
    "plan_paper",
]

_MODULES = {
    "OVERHEAD_LIMIT": "overheads",
    "LeastBudget": "least",
    "MemoryModel": "values",
    "PlannedPartition": "values",
    "Plan": "values",
    "Rates": "values",
    "assess": "figures",
    "choose_resident": "residency",
    "least_budget": "least",
    "operator_bytes": "needs",
    "operator_names": "overheads",
    "parse_operator_overheads": "overheads",
    "plan_optimal": "optimal",
    "plan_paper": "paper",
}


def __getattr__(name: str) -> object:
    """Load the module of a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    loaded: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = loaded
    return loaded
