"""Serving, measured: memory within its budget, what the server adds, throughput, least budget.

Throughput is compared with the best of plain onnxruntime in memory, in rounds that
alternate; what the server adds is its own time from the first byte of a request to
the last of the reply, less the engine's time in the same process, as its log says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.bench.machine import machine_facts
from inferonnx.bench.served import Body, ServerProcess, encoded, load
from inferonnx.bench.stream import Worker
from inferonnx.errors import InferonnxError
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inferonnx.bench.models import Case

OVERHEAD_REQUESTS = 300
REQUESTS = 4
"""Of each client, in a round."""

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
    name, plain_path, _, samples = case
    progress("what the server adds")
    overhead, client_ms, engine_ms = _overhead(_served(small, suite, key), work / "small")
    model = _served(case, suite, key)
    with (
        Worker(
            engine="plain", model=str(plain_path), samples=[str(path) for path in samples]
        ) as plain,
        model.server(work / "repo", memory=memory) as server,
    ):
        idle = server.resident_bytes()
        plains, served, singles = _rates(
            plain, server, model, clients=clients, rounds=rounds, progress=progress
        )
        peak = server.resident_bytes("VmHWM")
    least, least_peak = _least(
        model, work / "least", top=memory, clients=clients, progress=progress
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


class _Served(NamedTuple):
    """A model that is served, and what its clients send."""

    name: str
    sealed: Path
    key: Path
    bodies: list[Body]

    def server(self, folder: Path, *, memory: int) -> ServerProcess:
        """Start a server with this model alone."""
        options = ("--key", str(self.key))
        return ServerProcess(folder, {self.name: self.sealed}, memory=memory, options=options)

    def load(
        self, server: ServerProcess, *, clients: int, requests: int
    ) -> tuple[float, list[float]]:
        """Return requests a second, and the time of each in ms."""
        return load(server, self.name, self.bodies, clients=clients, requests=requests)


def _served(case: Case, suite: str, key: Path) -> _Served:
    import numpy as np
    import onnx

    name, plain_path, sealed, samples = case
    graph = onnx.load(plain_path, load_external_data=False).graph
    outputs = [value.name for value in graph.output]
    bodies = [encoded(name, dict(np.load(path)), outputs) for path in samples]
    return _Served(name, sealed[suite], key, bodies)


def _overhead(small: _Served, folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Return in ms, each request: what the server adds, the client's time, the engine's."""
    with small.server(folder, memory=1024 * MIB) as server:
        small.load(server, clients=1, requests=20)
        skipped = len(server.requests())
        _, client_ms = small.load(server, clients=1, requests=OVERHEAD_REQUESTS)
        server.stop()  # what it has logged is complete then
        lines = server.requests()[skipped:]
    engine_ms = [float(line["engine_ms"]) for line in lines]
    added = [float(line["ms"]) - ms for line, ms in zip(lines, engine_ms, strict=True)]
    return added, client_ms, engine_ms


def _rates(
    plain: Worker,
    server: ServerProcess,
    model: _Served,
    *,
    clients: int,
    rounds: int,
    progress: Callable[[str], None],
) -> tuple[list[float], list[float], list[float]]:
    """Return calls a second, a round each: of plain onnxruntime, of all clients, of one."""
    model.load(server, clients=clients, requests=WARM_UP)
    for i in range(WARM_UP):
        plain.run(i, clients)
    plains: list[float] = []
    served: list[float] = []
    singles: list[float] = []
    for i in range(rounds):
        progress(f"round {i + 1} of {rounds}")
        n = clients * REQUESTS // 2
        alone = n / (sum(plain.run(i + k) for k in range(n)) / 1e3)
        together = clients / (plain.run(i, clients) / 1e3)
        plains.append(max(alone, together))
        served.append(model.load(server, clients=clients, requests=REQUESTS)[0])
        singles.append(model.load(server, clients=1, requests=REQUESTS)[0])
    return plains, served, singles


def _least(
    model: _Served, folder: Path, *, top: int, clients: int, progress: Callable[[str], None]
) -> tuple[int | None, int]:
    """Return the least budget, to 1 MiB, that serves all clients and is kept, and its peak."""
    low, high = 40, top // MIB  # in MiB: the first is too little, the last is tried too
    found: int | None = None
    found_peak = 0
    while low < high:
        middle = (low + high) // 2
        progress(f"least budget: {middle} MiB")
        peak = _peak_at(middle * MIB, model, folder, clients=clients)
        if peak is not None and peak <= middle * MIB:
            found, found_peak, high = middle * MIB, peak, middle
        else:
            low = middle + 1
    return found, found_peak


def _peak_at(memory: int, model: _Served, folder: Path, *, clients: int) -> int | None:
    """Return the peak of a server with this budget under load, None if it can't serve."""
    try:
        with model.server(folder, memory=memory) as server:
            if server.facts["models"].get("ready") != 1:
                return None
            model.load(server, clients=clients, requests=WARM_UP)
            return server.resident_bytes("VmHWM")
    except InferonnxError:
        return None


def as_json(machine: dict[str, Any], figures: ServeBench) -> str:
    """Return the report: machine and raw figures."""
    import json

    return json.dumps({"schema": "inferonnx.bench-serve/1", "machine": machine, **asdict(figures)})
