"""The later artifact's table 3: instructions per cycle of each model, or what stands for it."""

from __future__ import annotations

import csv
import errno
import io
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.app.owner.samples import load_arrays
from inferonnx.errors import UsageError
from inferonnx.model.chain import choose_sample, file_sha256, read_original
from inferonnx.paper.artifact import EIGHT
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.runtime.files import read_file, translate
from inferonnx.runtime.process import cores
from inferonnx.runtime.whole_files import scratch_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inferonnx.paper.counters import Counter, Counts

    Progress = Callable[[str], None]

TABLE = "table3.csv"
_POLL_S = 0.5


class _Stopped(Exception):  # noqa: N818 - no error: nobody waits for these counts any more
    """Raised where a model is being counted, to end it."""


class _Model(NamedTuple):
    name: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """One model; the figures are of one inference.

    Attributes:
        model: Its name.
        method: Who counted.
        runs: Inferences that were counted.
        instructions: Of user space.
        cycles: None where nobody counts them.
        instructions_per_cycle: None without cycles.
        cache_references: Of the last cache.
        cache_misses: Of the last cache.
        miss_rate: Misses a reference.
        model_sha256: Of the ONNX file.
    """

    model: str
    method: str
    runs: int
    instructions: int
    cycles: int | None
    instructions_per_cycle: float | None
    cache_references: int
    cache_misses: int
    miss_rate: float
    model_sha256: str


_COLUMNS = tuple(field.name for field in fields(CacheRow))


def cache_stats(
    names: Sequence[str] = EIGHT,
    n_runs: int = 1,
    *,
    counter: Counter,
    folder: str,
    zoo: str = DEFAULT_FOLDER,
    limit_s: float = float("inf"),
    say: Progress = lambda _: None,
    progress: Progress = lambda _: None,
) -> Iterator[tuple[CacheRow, bool]]:
    """Count models one after another, and keep the table after each.

    Args:
        names: Models of the zoo; missing ones are built.
        n_runs: Inferences to count; a simulator, whose counts repeat, counts one of each
            model, and as many models at once as there are cores.
        counter: Who counts.
        folder: Of the table. What it has of the same model, runs and method stays.
        zoo: Folder of the models.
        limit_s: No model is begun after so many seconds.
        say: Told what is made because it was missing.
        progress: Told what is being counted.

    Yields:
        A row, and whether it was counted now.

    Raises:
        UsageError: The table is none of ours.
        UnavailableError: The counter fails, or the folder can't be written.
    """
    path = os.path.join(folder, TABLE)
    runs = 1 if counter.repeats else n_runs
    models = []
    known = {row.model: row for row in read_table(path)}
    for name in names:
        model = ensure_models(zoo, [name], progress=say)[name]
        one, row = _Model(name, model, file_sha256(model)), known.get(name)
        key = (counter.label, runs, one.sha256)
        if row is not None and (row.method, row.runs, row.model_sha256) == key:
            yield row, False
        else:
            models.append(one)
    if models:
        _check_writable(folder)
    for one, counts in _counted(models, counter, runs, limit_s, progress):
        row = _row(one.name, counts, runs=runs, method=counter.label, sha256=one.sha256)
        _write_table(path, {row.model: row for row in read_table(path)} | {one.name: row})
        yield row, True


def read_table(path: str) -> list[CacheRow]:
    """Return the rows of a table, none where there is none.

    Raises:
        UsageError: It is a file of another kind.
    """
    if not os.path.lexists(path):
        return []
    reader = csv.DictReader(io.StringIO(read_file(path).decode("utf-8", "replace")))
    try:
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise ValueError("other columns")
        return [_parsed(line) for line in reader]
    except (ValueError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{path!r} is no table of this command",
            hint="Move it elsewhere; nothing was changed.",
        ) from error


def _parsed(line: dict[str, str]) -> CacheRow:
    per_cycle = line["instructions_per_cycle"]
    return CacheRow(
        model=line["model"],
        method=line["method"],
        runs=int(line["runs"]),
        instructions=int(line["instructions"]),
        cycles=int(line["cycles"]) if line["cycles"] else None,
        instructions_per_cycle=float(per_cycle) if per_cycle else None,
        cache_references=int(line["cache_references"]),
        cache_misses=int(line["cache_misses"]),
        miss_rate=float(line["miss_rate"]),
        model_sha256=line["model_sha256"],
    )


def _check_writable(folder: str) -> None:
    """Make the table's folder, so that no count is lost for want of a place."""
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise translate(error, folder, "writing to the folder") from error


def _write_table(path: str, rows: dict[str, CacheRow]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    order = {name: i for i, name in enumerate(EIGHT)}
    for row in sorted(rows.values(), key=lambda row: order.get(row.model, len(order))):
        writer.writerow({k: "" if v is None else v for k, v in asdict(row).items()})
    with whole_file(path) as file:
        file.write(text.getvalue().encode())


def _row(name: str, counts: Counts, *, runs: int, method: str, sha256: str) -> CacheRow:
    per_cycle = None if not counts.cycles else counts.instructions / counts.cycles
    return CacheRow(
        model=name,
        method=method,
        runs=runs,
        instructions=round(counts.instructions),
        cycles=None if counts.cycles is None else round(counts.cycles),
        instructions_per_cycle=None if per_cycle is None else round(per_cycle, 4),
        cache_references=round(counts.references),
        cache_misses=round(counts.misses),
        miss_rate=round(counts.misses / max(counts.references, 1), 4),
        model_sha256=sha256,
    )


def _counted(
    models: Sequence[_Model], counter: Counter, runs: int, limit_s: float, progress: Progress
) -> Iterator[tuple[_Model, Counts]]:
    """Count models, one on each core where counts do not depend on what runs beside them."""
    began, waiting, n_at_once = time.monotonic(), list(models), cores() if counter.repeats else 1
    running: dict[Future[Counts], _Model] = {}
    told: dict[str, str] = {}
    stopped = Event()

    def count(name: str, path: str) -> Counts:
        def tell(text: str) -> None:
            if stopped.is_set():
                raise _Stopped
            told[name] = f"{name}: {text}"

        try:
            return _count(path, counter, runs, tell)
        finally:
            told.pop(name, None)

    with ThreadPoolExecutor(n_at_once) as pool:
        try:
            while True:
                while waiting and len(running) < n_at_once and time.monotonic() - began <= limit_s:
                    one = waiting.pop(0)
                    running[pool.submit(count, one.name, one.path)] = one
                if not running:
                    return
                done, _ = wait(running, _POLL_S, FIRST_COMPLETED)
                progress("; ".join(list(told.values())))
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            stopped.set()


def _count(path: str, counter: Counter, runs: int, tell: Progress) -> Counts:
    import numpy as np

    original = read_original(path)
    known = os.path.join(os.path.dirname(path), "test_data_set_0")
    sample = load_arrays(path, known)[0] if os.path.isdir(known) else None
    with scratch_folder() as scratch:
        file = os.path.join(scratch, "sample.npz")
        np.savez(file, **choose_sample(original, dims=None, sample=sample))
        words = [sys.executable, "-P", "-m", "inferonnx.bench.counted"]
        return counter.measure([*words, os.path.abspath(path), file], runs, tell)
