"""Page faults: counted for a process, priced for this machine, beside what SGX pays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.errors import UnavailableError
from inferonnx.runtime import children

if TYPE_CHECKING:
    from inferonnx.epc.limit import Limit

PUBLISHED_SGX_FAULT_CYCLES = 40_000
"""Cycles of an EPC page swap."""

PUBLISHED_SGX_FAULT_SOURCE = "Taassori, Shafiee, Balasubramonian: VAULT, ASPLOS 2018"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultCost:
    """What a page that was paged out costs here.

    Attributes:
        median_ns: Of one swap-in fault.
        mean_ns: Likewise; it holds its share of the pages that were written out for it.
        n_faults: How many were timed.
        swap: What is behind the limit.
    """

    median_ns: float
    mean_ns: float
    n_faults: int
    swap: str


def major_faults(pid: int) -> int:
    """Return the major faults of a process with all its threads and children, ended ones too."""
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        try:
            with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/children", encoding="ascii") as file:
                    waiting += map(int, file.read().split())
        except OSError:  # it has ended; its parent counts it
            continue
        total += int(fields[9]) + int(fields[10])
    return total


def fault_cost(limit: Limit) -> FaultCost:
    """Measure a swap-in fault in a child inside the limit; it takes seconds.

    Raises:
        UnavailableError: No limit is enforced, or the child ended without an answer.
    """
    if limit.limit_bytes is None:
        raise UnavailableError(
            "without a limit nothing is paged out", hint="Run it as root, or see epc status."
        )
    words = [sys.executable, "-P", "-m", "inferonnx.epc.touching", str(limit.limit_bytes)]
    with limit.spawn(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        answer = process.stdout.read() if process.stdout else b""
        code = process.wait()
    if code != 0 or not answer:
        raise children.ended("the process that measures a fault", code)
    found = json.loads(answer)
    return FaultCost(swap=limit.swap, **found)
