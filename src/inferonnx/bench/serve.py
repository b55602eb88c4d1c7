"""Serving, measured: memory within its budget, what the server adds, throughput, least budget.

Throughput is compared with the best of plain onnxruntime in memory, in rounds that
alternate; what the server adds is its own time from the first byte of a request to
the last of the reply, less the engine's time in the same process, as its log says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from inferonnx.bench.machine import machine_facts
from inferonnx.bench.served import Body, ServerProcess, encoded, load
from inferonnx.bench.stream import Worker
from inferonnx.errors import InferonnxError
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from inferonnx.bench.models import Case

OVERHEAD_REQUESTS = 300
WARM_UP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeBench:
    """What was measured.

    Attributes:
        model: That was loaded.
        small: The model whose requests show what the server adds.
        memory_bytes: Budget.
        clients: At once.
        peak_bytes: VmHWM under load, read from outside.
        idle_bytes: VmRSS when it had started.
        least_bytes: Smallest budget that was tried in which it served all clients and
            kept to it; None if none did.
        least_peak_bytes: VmHWM there.
        plain_per_s: Plain onnxruntime, a round each: best of one call after the other
            and of `clients` calls at once.
        served_per_s: All clients, a round each.
        single_per_s: One client, a round each.
        ratio: Median over rounds of served to plain.
        single_ratio: Median over rounds of served to one client's.
        overhead_ms: The server's time less the engine's, each request of `small`.
        client_ms: The client's time of the same requests.
        engine_ms: The engine's.
    """

    model: str
    small: str
    memory_bytes: int
    clients: int
    peak_bytes: int
    idle_bytes: int
    least_bytes: int | None
    least_peak_bytes: int
    plain_per_s: list[float]
    served_per_s: list[float]
    single_per_s: list[float]
    ratio: float
    single_ratio: float
    overhead_ms: list[float]
    client_ms: list[float]
    engine_ms: list[float]


def bench_serve(
    case: Case,
    small: Case,
    *,
    key: Path,
    suite: str,
    memory: int,
    clients: int,
    rounds: int,
    work: Path,
    progress: Callable[[str], None],
) -> tuple[dict[str, Any], ServeBench]:
    """Measure one model under load, and a small one's overhead.

    Args:
        case: Name, ONNX file, sealed files by suite, samples of the model.
        small: Of the small one.
        key: The owner's key file.
        suite: Of both.
        memory: Budget of the server.
        clients: At once.
        rounds: Measured rounds.
        work: For repositories and logs.
        progress: Told what happens.

    Returns:
        Facts about the machine, and the figures.
    """
    name, plain_path, sealed, samples = case
    bodies = _bodies(name, plain_path, samples)
    progress("what the server adds")
    overhead, client_ms, engine_ms = _overhead(small, key=key, suite=suite, work=work)
    per_client = 4
    plains: list[float] = []
    served: list[float] = []
    singles: list[float] = []
    with (
        Worker(
            engine="plain", model=str(plain_path), samples=[str(path) for path in samples]
        ) as plain,
        ServerProcess(
            work / "repo", {name: sealed[suite]}, memory=memory, options=("--key", str(key))
        ) as server,
    ):
        idle = server.resident_bytes()
        load(server, name, bodies, clients=clients, requests=WARM_UP)
        for i in range(WARM_UP):
            plain.run(i, clients)
        for i in range(rounds):
            progress(f"round {i + 1} of {rounds}")
            n = clients * per_client // 2
            alone = n / (sum(plain.run(i + k) for k in range(n)) / 1e3)
            together = clients / (plain.run(i, clients) / 1e3)
            plains.append(max(alone, together))
            served.append(load(server, name, bodies, clients=clients, requests=per_client)[0])
            singles.append(load(server, name, bodies, clients=1, requests=per_client)[0])
        peak = server.resident_bytes("VmHWM")
    least, least_peak = _least(
        name,
        sealed[suite],
        bodies,
        key=key,
        top=memory,
        clients=clients,
        work=work,
        progress=progress,
    )
    return machine_facts(), ServeBench(
        model=name,
        small=small[0],
        memory_bytes=memory,
        clients=clients,
        peak_bytes=peak,
        idle_bytes=idle,
        least_bytes=least,
        least_peak_bytes=least_peak,
        plain_per_s=plains,
        served_per_s=served,
        single_per_s=singles,
        ratio=median(a / b for a, b in zip(served, plains, strict=True)),
        single_ratio=median(a / b for a, b in zip(served, singles, strict=True)),
        overhead_ms=overhead,
        client_ms=client_ms,
        engine_ms=engine_ms,
    )


def _overhead(
    small: Case, *, key: Path, suite: str, work: Path
) -> tuple[list[float], list[float], list[float]]:
    name, plain_path, sealed, samples = small
    bodies = _bodies(name, plain_path, samples)
    options = ("--key", str(key))
    with ServerProcess(
        work / "small", {name: sealed[suite]}, memory=1024 * MIB, options=options
    ) as server:
        load(server, name, bodies, clients=1, requests=20)
        skipped = len(server.requests())
        _, client_ms = load(server, name, bodies, clients=1, requests=OVERHEAD_REQUESTS)
        server.stop()  # what it has logged is complete then
        lines = server.requests()[skipped:]
    added = [float(line["ms"]) - float(line["engine_ms"]) for line in lines]
    return added, client_ms, [float(line["engine_ms"]) for line in lines]


def _least(
    name: str,
    sealed: Path,
    bodies: Sequence[Body],
    *,
    key: Path,
    top: int,
    clients: int,
    work: Path,
    progress: Callable[[str], None],
) -> tuple[int | None, int]:
    """Return the least budget, to 1 MiB, that serves all clients and is kept, and its peak."""
    low, high = 40, top // MIB  # in MiB: the first is too little, the last is tried too
    found: int | None = None
    found_peak = 0
    while low < high:
        middle = (low + high) // 2
        progress(f"least budget: {middle} MiB")
        peak = _peak_at(middle * MIB, name, sealed, bodies, key=key, clients=clients, work=work)
        if peak is not None and peak <= middle * MIB:
            found, found_peak, high = middle * MIB, peak, middle
        else:
            low = middle + 1
    return found, found_peak


def _peak_at(
    memory: int,
    name: str,
    sealed: Path,
    bodies: Sequence[Body],
    *,
    key: Path,
    clients: int,
    work: Path,
) -> int | None:
    """Return the peak of a server with this budget under load, None if it can't serve."""
    try:
        with ServerProcess(
            work / "least", {name: sealed}, memory=memory, options=("--key", str(key))
        ) as server:
            if server.facts["models"].get("ready") != 1:
                return None
            load(server, name, bodies, clients=clients, requests=WARM_UP)
            return server.resident_bytes("VmHWM")
    except InferonnxError:
        return None


def _bodies(name: str, plain_path: Path, samples: Sequence[Path]) -> list[Body]:
    import numpy as np
    import onnx

    graph = onnx.load(plain_path, load_external_data=False).graph
    outputs = [value.name for value in graph.output]
    return [encoded(name, dict(np.load(path)), outputs) for path in samples]


def as_json(machine: dict[str, Any], figures: ServeBench) -> str:
    """Return the report: machine and raw figures."""
    import json

    return json.dumps({"schema": "inferonnx.bench-serve/1", "machine": machine, **asdict(figures)})
