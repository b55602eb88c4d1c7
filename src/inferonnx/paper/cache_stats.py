"""The later artifact's table 3: instructions per cycle of each model, or what stands for it."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from inferonnx.app.owner.samples import load_arrays
from inferonnx.errors import UsageError
from inferonnx.model.chain import choose_sample, file_sha256, read_original
from inferonnx.paper.artifact import EIGHT
from inferonnx.paper.models import DEFAULT_FOLDER, ensure_models
from inferonnx.runtime.files import read_file, translate
from inferonnx.runtime.whole_files import scratch_folder, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inferonnx.paper.counters import Counter, Counts

    Progress = Callable[[str], None]

TABLE = "table3.csv"
_WARM_RUNS = 1
"""In both processes: the first inference allocates what later ones use."""


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
    instructions: float
    cycles: float | None
    instructions_per_cycle: float | None
    cache_references: float
    cache_misses: float
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
        n_runs: Inferences to count; a simulator, whose counts repeat, counts one.
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
        UnavailableError: The counter fails.
    """
    path = os.path.join(folder, TABLE)
    began = time.monotonic()
    runs = 1 if counter.repeats else n_runs
    for name in names:
        known = {row.model: row for row in read_table(path)}
        model = ensure_models(zoo, [name], progress=say)[name]
        key = (counter.label, runs, file_sha256(model))
        row = known.get(name)
        if row is not None and (row.method, row.runs, row.model_sha256) == key:
            yield row, False
            continue
        if time.monotonic() - began > limit_s:
            continue
        counts = _counted(name, model, counter, runs, progress)
        row = _row(name, counts, runs=runs, method=counter.label, sha256=key[2])
        _write_table(path, known | {name: row})
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
    def number(name: str) -> float | None:
        return float(line[name]) if line[name] else None

    return CacheRow(
        model=line["model"],
        method=line["method"],
        runs=int(line["runs"]),
        instructions=float(line["instructions"]),
        cycles=number("cycles"),
        instructions_per_cycle=number("instructions_per_cycle"),
        cache_references=float(line["cache_references"]),
        cache_misses=float(line["cache_misses"]),
        miss_rate=float(line["miss_rate"]),
        model_sha256=line["model_sha256"],
    )


def _write_table(path: str, rows: dict[str, CacheRow]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    order = {name: i for i, name in enumerate(EIGHT)}
    for row in sorted(rows.values(), key=lambda row: order.get(row.model, len(order))):
        writer.writerow({k: "" if v is None else v for k, v in asdict(row).items()})
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    except OSError as error:
        raise translate(error, path, "making the folder of") from error
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


def _counted(name: str, model: str, counter: Counter, runs: int, progress: Progress) -> Counts:
    import numpy as np

    original = read_original(model)
    known = os.path.join(os.path.dirname(model), "test_data_set_0")
    sample = load_arrays(model, known)[0] if os.path.isdir(known) else None
    with scratch_folder() as scratch:
        path = os.path.join(scratch, "sample.npz")
        np.savez(path, **choose_sample(original, dims=None, sample=sample))

        def count(n: int, what: str) -> Counts:
            words = [sys.executable, "-P", "-m", "inferonnx.bench.counted"]
            command = [*words, os.path.abspath(model), path, str(n)]
            return counter.measure(command, lambda text: progress(f"{name}: {what}, {text}"))

        before = count(_WARM_RUNS, "loading and the first inference")
        return count(_WARM_RUNS + runs, f"{runs} more").less(before, runs)
