"""`run-all`: everything of the paper's evaluation, measured, from models to figures.

1. Models are built, partitions made, both sealed, where they are missing or not current.
2. Jobs are measured: those without a limit, then those of each limit together, since one
   limit is set up at a time. Rows are kept as they come; an interrupt loses the job
   under way and no other.
3. Results, table and figures are written when all is there.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.bench.limiting import limited
from inferonnx.bench.machine import machine_facts
from inferonnx.epc import fault_cost, label, obstacle
from inferonnx.errors import UsageError
from inferonnx.model.chain import INDEX, load_chain
from inferonnx.paper.artifact import EIGHT, OVERHEAD_FOLDER
from inferonnx.paper.configurations import BY_ID, DEFAULT_LIMIT_BYTES, Form, jobs
from inferonnx.paper.forecast import Forecast, guess_s, in_words
from inferonnx.paper.material import make_material, unsealed_script
from inferonnx.paper.measuring import measure
from inferonnx.paper.memory_intensive import determine
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.paper.partitions import folder_name, make_partitions
from inferonnx.paper.reporting import redraw
from inferonnx.paper.results import fault_facts, paper_results, write_json, write_text
from inferonnx.paper.rows import Kept, RowBook, stamp_of
from inferonnx.paper.table2 import table2
from inferonnx.report import check_drawing
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.epc import Limit
    from inferonnx.paper.configurations import Job
    from inferonnx.paper.material import Material
    from inferonnx.paper.measuring import Row

    Progress = Callable[[str], None]

TRIES = 3

WORK = "work"
ROWS = "rows.jsonl"
FAULT = "fault.json"
RESULTS = "paper.json"
TABLE = "table2.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured.

    Attributes:
        partitions: Name of the folder of partitions in each model's folder.
        n_runs: Counted runs of each configuration.
        names: Models.
        zoo: Folder of the models.
        results: Folder of the results.
        limit_bytes: The limit that is enforced.
        allow_system_changes: Whether swap and its settings may be changed meanwhile.
        overheads: Folder of operators' times, and of the list of those that stand alone.
    """

    partitions: str
    n_runs: int
    names: tuple[str, ...] = EIGHT
    zoo: str = DEFAULT_FOLDER
    results: str = "results"
    limit_bytes: int = DEFAULT_LIMIT_BYTES
    allow_system_changes: bool = False
    overheads: str = OVERHEAD_FOLDER

    def __post_init__(self) -> None:
        """Refuse what can't be measured.

        Raises:
            UsageError: No runs, or no name of a folder.
        """
        folder_name(self.partitions)
        if self.n_runs < 1:
            raise UsageError("at least one run has to count", hint="For example 3.")


def run_all(plan: Plan, *, say: Progress, progress: Progress) -> dict[str, Any]:
    """Measure everything that is not there yet; write results and table.

    Args:
        plan: What.
        say: Told what a person should know, once.
        progress: Told what is being done.

    Returns:
        What `results/paper.json` holds.

    Raises:
        UnavailableError: There is no matplotlib to draw figures with; nothing was measured.
        InferonnxError: A model or its partitions are not what they should be; what was
            measured so far is kept.
    """
    # What is refused is refused before anything takes minutes.
    unsealed_script("serve.py")
    check_drawing()
    results = Path(plan.results)
    work = results / WORK
    work.mkdir(parents=True, exist_ok=True)
    book = RowBook(work / ROWS)
    started, start = datetime.now(UTC), time.monotonic()
    materials = _materials(plan, work, say=say, progress=progress)
    run = _Run(plan, work, book, materials, say=say, progress=progress)
    rows = run.rows()
    found = paper_results(
        rows,
        label=run.label,
        limit_bytes=run.limit_bytes,
        n_runs=plan.n_runs,
        partitions_folder=folder_name(plan.partitions),
        fault=run.fault,
        started=started.isoformat(timespec="seconds"),
        seconds=time.monotonic() - start,
    )
    write_json(results / RESULTS, found)
    write_text(results / TABLE, table2(rows, plan.names))
    written = [str(results / name) for name in (RESULTS, TABLE)]
    written += redraw(str(results / RESULTS))
    written += _operator_times(plan, run.limit_bytes, say=say, progress=progress)
    for path in written:
        say(f"wrote {path}")
    return found


