"""Measure a job: its configurations opened, warmed up and asked in turns.

Each is a process of its own.
A run that fails is a row with its error: the others are not lost with it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from inferonnx.epc import unlimited
from inferonnx.errors import InferonnxError
from inferonnx.paper.asking import BESIDE_BYTES, open_configuration
from inferonnx.paper.configurations import BY_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inferonnx.epc import Limit
    from inferonnx.paper.asking import Asked, Run
    from inferonnx.paper.configurations import Job
    from inferonnx.paper.material import Material

WARM_UP = 1
SETTLING = 10
"""Runs that do not count: the first of all; of those that are asked in turns some more, whose
libraries come back piece by piece."""

MORE_IN_TURNS = 5
"""As many times more runs where a ratio is what matters: they are short, and noise is not."""

PAUSE_S = 0.05
"""Between two runs, so that idle workers of the last engine have gone to sleep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model in one configuration, as results/paper.json has it.

    Attributes:
        model: Its name.
        configuration: By id.
        limit_bytes: The limit that was enforced; None where none was.
        label: What a figure must say of it.
        total_ms: At the client, each run.
        server_ms: From the first byte received to the last sent; None without a server.
        inference_ms: Within the engine.
        partition_ms: Of each partition: reading, opening and computing; None where not told.
        major_faults: Of each run.
        peak_bytes: Most that was resident of the process.
        streamed_bytes: Weights that an inference reads.
        cold: Whether the file was read from the disk.
        error: Why there are no figures; None where there are.
    """

    model: str
    configuration: str
    limit_bytes: int | None
    label: str
    total_ms: list[float]
    server_ms: list[float] | None
    inference_ms: list[float]
    partition_ms: list[list[float]] | None
    major_faults: list[int]
    peak_bytes: int
    streamed_bytes: int
    cold: bool
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as an object."""
        return asdict(self)


def measure(
    job: Job,
    material: Material,
    limit: Limit,
    folder: Path,
    *,
    n_runs: int,
    progress: Callable[[str], None],
) -> list[Row]:
    """Measure a job's configurations.

    Args:
        job: What.
        material: Its model.
        limit: For those configurations that are limited; one that is none where none can be.
        folder: For servers' files.
        n_runs: Counted runs.
        progress: Told what happens.

    Returns:
        A row each.
    """
    count = n_runs * (MORE_IN_TURNS if len(job.configurations) > 1 else 1)
    warm = SETTLING if len(job.configurations) > 1 else WARM_UP
    rows: list[Row] = []
    with ExitStack() as stack:
        opened: dict[str, Asked] = {}
        for name in job.configurations:
            progress(f"{material.name}: {name}: opening")
            try:
                opened[name] = stack.enter_context(_open(name, job, material, limit, folder))
            except InferonnxError as error:
                rows.append(_failed(name, job, limit, error))
        runs: dict[str, list[Run]] = {name: [] for name in opened}
        for i in range(warm + count):
            which = f"run {i - warm + 1} of {count}" if i >= warm else "warm-up"
            for name in _turned(list(opened), i):
                progress(f"{material.name}: {name}: {which}")
                time.sleep(PAUSE_S)
                try:
                    run = opened[name].run()
                except InferonnxError as error:
                    rows.append(_failed(name, job, limit, error))
                    del opened[name]
                    continue
                if i >= warm:
                    runs[name].append(run)
        rows += [_row(name, job, limit, opened[name], runs[name]) for name in opened]
    return sorted(rows, key=lambda row: job.configurations.index(row.configuration))


@contextmanager
def _open(name: str, job: Job, material: Material, limit: Limit, folder: Path) -> Iterator[Asked]:
    asked = open_configuration(
        BY_ID[name],
        material,
        limit if BY_ID[name].is_limited else unlimited(),
        folder / name,
        budget_bytes=job.limit_bytes - BESIDE_BYTES,
    )
    try:
        yield asked
    finally:
        asked.close()


def _turned(names: list[str], i: int) -> list[str]:
    """Return them, another one first each time."""
    turn = i % len(names) if names else 0
    return [*names[turn:], *names[:turn]]


def _row(name: str, job: Job, limit: Limit, asked: Asked, runs: list[Run]) -> Row:
    told = asked.told(len(runs))
    held = limit if BY_ID[name].is_limited else unlimited()
    return Row(
        model=job.model,
        configuration=name,
        limit_bytes=held.limit_bytes,
        label=held.label.value,
        total_ms=[round(run.total_ms, 3) for run in runs],
        server_ms=told.server_ms,
        inference_ms=[round(ms, 3) for ms in told.inference_ms],
        partition_ms=told.partition_ms,
        major_faults=[run.faults for run in runs],
        peak_bytes=asked.peak_bytes(),
        streamed_bytes=told.streamed_bytes,
        cold=BY_ID[name].is_cold,
    )


def _failed(name: str, job: Job, limit: Limit, error: InferonnxError) -> Row:
    held = limit if BY_ID[name].is_limited else unlimited()
    return Row(
        model=job.model,
        configuration=name,
        limit_bytes=held.limit_bytes,
        label=held.label.value,
        total_ms=[],
        server_ms=None,
        inference_ms=[],
        partition_ms=None,
        major_faults=[],
        peak_bytes=0,
        streamed_bytes=0,
        cold=BY_ID[name].is_cold,
        error=error.message,
    )
