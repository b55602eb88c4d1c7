"""Sealed stream against plain onnxruntime: interleaved, each in its own process.

Every round gives every engine a turn, in an order drawn anew, so that the noise of a
shared machine meets all of them; figures are medians, ratios are medians of the
ratios within a round. A turn is two runs on different samples, of which the second
counts: the first finds cores that idled and caches that other engines filled. It is
kept too, since a caller who comes now and then sees it. Peaks are read from outside the
processes. Beside each figure stands the physical limit that the same run measured:

    (CPU seconds of the all-resident engine, spinning off
     + bytes streamed / rate of reading and opening on one core) / cores
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.bench.machine import machine_facts
from inferonnx.epc import major_faults
from inferonnx.errors import EngineError, InferonnxError
from inferonnx.runtime import children

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    Spawn = Callable[..., subprocess.Popen[str]]

PAUSE_S = 0.05
"""Between two runs, so that idle workers of the last engine have gone to sleep."""

SHORT_MS = 25.0
"""Below this a run is short, and takes more rounds to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBench:
    """One engine on one model.

    Attributes:
        model: Name of the model.
        suite: AEAD suite; "" for plain onnxruntime.
        memory_bytes: Budget; None where everything stays resident.
        page_drop: Whether clean pages of libraries were dropped.
        calls: Calls at once; latencies are then those of all of them together.
        latency_ms: Every measured run, in order.
        idle_latency_ms: The run before each of them, after the others' turns.
        ratio: Median over rounds of latency against plain onnxruntime's in the round.
        idle_ratio: Likewise of `idle_latency_ms`.
        limit_ratio: The physical limit against plain onnxruntime's median; None for plain.
        load_ms: From nothing to ready.
        open_peak_bytes: VmHWM when the model was ready and had not run.
        peak_bytes: VmHWM, read from outside.
        cpu_s: CPU seconds a run, of all threads.
        streamed_bytes: Read and opened a run.
    """

    model: str
    suite: str
    memory_bytes: int | None
    page_drop: bool
    calls: int
    latency_ms: list[float]
    idle_latency_ms: list[float]
    ratio: float
    idle_ratio: float
    limit_ratio: float | None
    load_ms: float
    open_peak_bytes: int
    peak_bytes: int
    cpu_s: float
    streamed_bytes: int


_NAMES = {
    "plain": "plain onnxruntime",
    "stream": "the sealed stream",
    "rate": "the rate",
    "tract": "tract",
    "chain": "the chain of operators",
    "clear": "the engine in the clear",
}


