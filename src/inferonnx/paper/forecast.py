"""How long what is left will take: what it took before, else a guess that learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.paper.configurations import BY_ID, Form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferonnx.paper.configurations import Job

OPENING_S = 2.0
"""To start a process and warm it up."""

RUN_S = 0.2
PAGED_S_PER_GB = 10.0
READ_S_PER_GB = 1.0
"""An inference of an entire model inside the limit, and of any other: by the size of the model."""


def guess_s(job: Job, model_bytes: int, n_runs: int) -> float:
    """Return what a job may take on two cores."""
    seconds = 0.0
    for name in job.configurations:
        one = BY_ID[name]
        is_paged = one.is_limited and one.form is Form.ENTIRE
        a_gb = PAGED_S_PER_GB if is_paged else READ_S_PER_GB
        seconds += OPENING_S + n_runs * (RUN_S + a_gb * model_bytes / 1e9)
    return seconds


class Forecast:
    """Tells how much is left after each job."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        known_s: Callable[[Job], float | None],
        guessed_s: Mapping[Job, float],
    ) -> None:
        """Expect these jobs.

        Args:
            jobs: Those that are to be measured.
            known_s: What a job took the last time; None where it never ran.
            guessed_s: A guess for each.
        """
        self._known_s, self._guessed_s = known_s, guessed_s
        self._left = list(jobs)
        self._spent_s = self._guessed_of_spent_s = 0.0

    def done(self, job: Job, seconds: float) -> None:
        """Learn what a job took."""
        self._left.remove(job)
        self._spent_s += seconds
        self._guessed_of_spent_s += self._guessed_s[job]

    @property
    def n_left(self) -> int:
        """Jobs that are left."""
        return len(self._left)

    def left_s(self) -> float:
        """Return the seconds that are left."""
        factor = self._spent_s / self._guessed_of_spent_s if self._guessed_of_spent_s else 1.0
        return sum(self._known_s(job) or self._guessed_s[job] * factor for job in self._left)


def in_words(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
