"""Runs inside the limit: touches more memory than it has, and times what faults.

`python -m inferonnx.epc.touching LIMIT_BYTES` prints a JSON object. The pages hold random
bytes, as weights do: nothing that swap could compress well.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import sys
import time
from statistics import fmean, median

_TIMES_LIMIT = 2
_ENOUGH = 20_000
_PAGE = mmap.PAGESIZE
_BLOCK = 1 << 20


def main() -> int:
    """Measure and print."""
    n_pages = _TIMES_LIMIT * int(sys.argv[1]) // _PAGE
    memory = mmap.mmap(-1, n_pages * _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, n_pages * _PAGE, _BLOCK):
        size = min(_BLOCK, n_pages * _PAGE - start)
        memory[start : start + size] = os.urandom(size)
    order = list(range(n_pages))
    random.Random(1).shuffle(order)  # noqa: S311 - an order, no secret
    faulting, resident = _touch(memory, order)
    own_ns = median(resident) if resident else 0.0  # of the clock and of Python
    spent = [ns - own_ns for ns in faulting]
    found = {
        "median_ns": median(spent) if spent else 0.0,
        "mean_ns": fmean(spent) if spent else 0.0,
        "n_faults": len(spent),
    }
    print(json.dumps(found))  # noqa: T201 - its only reader is the parent
    return 0


def _touch(memory: mmap.mmap, order: list[int]) -> tuple[list[int], list[int]]:
    """Return the nanoseconds of touches that faulted once, and of those that did not."""
    faulting: list[int] = []
    resident: list[int] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    for page in order:
        start = time.perf_counter_ns()
        memory[page * _PAGE]
        spent = time.perf_counter_ns() - start
        now = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        if now == before:
            resident.append(spent)
        elif now == before + 1:
            faulting.append(spent)
        before = now
        if len(faulting) == _ENOUGH:
            break
    return faulting, resident


if __name__ == "__main__":
    sys.exit(main())