def _operator_times(
    plan: Plan, limit_bytes: int | None, *, say: Progress, progress: Progress
) -> list[str]:
    """Time all operators outside and inside the limit, where that is not done; return the files."""
    with limited(
        limit_bytes,
        allow_system_changes=plan.allow_system_changes,
        progress=progress,
        say=say,
    ) as limit:
        timed = determine(
            plan.names,
            limit=limit,
            limit_bytes=limit_bytes,
            zoo=plan.zoo,
            overheads=plan.overheads,
            say=say,
            progress=progress,
        )
        return [one.path for one in timed if one.is_new]


def _materials(plan: Plan, work: Path, *, say: Progress, progress: Progress) -> dict[str, Material]:
    models = ensure_models(plan.zoo, plan.names, progress=say)
    found = {}
    for i, (name, path) in enumerate(models.items()):

        def told(text: str, head: str = f"model {i + 1} of {len(models)}") -> None:
            progress(f"{head}: {text}")

        folder = _partitions(plan, name, path, say=say, progress=told)
        found[name] = make_material(name, Path(path), folder, work, progress=told)
    return found


def _partitions(plan: Plan, name: str, path: str, *, say: Progress, progress: Progress) -> Path:
    """Return a model's folder of partitions; made where it is missing, else as it is.

    Raises:
        UsageError: They are another model's.
    """
    folder = Path(path).parent / folder_name(plan.partitions)
    if (folder / INDEX).exists():
        load_chain(str(folder), model_path=path)
        return folder
    progress(f"{name}: partitions")
    made = make_partitions(name, path, folder.name, overheads=plan.overheads, progress=progress)
    say(f"{name}: {len(made.chain.links)} partitions made in {folder}")
    return folder


