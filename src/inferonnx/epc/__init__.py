"""An enclave page cache that the kernel enforces: a memory limit with swap behind it."""

from inferonnx.epc.copies import drop, warm
from inferonnx.epc.enforcing import SWAP_BYTES, cleanup, enforce
from inferonnx.epc.faults import (
    PUBLISHED_SGX_FAULT_CYCLES,
    PUBLISHED_SGX_FAULT_SOURCE,
    FaultCost,
    fault_cost,
    major_faults,
)
from inferonnx.epc.labels import Label, label
from inferonnx.epc.limit import Limit, Usage, unlimited
from inferonnx.epc.obstacles import obstacle
from inferonnx.epc.status import cpu_mhz, describe

__all__ = [
    "PUBLISHED_SGX_FAULT_CYCLES",
    "PUBLISHED_SGX_FAULT_SOURCE",
    "SWAP_BYTES",
    "FaultCost",
    "Label",
    "Limit",
    "Usage",
    "cleanup",
    "cpu_mhz",
    "describe",
    "drop",
    "enforce",
    "fault_cost",
    "label",
    "major_faults",
    "obstacle",
    "unlimited",
    "warm",
]
