"""Hours of a server's life in minutes: what it holds at the end, and what went wrong.

Two parts on one server. *Turnover*: a model is pushed, unlocked, asked, unloaded and
deleted, many times. *Mixed load*: clients ask two models that do not fit side by side,
in all forms, while others vanish in the middle of a request, send nonsense, or half an
upload. Memory is read from outside, after a warm-up of each part and at its end; every
answer that is none of the expected is kept.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.app.host.keys import Key
from inferonnx.app.relying.client import Client
from inferonnx.bench.machine import machine_facts
from inferonnx.bench.served import ServerProcess
from inferonnx.errors import InferonnxError
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inferonnx.bench.models import Case

WARM_UP_ROUNDS = 20
WARM_UP_S = 30.0
N_CLIENTS = 6
N_VANISHING = 2
MAX_GROWTH_BYTES = 5 * MIB
MAX_KEPT_ERRORS = 20


@dataclass(slots=True, kw_only=True)
class Soak:
    """What a soak has seen.

    Attributes:
        memory_bytes: Budget.
        n_rounds: Turnovers.
        n_answers: Answers under mixed load.
        n_vanished: Requests whose client went away in the middle.
        n_refused: Nonsense that was refused with a 4xx.
        turnover_bytes: VmRSS after the warm-up of the turnover, and at its end.
        load_bytes: Of the mixed load.
        peak_bytes: VmHWM.
        errors: What nobody asked for, the first of it.
        exit_code: Of the server, after SIGTERM.
    """

    memory_bytes: int
    n_rounds: int = 0
    n_answers: int = 0
    n_vanished: int = 0
    n_refused: int = 0
    turnover_bytes: tuple[int, int] = (0, 0)
    load_bytes: tuple[int, int] = (0, 0)
    peak_bytes: int = 0
    errors: list[str] = field(default_factory=list)
    exit_code: int = -1

    @property
    def is_sound(self) -> bool:
        """Whether memory stayed, the budget was kept, and nothing went wrong."""
        growths = [stop - start for start, stop in (self.turnover_bytes, self.load_bytes)]
        return (
            max(growths) <= MAX_GROWTH_BYTES
            and self.peak_bytes <= self.memory_bytes
            and not self.errors
            and self.exit_code == 0
        )


def soak(
    small: Case,
    large: Case,
    *,
    key: Path,
    suite: str,
    memory: int,
    rounds: int,
    seconds: float,
    work: Path,
    progress: Callable[[str], None],
) -> tuple[dict[str, Any], Soak]:
    """Run both parts.

    Args:
        small: Name, ONNX file, sealed files, samples of the model that comes and goes.
        large: Of one that fills most of the budget.
        key: The owner's key file.
        suite: Of the sealed files.
        memory: Budget of the server.
        rounds: Turnovers.
        seconds: Of mixed load, after its warm-up.
        work: For the repository and the log.
        progress: Told how far it is.

    Returns:
        Facts about the machine, and what was seen.
    """
    owner = Key.load(key)
    found = Soak(memory_bytes=memory)
    options = ("--owner", owner.public_key, "--log-level", "warning")
    with ServerProcess(work / "soak", {}, memory=memory, options=options) as server:
        url = f"https://localhost:{server.port}"

        def client() -> Client:
            return Client(url, ca=server.certificate, insecure_no_attestation=True, timeout=120)

        with client() as one:
            _turnover(
                client=one,
                server=server,
                case=small,
                owner=owner,
                suite=suite,
                rounds=rounds,
                found=found,
                progress=progress,
            )
            for name, _, sealed, _ in (small, large):
                one.push(sealed[suite], key=owner, name=name)
                one.unlock(name, sealed[suite], key=owner)
        _mixed_load(
            client=client,
            server=server,
            cases=(small, large),
            seconds=seconds,
            found=found,
            progress=progress,
        )
        found.peak_bytes = server.resident_bytes("VmHWM")
        found.exit_code = server.stop()
    return machine_facts(), found


def _turnover(
    *,
    client: Client,
    server: ServerProcess,
    case: Case,
    owner: Key,
    suite: str,
    rounds: int,
    found: Soak,
    progress: Callable[[str], None],
) -> None:
    name, _, sealed, samples = case
    arrays = dict(np.load(samples[0]))
    after_warm_up = 0
    for i in range(rounds + WARM_UP_ROUNDS):
        if i == WARM_UP_ROUNDS:
            after_warm_up = server.resident_bytes()
        progress(f"turnover {i + 1} of {rounds + WARM_UP_ROUNDS}")
        try:
            _, version = client.push(sealed[suite], key=owner, name=name)
            client.unlock(name, sealed[suite], key=owner)
            client.infer(name, arrays)
            client.delete(name, version, key=owner, sealed=sealed[suite])
        except InferonnxError as error:
            _keep(found, f"turnover {i}: {error.message}")
        found.n_rounds += i >= WARM_UP_ROUNDS
    found.turnover_bytes = (after_warm_up, server.resident_bytes())


def _mixed_load(
    *,
    client: Callable[[], Client],
    server: ServerProcess,
    cases: tuple[Case, Case],
    seconds: float,
    found: Soak,
    progress: Callable[[str], None],
) -> None:
    ends = threading.Event()
    lock = threading.Lock()

    def ask(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - which request comes next is no secret
        inputs = {case[0]: dict(np.load(case[3][0])) for case in cases}
        with client() as one:
            while not ends.is_set():
                # The large one is asked now and then, so that they push each other out.
                name = cases[chance.random() < 0.1][0]
                try:
                    one.infer(name, inputs[name])
                    with lock:
                        found.n_answers += 1
                except InferonnxError as error:
                    with lock:
                        _keep(found, f"{name}: {error.message}")

    def vanish(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - as above
        while not ends.is_set():
            with suppress(OSError, http.client.HTTPException):
                refused = _disturb(server, cases[0][0], chance)
                with lock:
                    found.n_refused += refused
                    found.n_vanished += not refused
            time.sleep(0.05)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(N_CLIENTS)]
    threads += [threading.Thread(target=vanish, args=(100 + i,)) for i in range(N_VANISHING)]
    for thread in threads:
        thread.start()
    try:
        after_warm_up = _watch(server, WARM_UP_S, "warm-up", progress)
        at_end = _watch(server, seconds, "mixed load", progress)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    found.load_bytes = (after_warm_up, at_end)


def _watch(
    server: ServerProcess, seconds: float, what: str, progress: Callable[[str], None]
) -> int:
    """Wait, and return the largest of the last ten readings of VmRSS: it goes up and down."""
    deadline = time.monotonic() + seconds
    readings = [server.resident_bytes()]
    while (left := deadline - time.monotonic()) > 0:
        progress(f"{what}: {left:.0f} s to go, {readings[-1] / MIB:.1f} MiB")
        time.sleep(min(1.0, left))
        readings.append(server.resident_bytes())
    return max(readings[-10:])


def _disturb(server: ServerProcess, model: str, chance: random.Random) -> bool:
    """Be a bad client once; tell whether what was sent was refused by an answer."""
    context = ssl.create_default_context(cafile=str(server.certificate))
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as sock,
    ):
        head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\n"
        kind = chance.randrange(4)
        if kind == 0:  # a body that never ends
            sock.sendall(f"{head}Content-Length: 600000\r\n\r\n".encode() + os.urandom(50_000))
            return False
        if kind == 1:  # a head that never ends
            sock.sendall(head.encode())
            return False
        if kind == 2:  # a whole request whose client does not wait for the answer
            body = b'{"inputs":[]}'
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return False
        body = os.urandom(chance.randrange(1, 5000))  # nonsense
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status = sock.recv(4096).split(b" ", 2)[1:2]
        return bool(status) and status[0].startswith(b"4")


def _keep(found: Soak, text: str) -> None:
    if len(found.errors) < MAX_KEPT_ERRORS:
        found.errors.append(text)


def as_json(machine: dict[str, Any], found: Soak) -> str:
    """Return the report: machine and what was seen."""
    import json

    return json.dumps({"schema": "inferonnx.soak/1", "machine": machine, **asdict(found)})