class _Run:
    """The measurements of one run.

    Attributes:
        limit_bytes: The limit that is enforced; None where none can be.
        label: What figures must say.
        fault: What a page fault costs.
    """

    def __init__(
        self,
        plan: Plan,
        work: Path,
        book: RowBook,
        materials: Mapping[str, Material],
        *,
        say: Progress,
        progress: Progress,
    ) -> None:
        self._plan, self._work, self._book, self._materials = plan, work, book, materials
        self._say, self._progress = say, progress
        reason = obstacle(allow_system_changes=plan.allow_system_changes)
        if reason is not None:
            say(f"no memory limit is enforced: {reason.message}. {reason.hint}")
        self.limit_bytes = None if reason is not None else plan.limit_bytes
        self.label = label(self.limit_bytes).value
        self.fault = fault_facts(None)
        self._machine = machine_facts()

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of all jobs; what is not there from an earlier run is measured."""
        wanted = jobs(self._plan.names, self._plan.limit_bytes)
        if self.limit_bytes is None:  # a second limit would be the same again
            wanted = [job for job in wanted if job.limit_bytes == self._plan.limit_bytes]
        missing = [job for job in wanted if self._book.find(job, self._stamp(job)) is None]
        if len(missing) < len(wanted):
            self._say(f"{len(wanted) - len(missing)} of {len(wanted)} jobs are measured already")
        forecast = self._forecast(missing)
        limits = [None, *sorted({self._limit_of(job) or 0 for job in wanted} - {0}, reverse=True)]
        for limit_bytes in limits:
            within = [job for job in missing if self._limit_of(job) == limit_bytes]
            if within or self._needs_fault(limit_bytes):
                self._measure(limit_bytes, within, forecast)
        self._read_fault()
        models = list(self._plan.names)
        wanted.sort(key=lambda job: models.index(job.model))
        return [row for job in wanted for row in self._book.last(job).rows]

    def _limit_of(self, job: Job) -> int | None:
        """Return the limit that a job is measured inside; None for none."""
        return job.limit_bytes if job.is_limited and self.limit_bytes is not None else None

    def _stamp(self, job: Job) -> str:
        """Return what changes with all that a job's figures depend on."""
        material = self._materials[job.model]
        configurations = [BY_ID[name] for name in job.configurations]
        return stamp_of(
            [repr(one) for one in configurations],
            sorted({material.stamp(one.form) for one in configurations}),
            self._limit_of(job),
            self._plan.n_runs,
            self._machine,
        )

    def _forecast(self, missing: list[Job]) -> Forecast:
        sizes = {name: one.sealed[Form.ENTIRE].stat().st_size for name, one in self._items()}
        n_runs = self._plan.n_runs
        guesses = {job: guess_s(job, sizes[job.model], n_runs) for job in missing}
        return Forecast(missing, known_s=self._book.seconds, guessed_s=guesses)

    def _items(self) -> list[tuple[str, Material]]:
        return list(self._materials.items())

    def _measure(self, limit_bytes: int | None, within: list[Job], forecast: Forecast) -> None:
        """Measure those jobs inside one limit, or without."""
        with limited(
            limit_bytes,
            allow_system_changes=self._plan.allow_system_changes,
            progress=self._progress,
            say=self._say,
        ) as limit:
            for job in within:
                start = time.monotonic()
                rows = self._tried(job, limit, self._telling(forecast))
                seconds = time.monotonic() - start
                forecast.done(job, seconds)
                kept = [row.as_json() for row in rows]
                self._book.keep(job, Kept(self._stamp(job), seconds, kept))
                for row in rows:
                    self._say(told_row(row))
            if self._needs_fault(limit_bytes):
                self._progress("what a page fault costs here")
                cost = fault_facts(fault_cost(limit))
                write_text(self._work / FAULT, json.dumps([self._fault_stamp(), cost]))

    def _tried(self, job: Job, limit: Limit, progress: Progress) -> list[Row]:
        """Return a job's rows; it is tried again where the kernel killed what is limited.

        It does so now and then although there is swap, when pages come back faster than
        others go.
        """
        for tries_left in reversed(range(TRIES if job.is_limited else 1)):
            rows = measure(
                job,
                self._materials[job.model],
                limit,
                self._work / "servers",
                n_runs=self._plan.n_runs,
                progress=progress,
            )
            if not tries_left or not any(row.error for row in rows):
                break
        return rows

    def _telling(self, forecast: Forecast) -> Progress:
        def tell(text: str) -> None:
            left = f"{forecast.n_left} left, about {in_words(forecast.left_s())}"
            self._progress(f"{text} ({left})")

        return tell

    def _fault_stamp(self) -> str:
        return stamp_of(self.limit_bytes, self._machine)

    def _needs_fault(self, limit_bytes: int | None) -> bool:
        """Tell whether the cost of a fault is to be measured inside this limit."""
        return limit_bytes == self.limit_bytes is not None and self._known_fault() is None

    def _known_fault(self) -> dict[str, Any] | None:
        path = self._work / FAULT
        if not path.exists():
            return None
        stamp, cost = json.loads(path.read_bytes())
        return dict(cost) if stamp == self._fault_stamp() else None

    def _read_fault(self) -> None:
        self.fault = self._known_fault() or self.fault


def told_row(row: Row) -> str:
    """Return a row in a line."""
    limit = "" if row.limit_bytes is None else f" in {format_size(row.limit_bytes)}"
    head = f"{row.model}: {row.configuration}{limit}:"
    if row.error is not None:
        return f"{head} {row.error}"
    faults = f", {round(median(row.major_faults))} major faults" if row.limit_bytes else ""
    return f"{head} {median(row.total_ms):.1f} ms{faults}"
