"""What a model has done: counts and durations, in Triton's terms.

Pure: times are given, in nanoseconds. Latencies are kept in a histogram of fixed
size whose steps grow by a tenth, so that a percentile is right to 10 % and memory
does not grow with requests.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import Enum
from math import ceil
from typing import NamedTuple

FIRST_NS = 10_000
"""The first step of the histogram ends at 10 µs: no request is faster."""

STEP = 1.1
N_STEPS = 170
"""The last step ends at 1.1 ** 169 times 10 µs, 99 s: what takes longer is counted there too."""

_ENDS = tuple(round(FIRST_NS * STEP**i) for i in range(N_STEPS))

MAX_BATCH_SIZES = 64
"""Batch sizes that are counted apart; larger ones are counted as the largest."""


class Failure(Enum):
    """Why a request failed, as Triton's metrics label it."""

    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    BACKEND = "BACKEND"
    OTHER = "OTHER"


class Timing(NamedTuple):
    """Where the time of one request went, in nanoseconds; rows of the batch it was part of."""

    queue_ns: int
    input_ns: int
    infer_ns: int
    output_ns: int
    n_rows: int

    @property
    def total_ns(self) -> int:
        """Sum of all parts."""
        return self.queue_ns + self.input_ns + self.infer_ns + self.output_ns


class Tally:
    """A count and a sum of nanoseconds."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = 0
        self.ns = 0

    def add(self, ns: int, *, count: int = 1) -> None:
        """Count `count` more that took `ns` together."""
        self.count += count
        self.ns += ns


class BatchTally:
    """Runs of one batch size."""

    __slots__ = ("infer", "input", "output")

    def __init__(self) -> None:
        self.input, self.infer, self.output = Tally(), Tally(), Tally()


class ModelStatistics:
    """Counts of one version of a model, from the start of the server."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.success, self.fail, self.queue = Tally(), Tally(), Tally()
        self.input, self.infer, self.output = Tally(), Tally(), Tally()
        self.failures = dict.fromkeys(Failure, 0)
        self.n_inferences = 0
        self.n_executions = 0
        self.last_inference_ms = 0
        self.batches: dict[int, BatchTally] = {}
        self.streamed_bytes = 0
        self.n_pending = 0
        self._steps = [0] * N_STEPS

    def succeeded(self, timing: Timing, *, rows: int, now_ms: int) -> None:
        """Count a request of `rows` rows that was answered."""
        self.success.add(timing.total_ns)
        self.queue.add(timing.queue_ns)
        self.input.add(timing.input_ns)
        self.infer.add(timing.infer_ns)
        self.output.add(timing.output_ns)
        self.n_inferences += rows
        self.last_inference_ms = now_ms
        step = bisect_left(_ENDS, timing.total_ns)  # the first that does not end before
        self._steps[min(step, N_STEPS - 1)] += 1

    def failed(self, why: Failure, ns: int) -> None:
        """Count a request that was not answered after `ns`."""
        self.fail.add(ns)
        self.failures[why] += 1

    def executed(self, n_rows: int, timing: Timing, *, streamed_bytes: int) -> None:
        """Count a run of a batch."""
        self.n_executions += 1
        self.streamed_bytes += streamed_bytes
        tally = self.batches.setdefault(min(n_rows, MAX_BATCH_SIZES), BatchTally())
        tally.input.add(timing.input_ns)
        tally.infer.add(timing.infer_ns)
        tally.output.add(timing.output_ns)

    def histogram_ns(self) -> list[tuple[int, int]]:
        """Return where the steps end that are not empty, and how many requests each holds.

        The difference of two of them is the histogram of the time in between.
        """
        return [(_ENDS[step], n_here) for step, n_here in enumerate(self._steps) if n_here]

    def percentile_ns(self, share: float) -> int | None:
        """Return the latency that `share` of the answered requests kept to, None if none was."""
        total = sum(self._steps)
        if not total:
            return None
        wanted, seen = max(1, ceil(share * total - 1e-9)), 0  # 0.7 * 10 is 7.000000000000001
        for step, n_here in enumerate(self._steps):
            seen += n_here
            if seen >= wanted:
                return _ENDS[step]
        return _ENDS[-1]
