"""A server in a process of its own, and clients that ask it: what serving is measured with.

The clients are the standard library's, over TLS, with a connection each that stays
open and bodies that were encoded before: what they cost is small, and the same for
all that is compared.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferonnx.errors import EngineError, UnavailableError
from inferonnx.oip import (
    HEADER_LENGTH_NAME,
    InferRequest,
    NamedTensor,
    WantedOutput,
    encode_infer_request,
)
from inferonnx.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Self

START_S = 60
STOP_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request, encoded."""

    content: bytes
    header_length: int | None


class ServerProcess:
    """`inferonnx serve` on a folder of its own."""

    def __init__(
        self,
        folder: Path,
        models: Mapping[str, Path],
        *,
        memory: int,
        options: Sequence[str],
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            folder: For its repository, certificate and log; emptied.
            models: Sealed files by the name that they are sealed with.
            memory: Budget in bytes.
            options: More of the command line: whose models they are, at least.

        Raises:
            UnavailableError: It ended, or did not answer in time.
        """
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "repo").mkdir(parents=True)
        for name, path in models.items():
            home = folder / "repo" / name / "1"
            home.mkdir(parents=True)
            os.link(path, home / "model.sealed")
        self.certificate = folder / "server.pem"
        self._log_path = folder / "log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "inferonnx", "serve", "--json"),
                    *("--models", str(folder / "repo")),
                    *("--memory", str(memory), "--listen", "127.0.0.1:0"),
                    *("--cert-out", str(self.certificate), "--log-format", "json"),
                    *("--allow-anonymous-infer", *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
                start_new_session=True,
            )
        try:
            self.facts = self._started()
        except BaseException:
            self.kill()
            raise
        self.port = int(str(self.facts["addresses"][0]).rpartition(":")[2])

    def __enter__(self) -> Self:
        """Return the server, which `with` ends."""
        return self

    def __exit__(self, *_exception: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def resident_bytes(self, field: str = "VmRSS:") -> int:
        """Return what it holds (VmRSS) or held at most (`VmHWM:`), read from outside."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
        return 0

    def requests(self) -> list[dict[str, Any]]:
        """Return its log lines about requests so far."""
        lines = []
        for line in self._log_path.read_text().splitlines():
            if line.startswith("{"):
                found = json.loads(line)
                if found["event"] == "request":
                    lines.append(found)
        return lines

    def stop(self) -> int:
        """Ask it to end, as an operator would; return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_S)

    def kill(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _started(self) -> dict[str, Any]:
        stdout = self._process.stdout
        timer = threading.Timer(START_S, self._process.kill)
        timer.start()
        line = stdout.readline() if stdout is not None else b""
        timer.cancel()
        if not line:
            said = self._log_path.read_text(errors="replace").strip().splitlines()
            raise UnavailableError(f"the server did not start: {said[-1] if said else 'no reason'}")
        return dict(json.loads(line))


class Asker:
    """A client with one connection."""

    def __init__(self, server: ServerProcess, model: str) -> None:
        """Connect with the first request."""
        context = ssl.create_default_context(cafile=str(server.certificate))
        self._connection = http.client.HTTPSConnection(
            "localhost", server.port, context=context, timeout=300
        )
        self._path = f"/v2/models/{model}/infer"

    def ask(self, body: Body) -> float:
        """Send a request, read the whole answer, return its milliseconds.

        Raises:
            EngineError: The answer is no success.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if body.header_length is not None:
            headers[HEADER_LENGTH_NAME] = str(body.header_length)
        start = time.perf_counter()
        self._connection.request("POST", self._path, body.content, headers)
        reply = self._connection.getresponse()
        content = reply.read()
        took = (time.perf_counter() - start) * 1e3
        if reply.status != 200:
            raise EngineError(f"the server answered {reply.status}: {content[:200]!r}")
        return took

    def close(self) -> None:
        """Leave."""
        self._connection.close()


def encoded(model: str, arrays: Mapping[str, Any], outputs: Sequence[str]) -> Body:
    """Return a request with binary tensors, both ways."""
    request = InferRequest(
        model_name=model,
        inputs=tuple(NamedTensor(name=k, tensor=as_tensor(v)) for k, v in arrays.items()),
        outputs=tuple(WantedOutput(name=name, binary=True) for name in outputs),
    )
    pieces, length = encode_infer_request(request)
    return Body(content=b"".join(pieces), header_length=length)


def load(
    server: ServerProcess, model: str, bodies: Sequence[Body], *, clients: int, requests: int
) -> tuple[float, list[float]]:
    """Have clients ask at once, each a number of times in a row.

    Returns:
        Answers a second, and the milliseconds of each.
    """
    askers = [Asker(server, model) for _ in range(clients)]
    took: list[list[float]] = [[] for _ in askers]
    failed: list[BaseException] = []

    def ask(i: int) -> None:
        try:
            for n in range(requests):
                took[i].append(askers[i].ask(bodies[(i + n) % len(bodies)]))
        except BaseException as error:  # raised again, where somebody waits
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    for asker in askers:
        asker.close()
    if failed:
        raise failed[0]
    return clients * requests / seconds, [ms for one in took for ms in one]
