"""An enclave page cache that the kernel enforces: a memory limit with swap behind it."""

from inferonnx.epc.copies import drop, warm
from inferonnx.epc.faults import (
    PUBLISHED_SGX_FAULT_CYCLES,
    PUBLISHED_SGX_FAULT_SOURCE,
    FaultCost,
    fault_cost,
    major_faults,
)
from inferonnx.epc.labels import Label, label
from inferonnx.epc.limit import Limit, Usage, cleanup, enforce, obstacle, unlimited

__all__ = [
    "PUBLISHED_SGX_FAULT_CYCLES",
    "PUBLISHED_SGX_FAULT_SOURCE",
    "FaultCost",
    "Label",
    "Limit",
    "Usage",
    "cleanup",
    "drop",
    "enforce",
    "fault_cost",
    "label",
    "major_faults",
    "obstacle",
    "unlimited",
    "warm",
]
