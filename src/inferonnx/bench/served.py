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
from contextlib import suppress
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
from inferonnx.runtime import children
from inferonnx.tensors import as_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self, TypeAlias

    from inferonnx.errors import InferonnxError

    Spawn: TypeAlias = "Callable[..., subprocess.Popen[bytes]]"

START_S = 60
STOP_S = 60
ANSWER_S = 300

_ERROR = "inferonnx: error: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request, encoded."""

    content: bytes
    header_length: int | None


class Serving:
    """A server in a process of its own: whatever says in a line of JSON where it answers.

    Attributes:
        facts: What it said.
        port: Where it answers, on this machine.
        certificate: Its certificate; None where it speaks without TLS.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        certificate: Path | None,
        spawn: Spawn = subprocess.Popen,
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            command: Its command line.
            log: Where what it writes to standard error goes.
            certificate: File that it writes its certificate to, if it has one.
            spawn: Starts processes: elsewhere than here, inside a limit of memory.

        Raises:
            UnavailableError: It ended, or did not answer in time.
        """
        self.certificate = certificate
        self._log_path = log
        with log.open("wb") as file:
            self._process = spawn(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
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

    def resident_bytes(self, field: str = "VmRSS") -> int:
        """Return what it holds ("VmRSS") or held at most ("VmHWM"), read from outside."""
        return children.status(self.pid, field)

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return its log lines about events of these names so far."""
        lines = []
        for line in self._log_path.read_text().splitlines():
            if line.startswith("{") and line.endswith("}"):  # the last may be half written
                found = json.loads(line)
                if found.get("event") in names:
                    lines.append(found)
        return lines

    def requests(self) -> list[dict[str, Any]]:
        """Return its log lines about requests so far."""
        return self.events("request")

    def ended(self) -> InferonnxError | None:
        """Return how it ended, if it has: it may take a moment after its connections broke."""
        with suppress(subprocess.TimeoutExpired):
            return children.ended("the server", self._process.wait(1))
        return None

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
            said = self._log_path.read_text(errors="replace").strip().splitlines() or ["no reason"]
            errors = [line for line in said if line.startswith(_ERROR)]
            reason = (errors or said)[-1].removeprefix(_ERROR)
            raise UnavailableError(f"the server did not start: {reason}")
        return dict(json.loads(line))


class ServerProcess(Serving):
    """`inferonnx serve` on a folder of its own."""

    def __init__(
        self,
        folder: Path,
        models: Mapping[str, Path],
        *,
        memory: int,
        options: Sequence[str],
        spawn: Spawn = subprocess.Popen,
    ) -> None:
        """Start it, and wait until it answers.

        Args:
            folder: For its repository, certificate and log; emptied.
            models: Sealed files by the name that they are sealed with.
            memory: Budget in bytes.
            options: More of the command line: whose models they are, at least.
            spawn: Starts processes.

        Raises:
            UnavailableError: It ended, or did not answer in time.
        """
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "repo").mkdir(parents=True)
        for name, path in models.items():
            home = folder / "repo" / name / "1"
            home.mkdir(parents=True)
            os.link(path, home / "model.sealed")
        certificate = folder / "server.pem"
        super().__init__(
            [
                *(sys.executable, "-P", "-m", "inferonnx", "serve", "--json"),
                *("--models", str(folder / "repo")),
                *("--memory", str(memory), "--listen", "127.0.0.1:0"),
                *("--cert-out", str(certificate), "--log-format", "json"),
                *("--allow-anonymous-infer", *options),
            ],
            log=folder / "log",
            certificate=certificate,
            spawn=spawn,
        )


class Asker:
    """A client with one connection.

    Attributes:
        last: The last answer's body.
    """

    def __init__(self, port: int, certificate: Path | None, model: str) -> None:
        """Connect with the first request; with TLS where there is a certificate to trust."""
        self._connection: http.client.HTTPConnection
        if certificate is None:
            self._connection = http.client.HTTPConnection("localhost", port, timeout=ANSWER_S)
        else:
            context = ssl.create_default_context(cafile=str(certificate))
            self._connection = http.client.HTTPSConnection(
                "localhost", port, context=context, timeout=ANSWER_S
            )
        self._path = f"/v2/models/{model}/infer"
        self.last = b""

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
        self.last = reply.read()
        took = (time.perf_counter() - start) * 1e3
        if reply.status != 200:
            raise EngineError(f"the server answered {reply.status}: {self.last[:200]!r}")
        return took

    def get(self, path: str, token: str) -> bytes:
        """Return a document that a token is needed for.

        Raises:
            EngineError: The answer is no success.
        """
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        reply = self._connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise EngineError(f"the server answered {reply.status} for {path}")
        return content

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
    server: Serving, model: str, bodies: Sequence[Body], *, clients: int, requests: int
) -> tuple[float, list[float]]:
    """Have clients ask at once, each a number of times in a row.

    Returns:
        Answers a second, and the milliseconds of each.
    """
    askers = [Asker(server.port, server.certificate, model) for _ in range(clients)]
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
