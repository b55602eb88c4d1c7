"""Operators of a model, timed in one process: paging is charged to the one that faults."""

from __future__ import annotations

import os
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.bench.stream import Worker
from inferonnx.epc import warm
from inferonnx.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.epc import Limit
    from inferonnx.model.chain import Chain

WARM_RUNS = 3
"""Not counted: pages that are needed again and again come back piece by piece."""

RUNS = 3

TRIES = 3
"""Under the limit the kernel kills now and then although there is swap (`bench.peers`)."""


class Spent(NamedTuple):
    """Median milliseconds of an operator, and its major faults; None where none were counted."""

    ms: float
    faults: float | None


def time_operators(
    chain: Chain,
    sample: str,
    limit: Limit,
    *,
    runs: int = RUNS,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[int, Spent]:
    """Return what operators took, by the first one of each link.

    Operators that can't be parted count for the first of them.

    Args:
        chain: One operator a link.
        sample: Inputs, an .npz file.
        limit: Where the process runs.
        runs: That count; medians are kept.
        progress: Told what happens.

    Raises:
        InferonnxError: Whatever the process met.
        UnavailableError: It was killed again and again.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            answers = _answers(chain, sample, limit, runs, progress)
            break
        except UnavailableError:
            if not tries_left or limit.limit_bytes is None:
                raise
    found = {}
    for i, link in enumerate(chain.links):
        seconds, faults = ([one[key][i] for one in answers] for key in ("seconds", "faults"))
        found[link.start] = Spent(median(seconds) * 1e3, median(faults))
    return found


def _answers(
    chain: Chain, sample: str, limit: Limit, runs: int, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    progress("loading")
    for file in chain.files:
        warm(os.path.join(chain.folder, file))
    found = []
    with Worker(
        spawn=limit.spawn,
        engine="chain",
        folder=os.path.abspath(chain.folder),
        samples=[sample],
        tells="links",
    ) as worker:
        for i in range(WARM_RUNS + runs):
            progress(f"run {i - WARM_RUNS + 1} of {runs}" if i >= WARM_RUNS else "warm-up")
            found.append(worker.ask(0)["links"])
    return found[WARM_RUNS:]
