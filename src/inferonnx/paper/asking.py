"""A configuration, open and ready to be asked: each in a process of its own.

What it costs to reach the engine is part of the total time and of nothing else: the
server's time is from the first byte that it receives to the last that it sends, as its
log says; the inference's is the engine's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from inferonnx.app.host.division import REQUEST_SHARE
from inferonnx.bench.served import Asker, ServerProcess, Serving
from inferonnx.bench.stream import Worker
from inferonnx.control import NEVER_S, TOKEN_RANDOM_BYTES, Role, config_lines, new_token
from inferonnx.epc import major_faults, warm
from inferonnx.errors import EngineError, UnavailableError
from inferonnx.paper.configurations import Door
from inferonnx.paper.material import ROOMY, UNSEALED, unsealed_script
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inferonnx.bench.served import Spawn
    from inferonnx.epc import Limit
    from inferonnx.paper.configurations import Configuration
    from inferonnx.paper.material import Material

BESIDE_BYTES = 5 * MIB
"""What the limit charges beside a process's resident memory: page tables, the kernel's own, and
clean pages of libraries that it may let go of but reads again."""

ONE_CLIENT = "concurrency = 1\nmax_batch = 1\nmax_connections = 2\n"

FLOOR_VARIES_BYTES = 2 * MIB
"""What servers differ by at their start."""

LOG_S = 20
"""How long the log's line about a request may take after its answer."""


class Run(NamedTuple):
    """One inference.

    Attributes:
        total_ms: At the client.
        faults: Major faults of the process meanwhile.
    """

    total_ms: float
    faults: int


class Told(NamedTuple):
    """What the process itself says of the inferences, in their order."""

    server_ms: list[float] | None
    inference_ms: list[float]
    partition_ms: list[list[float]] | None
    streamed_bytes: int


class Asked(Protocol):
    """A configuration that is open."""

    def run(self) -> Run:
        """Run one inference."""

    def told(self, n_runs: int) -> Told:
        """Return what it says of the last `n_runs`."""

    def peak_bytes(self) -> int:
        """Return the most that was resident of the process, libraries included."""

    def close(self) -> None:
        """End it."""


def open_configuration(
    configuration: Configuration,
    material: Material,
    limit: Limit,
    folder: Path,
    *,
    budget_bytes: int,
) -> Asked:
    """Open a configuration.

    Args:
        configuration: Which.
        material: The model.
        limit: Where it runs: inside the limit, or in one that is none.
        folder: For the server's files; emptied.
        budget_bytes: Of the engine, where it has one.

    Raises:
        InferonnxError: It can't be opened.
    """
    if configuration.door is Door.SEALED:
        return _Sealed(configuration, material, limit, folder, budget_bytes)
    if configuration.door is Door.CLEAR:
        return _Clear(configuration, material, folder)
    return _Process(configuration, material)


def least_memory(facts: Mapping[str, Any]) -> int:
    """Return the least budget of a server, of what one with plenty says at its start."""
    varies = FLOOR_VARIES_BYTES * REQUEST_SHARE // (REQUEST_SHARE - 1)  # and requests' part of it
    return int(facts["least_bytes"] or 0) + varies


class _Served:
    """What servers have in common."""

    _server: Serving

    def __init__(self, material: Material) -> None:
        self._body = material.body
        self._asker = Asker(self._server.port, self._server.certificate, material.name)
        self._n_asked = 0

    def run(self) -> Run:
        self._n_asked += 1
        before = major_faults(self._server.pid)
        try:
            total_ms = self._asker.ask(self._body)
        except (OSError, HTTPException) as error:
            raise self._server.ended() or UnavailableError(
                "the server broke a connection off", hint="Measure again."
            ) from error
        return Run(total_ms, major_faults(self._server.pid) - before)

    def peak_bytes(self) -> int:
        return self._server.resident_bytes("VmHWM")

    def close(self) -> None:
        self._asker.close()
        self._server.kill()

    def _lines(self, *names: str) -> list[dict[str, Any]]:
        """Return the log's lines about inferences, when it has those of all."""
        deadline = time.monotonic() + LOG_S
        while True:
            found = self._server.events("request", *names)
            lines = [one for one in found if one["event"] != "request" or "engine_ms" in one]
            if sum(one["event"] == "request" for one in lines) >= self._n_asked:
                return lines
            if time.monotonic() > deadline:
                raise UnavailableError("the server's log lacks requests that it has answered")
            time.sleep(0.01)


