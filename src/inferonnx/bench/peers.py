"""Other engines beside the sealed stream: the same models, the same run, the same limit.

tract is the paper's engine: whole and in partitions; kept in memory, loaded again from
disk on each inference as the paper's system does, and loaded from files that are
decrypted on each inference. Plain onnxruntime keeps the whole model in memory. Each
engine runs alone in a process of its own, one after another, since within an enforced
limit they would take memory from each other. What each of them reads has been read
from outside before, so that its page cache is the host's. Every answer must have
onnxruntime's category.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.bench.encrypted_files import encrypt_file
from inferonnx.bench.stream import Worker
from inferonnx.bench.tract_peer import STORAGES
from inferonnx.epc import warm
from inferonnx.errors import DifferenceError, InferonnxError, UnavailableError
from inferonnx.runtime.whole_files import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from inferonnx.bench.stream import Spawn

SCHEMA = "inferonnx.peers/1"
OURS = ("inferonnx", "stream", "disk-encrypted")
SETTLING = {"inferonnx": 3, "onnxruntime": 1, "tract": 0}
"""Inferences that do not count. Ours: pages of libraries come back piece by piece, and the
engine is warm then. tract: its worker has run once when it says that the model is loaded."""

TRIES = 2
"""Under a limit the kernel kills now and then although there is swap: its search for pages to
swap out gives up while a process thrashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """One engine on one model.

    Attributes:
        model: Name of the model.
        engine: "onnxruntime", "tract" or "inferonnx".
        form: "entire", "partitions" or "stream".
        storage: "memory", "disk" or "disk-encrypted": where the model is between inferences.
        n_files: Files that it is loaded from.
        latency_ms: Every measured inference, in order.
        peak_bytes: VmHWM, read from outside; None where it was not measured.
        floor_bytes: Resident before the model was loaded; None where it is not known.
        major_faults: Of each measured inference.
        error: Why there are no figures, in a sentence; None where there are.
    """

    model: str
    engine: str
    form: str
    storage: str
    n_files: int = 1
    latency_ms: tuple[float, ...] = ()
    peak_bytes: int | None = None
    floor_bytes: int | None = None
    major_faults: tuple[int, ...] = ()
    error: str | None = None


class Files(NamedTuple):
    """A model's files as tract loads them: paths, inputs and outputs of each, in order."""

    links: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    outputs: tuple[str, ...]


class Subject(NamedTuple):
    """What is measured of one model.

    Attributes:
        name: The model's.
        onnx: Its file.
        sealed: The same, sealed.
        samples: Inputs, .npz files.
        entire: The file for tract.
        partitions: The partitions for tract; a sentence where there are none.
    """

    name: str
    onnx: Path
    sealed: Path
    samples: tuple[str, ...]
    entire: Files
    partitions: Files | str


class _Engine(NamedTuple):
    """How one row is measured: its names, what its worker is told, what that reads."""

    row: PeerRow
    config: Mapping[str, object]
    reads: Sequence[str]


def bench_peers(
    subject: Subject,
    *,
    key: Path,
    memory: int,
    runs: int,
    work: Path,
    spawn: Spawn = subprocess.Popen,
    progress: Callable[[str], None],
) -> Iterator[PeerRow]:
    """Measure all engines on one model, a row each as it is done.

    Args:
        subject: The model.
        key: The owner's key file of the sealed one.
        memory: The budget of the sealed stream in bytes.
        runs: Measured inferences of each engine, after some that are not counted.
        work: Folder for the encrypted files, which are removed afterwards.
        spawn: Starts a process, within the limit if there is one.
        progress: Told what is being measured.

    Raises:
        InferonnxError: onnxruntime does not run the model without any limit.
    """
    progress(f"{subject.name}: onnxruntime's answers")
    categories = _categories(subject)
    with scratch_folder(str(work)) as scratch:
        for engine in _engines(subject, scratch, key=key, memory=memory):
            row = engine.row
            progress(f"{subject.name}: {row.engine}, {row.form}, {row.storage}")
            if row.error is None:
                row = _measured(engine, categories, runs=runs, spawn=spawn)
            yield row


def _engines(subject: Subject, scratch: str, *, key: Path, memory: int) -> Iterator[_Engine]:
    name, samples = subject.name, list(subject.samples)
    common: dict[str, object] = {"samples": samples, "tells": "largest"}
    sealed = {"engine": "stream", "model": str(subject.sealed), "key": str(key), "memory": memory}
    engine, form, storage = OURS
    row = PeerRow(model=name, engine=engine, form=form, storage=storage)
    yield _Engine(row, common | sealed, [str(subject.sealed)])
    row = PeerRow(model=name, engine="onnxruntime", form="entire", storage="memory")
    plain = {"engine": "plain", "model": str(subject.onnx)}
    yield _Engine(row, common | plain, [str(subject.onnx)])
    for form, files in (("entire", subject.entire), ("partitions", subject.partitions)):
        for storage in STORAGES:
            row = PeerRow(model=name, engine="tract", form=form, storage=storage)
            if isinstance(files, str):
                yield _Engine(replace(row, error=files), {}, ())
                continue
            row = replace(row, n_files=len(files.links))
            try:
                described, reads = _described(files, scratch, f"{form}-{storage}", storage)
            except InferonnxError as error:  # no room for the encrypted files, say
                yield _Engine(replace(row, error=error.message), {}, ())
                continue
            tract = {"engine": "tract", "storage": storage, **described}
            yield _Engine(row, common | tract, reads)


