"""What gRPC costs through our own stack and through grpcio: memory, threads, CPU.

`python -m inferonnx.bench.grpc_stacks [SECONDS]` starts each server in a process of its
own, sends messages of several sizes over TLS from another one, eight channels at a
time, and reads the server's memory and CPU from outside. Both servers do the same
with a message: nothing, but for an answer of 4 KiB. Each process has loaded what
`serve` has beside gRPC. A second table has what our connections and calls hold.
Needs grpcio, which the tests bring.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from inferonnx.runtime import children
from inferonnx.sizes import KIB, MIB

if TYPE_CHECKING:
    from inferonnx.server.grpc.stream import Stream

METHOD, HOLD = "/bench.Bench/Ask", "/bench.Bench/Hold"
ANSWER = bytes(4096)
SIZES = (602_112, 1024)
"""A float32 image of 3 x 224 x 224, and next to nothing."""

N_CHANNELS = 8
SECONDS = 5.0
STACKS = ("ours", "grpcio", "grpcio aio")

N_HELD = 60
"""Connections, or calls of one, that are held open to see what they take."""


def main() -> int:
    """Serve, ask, or measure who does."""
    match sys.argv[1:]:
        case ["serve", stack, folder]:
            _serve(stack, folder)
        case ["ask", port, folder, n_bytes, seconds]:
            _say(str(_ask(int(port), folder, int(n_bytes), float(seconds))))
        case ["hold", port, folder, n_channels, n_calls]:
            _hold(int(port), folder, int(n_channels), int(n_calls))
        case rest:
            _measure(float(rest[0]) if rest else SECONDS)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# Servers.


def _serve(stack: str, folder: str) -> None:
    import inferonnx.app.host.serve  # noqa: F401 - what serve has loaded anyway

    match stack:
        case "ours":
            asyncio.run(_serve_ours(folder))
        case "grpcio":
            _serve_grpcio(folder)
        case _:
            asyncio.run(_serve_grpcio_aio(folder))


async def _serve_ours(folder: str) -> None:
    import inferonnx.server.grpc.service  # noqa: F401 - with the messages' runtime
    from inferonnx.server.grpc.commons import Commons
    from inferonnx.server.grpc.connection import GrpcConnection
    from inferonnx.server.grpc.stream import Stream
    from inferonnx.server.identity import TlsSettings, given_identity
    from inferonnx.server.ledger import Ledger
    from inferonnx.server.limits import ConnectionLimits, HttpLimits
    from inferonnx.server.listener import Listener
    from inferonnx.server.messages import ExchangeFigures
    from inferonnx.server.observer import Observer

    commons, ledger, limits = Commons(), Ledger(1 << 30), HttpLimits()

    def begin(carrier: GrpcConnection, number: int, fields: list[tuple[bytes, bytes]]) -> Stream:
        return Stream(
            number,
            fields,
            peer=carrier.connection.peer,
            sender=carrier.sender,
            windows=carrier.windows,
            ledger=ledger,
            commons=commons,
            limits=limits,
            figures=ExchangeFigures(number=number),
        )

    class Service:
        async def serve(self, connection: Any) -> None:
            await GrpcConnection(
                connection,
                begin=begin,
                handle=_answer,
                commons=commons,
                limits=limits,
                observer=Observer(),
            ).run()

        def drain(self) -> None:
            pass

    identity = given_identity(*_pem(folder), settings=TlsSettings())
    listener = Listener(Service(), identity=identity, limits=ConnectionLimits(), protocol="h2")
    await listener.open("127.0.0.1", 0)
    _say(str(listener.addresses[0][1]))
    await asyncio.Event().wait()


async def _answer(stream: Stream) -> None:
    if (b":path", HOLD.encode()) in stream.fields:
        await stream.next_message(is_patient=True)
        stream.finish(0)
        return
    await stream.only_message()
    await stream.send([ANSWER])
    stream.finish(0)


def _pem(folder: str) -> tuple[bytes, bytes]:
    found = []
    for name in ("cert.pem", "key.pem"):
        with open(os.path.join(folder, name), "rb") as file:
            found.append(file.read())
    return found[0], found[1]


def _handlers(answer: Any) -> Any:
    import grpc

    handler = grpc.unary_unary_rpc_method_handler(answer)  # bytes in, bytes out
    return grpc.method_handlers_generic_handler("bench.Bench", {"Ask": handler})


def _serve_grpcio(folder: str) -> None:
    import grpc

    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_handlers(lambda _data, _context: ANSWER),))
    certificate, key = _pem(folder)
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    _say(str(server.add_secure_port("127.0.0.1:0", credentials)))
    server.start()
    server.wait_for_termination()


async def _serve_grpcio_aio(folder: str) -> None:
    import grpc

    async def answer(_data: bytes, _context: Any) -> bytes:
        return ANSWER

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_handlers(answer),))
    certificate, key = _pem(folder)
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    _say(str(server.add_secure_port("127.0.0.1:0", credentials)))
    await server.start()
    await server.wait_for_termination()


# The client.


def _ask(port: int, folder: str, n_bytes: int, seconds: float) -> int:
    """Return how many answers came."""
    import grpc

    credentials = grpc.ssl_channel_credentials(_pem(folder)[0])
    data, counts = bytes(n_bytes), [0] * N_CHANNELS

    def ask(i: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        with grpc.secure_channel(f"localhost:{port}", credentials, options) as channel:
            call = channel.unary_unary(METHOD)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if len(call(data, timeout=60)) == len(ANSWER):
                    counts[i] += 1

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(N_CHANNELS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def _hold(port: int, folder: str, n_channels: int, n_calls: int) -> None:
    """Open channels, and calls on the first of them; end with standard input."""
    import grpc

    credentials = grpc.ssl_channel_credentials(_pem(folder)[0])
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.secure_channel(f"localhost:{port}", credentials, options) for _ in range(n_channels)
    ]
    for channel in channels:
        channel.unary_unary(METHOD)(b"", timeout=60)
    end = threading.Event()

    def requests() -> Any:
        end.wait()
        yield from ()

    calls = [channels[0].stream_stream(HOLD)(requests()) for _ in range(n_calls)]
    time.sleep(1)
    _say("held")
    sys.stdin.read()
    end.set()
    for call in calls:
        call.cancel()


# Measuring.


def _measure(seconds: float) -> None:
    _say("| stack | bytes | idle MiB | peak MiB | threads | CPU ms/request | requests/s |")
    _say("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        _make_certificate(folder)
        for stack in STACKS:
            for n_bytes in SIZES:
                _say(_row(stack, n_bytes, folder, seconds))
        _say("\n| held open | KiB each |\n|---|---|")
        _say(f"| connection | {_held(N_HELD, 0, folder) / N_HELD:.1f} |")
        grown = _held(1, N_HELD, folder) - _held(1, 0, folder)
        _say(f"| call | {grown / N_HELD:.1f} |")


def _held(n_channels: int, n_calls: int, folder: str) -> float:
    """Return by how many KiB our server grows."""
    me = [sys.executable, "-m", "inferonnx.bench.grpc_stacks"]
    pipe = subprocess.PIPE
    with subprocess.Popen([*me, "serve", "ours", folder], stdout=pipe, text=True) as server:
        try:
            port = (server.stdout.readline() if server.stdout else "").strip()
            subprocess.run([*me, "ask", port, folder, "1024", "1"], check=True, capture_output=True)
            time.sleep(0.5)
            before = children.status(server.pid, "VmRSS")
            hold = [*me, "hold", port, folder, str(n_channels), str(n_calls)]
            with subprocess.Popen(hold, stdin=pipe, stdout=pipe, text=True) as client:
                if client.stdout:
                    client.stdout.readline()
                return (children.status(server.pid, "VmRSS") - before) / KIB
        finally:
            server.terminate()


def _make_certificate(folder: str) -> None:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost "
        "-keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def _row(stack: str, n_bytes: int, folder: str, seconds: float) -> str:
    me = [sys.executable, "-m", "inferonnx.bench.grpc_stacks"]
    with subprocess.Popen(
        [*me, "serve", stack, folder], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = (server.stdout.readline() if server.stdout else "").strip()
            time.sleep(0.5)
            idle = children.status(server.pid, "VmRSS")
            ask = [*me, "ask", port, folder, str(n_bytes)]
            subprocess.run([*ask, "1"], check=True, capture_output=True)  # warm up
            before = children.cpu_s(server.pid)
            done = subprocess.run([*ask, str(seconds)], check=True, capture_output=True, text=True)
            n, cpu_s = int(done.stdout), children.cpu_s(server.pid) - before
            peak = children.status(server.pid, "VmHWM")
            threads = children.status(server.pid, "Threads")
        finally:
            server.terminate()
    return (
        f"| {stack} | {n_bytes} | {idle / MIB:.1f} | {peak / MIB:.1f} | {threads} "
        f"| {cpu_s / n * 1e3:.2f} | {n / seconds:.0f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