class _Sealed(_Served):
    """`inferonnx serve`."""

    def __init__(
        self,
        configuration: Configuration,
        material: Material,
        limit: Limit,
        folder: Path,
        budget_bytes: int,
    ) -> None:
        sealed = material.sealed[configuration.form]
        warm(str(sealed))  # its page cache is the host's
        folder.mkdir(parents=True, exist_ok=True)
        token, entry = new_token(
            os.urandom(TOKEN_RANDOM_BYTES), roles=[Role.METRICS], expires_s=NEVER_S
        )
        # One client: nothing is batched, no memory is kept for others.
        settings = folder.with_suffix(".toml")
        settings.write_text(ONE_CLIENT + config_lines(entry))
        self._tells_steps = not configuration.is_within
        options = ["--key", str(material.key), "--config", str(settings)]
        options += [] if configuration.stays else ["--no-resident"]
        options += ["--log-level", "debug"] if self._tells_steps else []
        self._token, self._name = token, material.name
        spawn: Spawn = limit.spawn if configuration.is_limited else subprocess.Popen

        def serve(memory: int, spawn: Spawn = spawn) -> ServerProcess:
            models = {material.name: sealed}
            return ServerProcess(folder, models, memory=memory, options=options, spawn=spawn)

        if not configuration.is_within:
            self._server = serve(ROOMY)
        else:
            # What a server promises is the worst case; where that is above the limit, pages
            # that it no longer needs are paged out once, and the limit shows whether it is so.
            with serve(ROOMY, subprocess.Popen) as trial:
                least = least_memory(trial.facts)
            self._server = serve(max(budget_bytes, least))
        super().__init__(material)
        self._streamed_first = 0

    def run(self) -> Run:
        run = super().run()
        if self._n_asked == 1:  # which also reads what stays
            self._streamed_first = self._streamed()
        return run

    def told(self, n_runs: int) -> Told:
        lines = self._lines("pass")
        steps: list[list[float]] = []
        partitions: dict[int, float] = {}
        requests = []
        for line in lines:
            if line["event"] == "pass":
                at = line["partition"]
                partitions[at] = partitions.get(at, 0.0) + line["ms"]
            else:
                requests.append(line)
                steps.append([round(partitions[i], 3) for i in sorted(partitions)])
                partitions = {}
        last = requests[-n_runs:]
        return Told(
            server_ms=[line["ms"] for line in last],
            inference_ms=[line["engine_ms"] for line in last],
            partition_ms=steps[-n_runs:] if self._tells_steps else None,
            streamed_bytes=(self._streamed() - self._streamed_first) // max(1, self._n_asked - 1),
        )

    def _streamed(self) -> int:
        """Return the bytes that all inferences have read so far."""
        text = self._asker.get("/metrics", self._token).decode()
        for line in text.splitlines():
            if line.startswith("inferonnx_streamed_bytes") and f'"{self._name}"' in line:
                return int(float(line.rsplit(" ", 1)[1]))
        raise EngineError("the server's metrics lack what it has streamed")


class _Clear(_Served):
    """The benchmarks' own server, in the clear."""

    def __init__(self, configuration: Configuration, material: Material, folder: Path) -> None:
        clear = material.clear[configuration.form]
        warm(str(clear))
        folder.mkdir(parents=True, exist_ok=True)
        certificate = folder / "server.pem" if configuration.is_tls else None
        self._server = Serving(
            [
                *(sys.executable, unsealed_script("serve.py"), str(clear)),
                *(["--cert-out", str(certificate)] if certificate else []),
                *(["--resident"] if configuration.stays else []),
            ],
            log=folder / "log",
            certificate=certificate,
        )
        super().__init__(material)

    def told(self, n_runs: int) -> Told:
        last = self._lines()[-n_runs:]
        return Told(
            server_ms=[line["ms"] for line in last],
            inference_ms=[line["engine_ms"] for line in last],
            partition_ms=[line["partition_ms"] for line in last],
            streamed_bytes=int(self._server.facts["streamed_bytes"]),
        )


class _ClearWorker(Worker):
    """The engine in the clear, driven as the others are; from the repository's root."""

    program = (str(UNSEALED / "worker.py"),)


class _Process:
    """The engine in the clear, and no server."""

    def __init__(self, configuration: Configuration, material: Material) -> None:
        clear = material.clear[configuration.form]
        warm(str(clear))
        self._worker = _ClearWorker(
            engine="clear",
            model=str(clear),
            samples=[str(material.sample)],
            resident=configuration.stays,
            cold=configuration.is_cold,
            spin=False,  # as in servers: what is compared should differ by the disk alone
        )
        self._ms: list[float] = []

    def run(self) -> Run:
        before = self._worker.major_faults()
        self._ms.append(self._worker.run(0))
        return Run(self._ms[-1], self._worker.major_faults() - before)

    def told(self, n_runs: int) -> Told:
        return Told(None, self._ms[-n_runs:], None, int(self._worker.facts["streamed_bytes"]))

    def peak_bytes(self) -> int:
        return self._worker.peak_bytes()

    def close(self) -> None:
        self._worker.__exit__()