def _described(
    files: Files, scratch: str, name: str, storage: str
) -> tuple[dict[str, str], list[str]]:
    """Write what tract's worker is told of its files, encrypted first where they shall be."""
    from inferonnx.crypto import AES_256_GCM, Secret

    links, told = list(files.links), {"links": os.path.join(scratch, f"{name}.json")}
    if storage == "disk-encrypted":
        told["key"] = os.path.join(scratch, f"{name}.key")
        content = os.urandom(AES_256_GCM.key_bytes)
        with open(os.open(told["key"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        for i, (path, inputs, outputs) in enumerate(links):
            target = os.path.join(scratch, f"{name}-{i}.aes")
            encrypt_file(path, target, Secret(content))
            links[i] = target, inputs, outputs
    described = {
        "links": [dict(zip(("path", "inputs", "outputs"), link, strict=True)) for link in links],
        "outputs": files.outputs,
    }
    with open(told["links"], "w", encoding="utf-8") as file:
        json.dump(described, file)
    return told, [path for path, _, _ in links]


def _categories(subject: Subject) -> list[int | None]:
    """Return the largest output of plain onnxruntime for each sample, without any limit."""
    samples, model = list(subject.samples), str(subject.onnx)
    with Worker(engine="plain", model=model, samples=samples, tells="largest") as worker:
        return [worker.ask(i)["largest"] for i in range(len(samples))]


def _measured(
    engine: _Engine, categories: Sequence[int | None], *, runs: int, spawn: Spawn
) -> PeerRow:
    row = engine.row
    for _ in range(TRIES):
        try:
            for path in engine.reads:
                warm(path)
            return _run(engine, categories, runs=runs, spawn=spawn)
        except UnavailableError as error:
            row = replace(row, error=error.message)
        except InferonnxError as error:  # the other engines are measured all the same
            return replace(row, error=error.message)
    return row


def _run(engine: _Engine, categories: Sequence[int | None], *, runs: int, spawn: Spawn) -> PeerRow:
    latency_ms, faults = [], []
    settling = SETTLING[engine.row.engine]
    with Worker(spawn=spawn, **engine.config) as worker:
        for i in range(settling + runs):
            before = worker.major_faults()
            answer = worker.ask(i)
            latency_ms.append(round(float(answer["ms"]), 3))
            faults.append(worker.major_faults() - before)
            _check(answer["largest"], categories[i % len(categories)])
        return replace(
            engine.row,
            latency_ms=tuple(latency_ms[settling:]),
            major_faults=tuple(faults[settling:]),
            peak_bytes=worker.peak_bytes(),
            floor_bytes=worker.facts.get("floor_bytes"),
        )


def _check(category: int | None, expected: int | None) -> None:
    if category != expected:
        raise DifferenceError(f"its category is {category}, and onnxruntime's is {expected}")


def ratios(rows: Sequence[PeerRow]) -> list[float | None]:
    """Return each row's median latency against the sealed stream's of the same model."""
    ours = {
        row.model: median(row.latency_ms)
        for row in rows
        if (row.engine, row.form, row.storage) == OURS and row.latency_ms
    }
    return [
        median(row.latency_ms) / ours[row.model] if row.latency_ms and row.model in ours else None
        for row in rows
    ]


def as_json(facts: Mapping[str, Any], rows: Sequence[PeerRow]) -> str:
    """Return the report as one JSON object, every inference kept.

    Args:
        facts: Machine, label and limits: what the rows were measured under.
        rows: As they came.
    """
    report = {"schema": SCHEMA, **facts, "rows": [asdict(row) for row in rows]}
    return json.dumps(report, indent=1)


def kept_rows(text: str, facts: Mapping[str, Any], without: Sequence[str]) -> list[PeerRow]:
    """Return the rows of an earlier report that go on standing beside new ones.

    Args:
        text: The report.
        facts: Those of the new one; where any differs, the old one is of no use.
        without: Models that are measured anew.
    """
    try:
        report = json.loads(text)
        if {**facts, "schema": SCHEMA} != {k: v for k, v in report.items() if k != "rows"}:
            return []
        rows = [
            PeerRow(
                **row
                | {
                    "latency_ms": tuple(row["latency_ms"]),
                    "major_faults": tuple(row["major_faults"]),
                }
            )
            for row in report["rows"]
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []  # no report of ours: it is replaced, as any report is
    return [row for row in rows if row.model not in without]
