"""Ask the server something before anybody else can.

What a first request touches (code of TLS, HTTP and the codecs, heaps of threads) stays
resident. It is touched before the floor is measured, or a budget that was divided
without it would be broken by the first clients.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.oip import (
    InferRequest,
    InferResponse,
    NamedTensor,
    WantedOutput,
    encode_infer_request,
    encode_infer_response,
    parse_infer_request,
)
from inferonnx.server.connection import Connection, ReceiveBuffer
from inferonnx.server.peer import ClientGoneError, Peer
from inferonnx.tensors import DType, Tensor

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from inferonnx.server.identity import Identity
    from inferonnx.server.listener import Service

_REQUESTS = (
    b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    b"POST /v2/models/none/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\n{}"
)

PATIENCE_S = 10
"""For an exchange within one process; a machine so slow is not refused, only measured worse."""


async def exercise(
    service: Service, identity: Identity, threads: Executor, *, n_threads: int
) -> None:
    """Serve a few requests over TLS and the codecs, within this process.

    A server that asks clients for certificates refuses this one at the handshake;
    what is touched until then counts.

    Args:
        service: That answers.
        identity: Whose certificate is shown.
        threads: Those that will run passes; each is started.
        n_threads: How many.
    """
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    connection = Connection(
        identity.context("http/1.1"), Peer(address="127.0.0.1", port=0), ReceiveBuffer()
    )
    ours.setblocking(False)
    asking = asyncio.ensure_future(asyncio.to_thread(_ask, theirs, identity.certificate_pem))
    with suppress(OSError, ClientGoneError, TimeoutError):
        await loop.connect_accepted_socket(lambda: connection, ours)
        async with asyncio.timeout(PATIENCE_S):
            await connection.handshake()
            await service.serve(connection)
    connection.abort()
    await asking
    started = asyncio.Barrier(n_threads + 1)

    def occupy() -> None:
        _code()
        asyncio.run_coroutine_threadsafe(started.wait(), loop).result(PATIENCE_S)

    work = (loop.run_in_executor(threads, occupy) for _ in range(n_threads))
    await asyncio.gather(started.wait(), *work)  # who fails is not waited for at the barrier


def _ask(sock: socket.socket, certificate_pem: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is ourselves that we ask, over a pair of sockets
    with suppress(OSError), sock:
        context.load_verify_locations(cadata=certificate_pem.decode())
        sock.settimeout(PATIENCE_S)
        with context.wrap_socket(sock) as tls:
            tls.sendall(_REQUESTS)
            while tls.recv(4096):
                pass


def _code() -> None:
    """Take a small request through the codecs, in JSON and in binary form."""
    tensor = Tensor(dtype=DType.FLOAT, shape=(2,), data=bytes(8))
    named = NamedTensor(name="x", tensor=tensor)
    for names in ((), ("x",)):
        request = InferRequest(
            model_name="none",
            inputs=(named,),
            outputs=(WantedOutput(name="x", binary=not names),),
        )
        pieces, length = encode_infer_request(request, json_inputs=names)
        body = memoryview(b"".join(pieces))
        parse_infer_request(body, model_name="none", header_length=length)
        encode_infer_response(InferResponse(model_name="none", outputs=(named,)), request)
