"""The parts of a server around an engine that is simulated: answers at once, or when told."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from inferonnx.control import NonceBook, ServerConfig
from inferonnx.crypto import Secret
from inferonnx.errors import EngineError
from inferonnx.oip import make_signature
from inferonnx.sealed import ValueInfo
from inferonnx.server.context import Context
from inferonnx.server.ledger import Ledger
from inferonnx.server.models import Models
from inferonnx.server.pool import Pool
from inferonnx.server.ports import ModelFacts, Residency
from inferonnx.server.scheduler import QueueLimits
from inferonnx.server.stored import StoredModel
from inferonnx.server.threads import PassThreads
from inferonnx.sizes import MIB
from serving.running import PATIENCE_S


class Engine:
    """Opens models that give back what they are given.

    Attributes:
        gate: While it is not set, models compute.
        n_runs: How often one has begun to.
        stops: What would end each of these runs.
    """

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.n_runs = 0
        self.stops = []
        self.error = None

    def facts(self, path, data_key, **_more):
        kind = os.path.basename(path)
        like = {"type": f"tensor({kind})", "shape": ("batch", None)}
        value, result = ValueInfo(name="x", **like), ValueInfo(name="y", **like)
        return ModelFacts(
            name=kind,
            signature=make_signature((value,), (result,)),
            least_bytes=MIB,
            full_bytes=MIB,
            pass_bytes=0,
            is_batchable=False,
        )

    def open(self, path, data_key, **_more):
        return Echo(self)


class Echo:
    """An open model."""

    residency = Residency(*[0] * len(Residency._fields))
    opened_bytes = 0

    def __init__(self, engine):
        self.engine = engine

    def run(self, inputs, stop):
        self.engine.n_runs += 1
        self.engine.stops.append(stop)
        assert self.engine.gate.wait(PATIENCE_S)
        if self.engine.error is not None:
            raise EngineError(self.engine.error)
        return list(inputs.values())

    def fits(self, shapes):
        return True

    def close(self):
        pass


class Parts:
    """A context with its engine; `unlock` its models in the server's loop."""

    def __init__(self, *, ledger_bytes=1 << 30, queue=64, **config):
        self.engine = Engine()
        self.threads = ThreadPoolExecutor(4)
        self.pool = Pool(self.engine, total_bytes=64 * MIB, concurrency=2)
        limits = QueueLimits(n_waiting=queue)
        self.models = Models(self.pool, limits, PassThreads(self.threads, n_shared=4))
        self.ledger = Ledger(ledger_bytes)
        self.context = Context(
            config=ServerConfig(models="nowhere", **{"allow_anonymous_infer": True, **config}),
            config_digest=bytes(32),
            identity=None,
            nonces=NonceBook(Secret(os.urandom(32))),
            repository=None,
            uploads=None,
            pool=self.pool,
            models=self.models,
            ledger=self.ledger,
            clock_s=time.time,
            ticks_s=time.monotonic,
            version="0",
        )

    async def unlock(self, *kinds, versions=(1,)):
        """Make ready models whose only input and output have these types."""
        for kind in kinds:
            for version in versions:
                self.add(kind, version)
                await self.models.unlock(kind, version, Secret(bytes(32)))

    def add(self, kind, version=1, **facts):
        self.models.add(StoredModel(name=kind, version=version, path=f"/nowhere/{kind}", **facts))

    def close(self):
        self.engine.gate.set()
        self.threads.shutdown()