class Worker:
    """An engine in a child process, driven by lines (bench.worker).

    Attributes:
        program: What the interpreter runs.
        facts: What it said when its model was loaded.
    """

    program: Sequence[str] = ("-P", "-m", "inferonnx.bench.worker")

    def __init__(self, *, spawn: Spawn = subprocess.Popen, **config: object) -> None:
        """Start it and wait until its model is loaded.

        Args:
            spawn: Starts the process; takes what Popen takes.
            config: What the worker is told.

        Raises:
            InferonnxError: Whatever the worker met.
            UnavailableError: It died, or was killed.
        """
        environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
        self._name = _NAMES[str(config["engine"])]
        self._process = spawn(
            [sys.executable, *self.program, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is for the parent; a worker ends with its stdin
        )
        try:
            self.facts = self._answer()
        except BaseException:
            self.__exit__()
            raise
        self.open_peak_bytes = self.peak_bytes()
        self.latency_ms: list[float] = []
        self.idle_latency_ms: list[float] = []
        self._cpu_before = children.cpu_s(self._process.pid)

    def __enter__(self) -> Self:
        """Return the worker, which `with` ends."""
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def run(self, *words: int) -> float:
        """Run a sample (and how many calls at once), and return its milliseconds.

        Raises:
            InferonnxError: As when it is started.
        """
        return float(self.ask(*words)["ms"])

    def ask(self, *words: int) -> dict[str, Any]:
        """Run as `run` does, and return the whole answer."""
        stdin = self._process.stdin
        if stdin is None:
            raise EngineError("the worker has no input")
        with suppress(BrokenPipeError):  # it has died, and the missing answer says how
            stdin.write(" ".join(map(str, words)) + "\n")
            stdin.flush()
        return self._answer()

    def take_turn(self, sample: int, *words: int) -> None:
        """Run twice, and keep both figures: after a pause, and once awake."""
        self.idle_latency_ms.append(self.run(sample, *words))
        self.latency_ms.append(self.run(sample + 1, *words))

    def settle(self) -> None:
        """End the warm-up: CPU seconds count from here."""
        self._cpu_before = children.cpu_s(self._process.pid)

    def cpu_s(self) -> float:
        """CPU seconds a run since `settle`."""
        runs = len(self.latency_ms) + len(self.idle_latency_ms)
        return (children.cpu_s(self._process.pid) - self._cpu_before) / max(1, runs)

    def peak_bytes(self) -> int:
        """VmHWM of the process, read from outside."""
        return children.status(self._process.pid, "VmHWM")

    def major_faults(self) -> int:
        """Page faults so far that had to wait for a disk or for swap."""
        return major_faults(self._process.pid)

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise children.ended(f"the process that measures {self._name}", self._process.wait())
        answer = dict(json.loads(line))
        if "error" in answer:
            raise children.met(answer["error"])
        return answer


def bench_stream(
    models: Sequence[tuple[str, Path, dict[str, Path], Sequence[Path]]],
    unsealed: Mapping[str, InferonnxError],
    *,
    key: Path,
    memories: Sequence[int | None],
    rounds: int,
    calls: int,
    no_page_drop: bool,
    progress: Callable[[str], None],
) -> tuple[dict[str, Any], list[StreamBench], dict[str, InferonnxError]]:
    """Measure models, each on plain onnxruntime and on the stream at every suite and budget.

    Args:
        models: Name, ONNX file, sealed file by suite, sample files.
        unsealed: What kept others from being sealed, by name.
        key: The owner's key file.
        memories: Budgets in bytes; None keeps everything resident.
        rounds: Measured rounds; three times as many for models under 25 ms.
        calls: Calls at once.
        no_page_drop: Measure also without dropping clean pages of libraries.
        progress: Told what is being measured.

    Returns:
        Facts about the machine; a row an engine and model; by name, what kept a model
        from being measured.
    """
    rows: list[StreamBench] = []
    failed = dict(unsealed)
    for name, plain_path, sealed_paths, samples in models:
        try:
            rows += _bench_model(
                name,
                plain_path,
                sealed_paths,
                [str(path) for path in samples],
                key=key,
                memories=memories,
                rounds=rounds,
                calls=calls,
                page_drops=(True, False) if no_page_drop else (True,),
                progress=progress,
            )
        except InferonnxError as error:  # the others' figures are not lost with it
            failed[name] = error
    told = [f"{name}: {error.message}" for name, error in failed.items()]
    return machine_facts() | {"failed": told}, rows, failed


def _bench_model(
    name: str,
    plain_path: Path,
    sealed_paths: dict[str, Path],
    samples: list[str],
    *,
    key: Path,
    memories: Sequence[int | None],
    rounds: int,
    calls: int,
    page_drops: Sequence[bool],
    progress: Callable[[str], None],
) -> list[StreamBench]:
    def stream(
        suite: str, memory: int | None, *, page_drop: bool = True, spin: bool | None = None
    ) -> Worker:
        return Worker(
            engine="stream",
            model=str(sealed_paths[suite]),
            key=str(key),
            memory=memory,
            samples=samples,
            calls=calls,
            page_drop=page_drop,
            spin=spin,
        )

    with ExitStack() as stack:
        progress(f"{name}: loading")
        plain = stack.enter_context(Worker(engine="plain", model=str(plain_path), samples=samples))
        streams = {
            (suite, memory, drop): stack.enter_context(stream(suite, memory, page_drop=drop))
            for suite in sealed_paths
            for memory in memories
            for drop in page_drops
        }
        quiet = stack.enter_context(stream(next(iter(sealed_paths)), None, spin=False))
        workers = [plain, *streams.values(), quiet]
        _take_turns(name, workers, rounds=rounds, calls=calls, progress=progress)
        rates = {suite: _one_core_rate(path, key) for suite, path in sealed_paths.items()}
        compute_s = quiet.cpu_s()
        rows = [_row(name, ("", None, False), calls, limit_s=None, worker=plain, plain=plain)]
        for engine, worker in streams.items():
            suite = engine[0]
            n_bytes = int(worker.facts["streamed_bytes"])
            limit_s = (compute_s + n_bytes / rates[suite]) / len(os.sched_getaffinity(0))
            rows.append(_row(name, engine, calls, limit_s=limit_s, worker=worker, plain=plain))
        return rows


def _take_turns(
    name: str,
    workers: Sequence[Worker],
    *,
    rounds: int,
    calls: int,
    progress: Callable[[str], None],
) -> None:
    """Have all workers warmed up and measured, in each round in another order."""
    together = (calls,) if calls > 1 else ()
    warm = [worker.run(i, *together) for i in range(2) for worker in workers]
    count = rounds if min(warm) >= SHORT_MS else max(31, 3 * rounds)
    for worker in workers:
        worker.settle()
    order = random.Random(name)  # noqa: S311  # the same in every run of the benchmark
    for i in range(count):
        progress(f"{name}: round {i + 1} of {count}")
        for worker in order.sample(workers, len(workers)):
            # The pool of whoever ran before may still spin: its last run is not ours to pay.
            time.sleep(PAUSE_S)
            worker.take_turn(i, *together)


def _row(
    name: str,
    engine: tuple[str, int | None, bool],
    calls: int,
    *,
    limit_s: float | None,
    worker: Worker,
    plain: Worker,
) -> StreamBench:
    return StreamBench(
        model=name,
        suite=engine[0],
        memory_bytes=engine[1],
        page_drop=engine[2],
        calls=calls,
        latency_ms=[round(ms, 3) for ms in worker.latency_ms],
        idle_latency_ms=[round(ms, 3) for ms in worker.idle_latency_ms],
        ratio=_ratio(worker.latency_ms, plain.latency_ms),
        idle_ratio=_ratio(worker.idle_latency_ms, plain.idle_latency_ms),
        limit_ratio=None if limit_s is None else limit_s * 1e3 / median(plain.latency_ms),
        load_ms=float(worker.facts["load_ms"]),
        open_peak_bytes=worker.open_peak_bytes,
        peak_bytes=worker.peak_bytes(),
        cpu_s=worker.cpu_s(),
        streamed_bytes=int(worker.facts.get("streamed_bytes", 0)),
    )


def _ratio(mine: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over rounds of one latency against the other."""
    return median(m / t for m, t in zip(mine, theirs, strict=True))


def _one_core_rate(sealed: Path, key: Path) -> float:
    """Return bytes a second of reading and opening all segments on one core, page cache warm."""
    with Worker(engine="rate", model=str(sealed), key=str(key), samples=[]) as worker:
        worker.run(0)
        best_ms = median(worker.run(0) for _ in range(5))
        return float(worker.facts["n_bytes"]) / (best_ms / 1e3)


def as_json(machine: dict[str, object], rows: Sequence[StreamBench]) -> str:
    """Return the report as one JSON object, every sample kept."""
    return json.dumps(
        {
            "schema": "inferonnx.bench-stream/2",
            "machine": machine,
            "rows": [asdict(row) for row in rows],
        },
        indent=1,
    )
