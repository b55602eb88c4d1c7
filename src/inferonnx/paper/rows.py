"""Rows that were measured, kept one by one: an interrupted run goes on behind the last.

A job's rows are kept with a stamp of what they depend on: files, limit, number of runs,
machine, versions. What is there with the same stamp is not measured again. The file has
a line a job, appended when the job is done; the last line of a job counts.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from inferonnx.paper.configurations import Job

SCHEMA = "inferonnx.paper-rows/1"


class Kept(NamedTuple):
    """What was measured of a job.

    Attributes:
        stamp: Of what it depends on.
        seconds: What it took.
        rows: As results/paper.json has them.
    """

    stamp: str
    seconds: float
    rows: list[dict[str, Any]]


class RowBook:
    """The rows of all jobs in a file."""

    def __init__(self, path: Path) -> None:
        """Read what is there; half a line at its end is what a kill left.

        Raises:
            UsageError: The file is something else.
        """
        self._path = path
        self._kept: dict[str, Kept] = {}
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for number, line in enumerate(lines):
            try:
                found = json.loads(line)
                if found["schema"] != SCHEMA:
                    raise ValueError("another schema")
                self._kept[found["job"]] = Kept(found["stamp"], found["seconds"], found["rows"])
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines) - 1 and not line.endswith(b"\n"):
                    path.write_bytes(b"".join(lines[:-1]))
                    break
                raise UsageError(
                    f"{str(path)!r} has a line that is none of a measurement",
                    where=f"line {number + 1}",
                    hint="Move the file away: everything is measured again then.",
                ) from error

    def find(self, job: Job, stamp: str) -> Kept | None:
        """Return what was measured of a job, if nothing that it depends on has changed.

        A row that failed is tried again.
        """
        kept = self._kept.get(_name(job))
        if kept is None or kept.stamp != stamp or any(row["error"] for row in kept.rows):
            return None
        return kept

    def last(self, job: Job) -> Kept:
        """Return what was measured last, failures included.

        Raises:
            KeyError: Nothing was.
        """
        return self._kept[_name(job)]

    def seconds(self, job: Job) -> float | None:
        """Return what a job took when it was last measured, whatever has changed since."""
        kept = self._kept.get(_name(job))
        return None if kept is None else kept.seconds

    def keep(self, job: Job, kept: Kept) -> None:
        """Add what was measured of a job."""
        line = {"schema": SCHEMA, "job": _name(job), **kept._asdict()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._kept[_name(job)] = kept


def stamp_of(*facts: object) -> str:
    """Return the stamp of what can be written as JSON."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _name(job: Job) -> str:
    return f"{job.model} {'+'.join(job.configurations)} {job.limit_bytes}"
