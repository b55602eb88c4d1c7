"""A server for Triton's tests, with the plaintext doors that they know."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from triton_qa_runs import Run

REST, GRPC = 8000, 8001
START_S = 120


class Kit(NamedTuple):
    """What all runs share: where things are."""

    folder: Path
    qa: Path
    python: Path
    key: Path
    certificate: Path


@contextmanager
def serving(kit: Kit, repository: Path, run: Run) -> Iterator[int]:
    """Serve a repository, with a plaintext door each for REST and gRPC; give the process."""
    ca = kit.folder / "server.pem"
    certificate = str(kit.certificate)
    everything = kit.folder / "serve.toml"
    everything.write_text('client_roles = ["infer", "manage", "metrics"]\n' + run.settings)
    with ExitStack() as stack:
        server = stack.enter_context(
            started(
                *("serve", "--json", "--config", str(everything), "--models", str(repository)),
                *("--listen", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--memory", run.memory),
                *("--key", str(kit.key), "--client-ca", certificate + ".only"),
                *("--cert-out", str(ca)),
                log=kit.folder / "server.log",
            )
        )
        facts = json.loads(server.stdout.readline() or "{}")
        if not facts:
            raise SystemExit((kit.folder / "server.log").read_text())
        proxy = stack.enter_context(
            started(
                *("proxy", "--upstream", f"https://{facts['addresses'][0]}", "--ca", str(ca)),
                *("--listen", f"localhost:{REST}", "--insecure-no-attestation"),
                *("--client-cert", certificate),
                log=kit.folder / "proxy.log",
            )
        )
        if not proxy.stdout.readline():
            raise SystemExit((kit.folder / "proxy.log").read_text())
        stack.enter_context(relaying(GRPC, facts["grpc_addresses"][0], ca, certificate))
        yield server.pid


@contextmanager
def started(*arguments: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Start `inferonnx`, and end it."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "inferonnx", *arguments],
            stdout=subprocess.PIPE, stderr=file, text=True,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(START_S)
        finally:
            process.kill()
            process.stdout.close()


@contextmanager
def relaying(port: int, upstream: str, ca: Path, certificate: str) -> Iterator[None]:
    """Take plaintext at a port of this machine and hand it on over TLS, as it is."""
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2"])
    host, _, number = upstream.rpartition(":")
    ready = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    stop = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(
                host, int(number), ssl=context, server_hostname="localhost"
            )
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    async def run() -> None:
        servers = await asyncio.start_server(relay, "localhost", port)
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()
        servers.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    if not ready.wait(START_S):
        raise SystemExit(f"port {port} is in use")
    try:
        yield
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(START_S)
