"""What a request for an inference holds of the memory for requests, and when it lets go."""

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pytest

from inferonnx.oip import InferRequest, NamedTensor, encode_infer_request, most_written_bytes
from inferonnx.server import endpoints_oip, writing
from inferonnx.server.answers import REPLY_BYTES, SLOW_BYTES
from inferonnx.server.api import Api
from inferonnx.tensors import as_tensor
from serving.running import PATIENCE_S, Server, until
from serving.simulated import Parts

INFER = "/v2/models/float/infer"


class Rest(Server):
    """A server whose models give back what they are given.

    Attributes:
        written: What was held when each reply was written, and the most that it could be.
        there: What was held when it was there, and how long it was.
    """

    def __init__(self, folder):
        self.parts = Parts(ledger_bytes=64 << 20)
        self.written, self.there = [], []
        api = Api(self.parts.context)

        async def handle(server, exchange):
            reply = await api.handle(exchange)
            n_bytes = sum(memoryview(piece).nbytes for piece in reply.pieces)
            self.there.append((exchange.reservation.n_bytes, n_bytes))
            return reply

        super().__init__(folder, handle)
        self.run(self.parts.unlock("float"))

    def stop(self):
        super().stop()
        self.parts.close()
        assert self.parts.ledger.used_bytes == 0


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Rest(tmp_path)
    write = writing._whole

    def watched(request, response):
        most_bytes = most_written_bytes(response, request)
        server.written.append((server.parts.ledger.used_bytes, most_bytes))
        return write(request, response)

    monkeypatch.setattr(writing, "_whole", watched)
    yield server
    server.stop()


def ask(server, n_values):
    """Ask by binary tensors for an answer in JSON."""
    tensor = as_tensor(np.zeros((1, n_values), np.float32))
    request = InferRequest(model_name="float", inputs=(NamedTensor(name="x", tensor=tensor),))
    pieces, length = encode_infer_request(request)
    client = server.client()
    header = {"Inference-Header-Content-Length": str(length)}
    client.request("POST", INFER, b"".join(pieces), header)
    return client, client.getresponse()


@pytest.mark.parametrize("n_values", [10, SLOW_BYTES])
def test_a_reply_is_held_before_it_is_written_and_as_it_is_then(server, n_values):
    client, reply = ask(server, n_values)
    (given,) = json.loads(reply.read())["outputs"]
    assert given["data"] == [0.0] * n_values
    client.close()
    ((held_bytes, most_bytes),) = server.written
    assert held_bytes >= most_bytes + REPLY_BYTES
    ((held_bytes, n_bytes),) = server.there
    assert held_bytes == n_bytes + REPLY_BYTES


def test_a_client_that_leaves_is_computed_for_no_more(server):
    server.parts.engine.gate.clear()
    queue = server.parts.models.find("float", 1).queue
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}
    ).encode()
    leaving = [server.raw() for _ in range(server.parts.pool.concurrency + 1)]
    for sock in leaving:
        sock.sendall(
            b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s"
            % (INFER.encode(), len(body), body)
        )
    until(lambda: server.parts.engine.n_runs == server.parts.pool.concurrency)
    until(lambda: queue.statistics.n_pending == len(leaving))
    stops = server.parts.engine.stops
    assert not any(stop.is_set for stop in stops)
    for sock in leaving:
        sock.close()
    until(lambda: all(stop.is_set for stop in stops))
    until(lambda: queue.statistics.n_pending == len(stops))  # who waited has gone at once
    server.parts.engine.gate.set()
    until(lambda: not queue.statistics.n_pending)
    assert server.parts.engine.n_runs == len(stops)


def test_a_handler_that_is_interrupted_takes_its_work_along():
    ended = []

    async def work():
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            ended.append(True)

    async def main():
        call = SimpleNamespace(exchange=SimpleNamespace(gone=asyncio.Event()))
        handling = asyncio.ensure_future(endpoints_oip.unless_gone(call, work()))
        await asyncio.sleep(0.01)
        handling.cancel()
        await asyncio.wait((handling,))
        await asyncio.sleep(0)
        return list(ended)

    assert asyncio.run(main()) == [True]
