"""A server from its configuration: every part made, wired, started, drained.

Order matters for memory: the runtime is loaded, then let go, before the floor is
measured, so that what is left of the budget for models is true.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.app.host.division import least_budget, models_bytes, requests_bytes
from inferonnx.app.host.serving import EngineOpener, warm_up
from inferonnx.app.host.settings import (
    connection_limits,
    data_key,
    file_hash,
    http_limits,
    load_grpc,
    load_key,
    make_identity,
    refuse_swap,
)
from inferonnx.control import SECRET_BYTES, NonceBook, config_digest, encode_config
from inferonnx.crypto import Secret
from inferonnx.errors import InfeasibleBudgetError, InferonnxError, OwnerRefusedError
from inferonnx.runtime import process
from inferonnx.runtime.whole_files import whole_file
from inferonnx.server.api import Api
from inferonnx.server.context import Context
from inferonnx.server.exercise import exercise
from inferonnx.server.http import HttpService
from inferonnx.server.ledger import Ledger
from inferonnx.server.listener import Listener
from inferonnx.server.models import Models
from inferonnx.server.pool import Pool
from inferonnx.server.repository import Repository
from inferonnx.server.scheduler import QueueLimits
from inferonnx.server.telling import LogObserver, tell_overdue, tell_pass
from inferonnx.server.threads import PassThreads
from inferonnx.server.upkeep import EXPIRY_CHECK_S, expire_uploads
from inferonnx.server.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferonnx.app.host.keys import Key
    from inferonnx.app.host.target import Later
    from inferonnx.control import ServerConfig
    from inferonnx.control.kinds import Address
    from inferonnx.server.context import Page
    from inferonnx.server.listener import Service
    from inferonnx.server.log import Log
    from inferonnx.server.stored import StoredModel


class Started(NamedTuple):
    """What a server says when it answers: addresses, identity, memory, models by state."""

    addresses: tuple[tuple[str, int], ...]
    grpc_addresses: tuple[tuple[str, int], ...]
    public_key_hash: bytes
    config_digest: bytes
    memory_bytes: int
    floor_bytes: int
    models_bytes: int
    requests_bytes: int
    least_bytes: int | None
    server_bytes: int
    states: Mapping[str, int]


class Server:
    """One running server."""

    def __init__(
        self, config: ServerConfig, log: Log, *, version: str, page: Page | None = None
    ) -> None:
        """Make what needs no event loop.

        Args:
            config: Effective configuration.
            log: Where events go.
            version: Of this software, for clients.
            page: What is shown to browsers, if anything.

        Raises:
            InfeasibleBudgetError: The budget does not hold the server itself.
            UsageError, UnavailableError: A file or folder of the configuration is wrong.
        """
        self.config = config
        self._log = log
        self._version = version
        self._page = page
        process.forbid_core_dumps()
        process.limit_heaps()
        refuse_swap()
        self._key = load_key(config)
        self.identity = make_identity(config)
        self._repository = Repository(config.models)
        self._opener = EngineOpener(
            threads=config.threads,
            page_drop=config.page_drop,
            spin=False,  # the loop, TLS and other models want the cores that spinning takes
            resident=config.resident,
            on_event=partial(tell_pass, log) if log.writes("debug") else None,
        )
        if config.grpc is not None:
            load_grpc()
        warm_up(page_drop=config.page_drop)

    async def run(self, *, started: Callable[[Started], None], stop: asyncio.Event) -> bool:
        """Serve until `stop` is set, then let running requests finish.

        Args:
            started: Told once, when requests are answered.
            stop: Ends the server.

        Returns:
            Whether they have: else threads still compute, and the caller ends the process.
        """
        async with AsyncExitStack() as stack:
            stack.callback(self._repository.close)
            context, threads = self._wired(stack)
            api = Api(context)
            floor = await self._floor(api, context, threads)
            context.pool.total_bytes = models_bytes(self.config, floor)
            self._opener.arena_limit_bytes = context.pool.total_bytes
            self._opener.later = _later(asyncio.get_running_loop())
            least = await self._load_models(context)
            listeners = await self._open_listeners(api, context, stack)
            context.n_connections = lambda: sum(one.n_connections for one in listeners)
            expiry_s = min(EXPIRY_CHECK_S, self.config.upload_expiry_s)
            expiring = asyncio.create_task(expire_uploads(context.uploads, every_s=expiry_s))
            stack.callback(expiring.cancel)
            if self.config.cert_out is not None:
                with whole_file(self.config.cert_out) as file:
                    file.write(self.identity.certificate_pem)
            started(self._facts(context, listeners, floor, least))
            await stop.wait()
            if not await self._drain(context, listeners):
                stack.pop_all()  # to close a model is to wait for what runs on it
                return False
        return True

    def _wired(self, stack: AsyncExitStack) -> tuple[Context, ThreadPoolExecutor]:
        """Return all parts but the listeners, and the threads of passes; closed with `stack`."""
        config = self.config
        n_threads = config.concurrency + 1
        threads = ThreadPoolExecutor(n_threads, "inferonnx-pass")
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        # Nothing may be held before it is known what there is.
        pool = Pool(
            self._opener, total_bytes=0, concurrency=config.concurrency, n_rows=config.max_batch
        )
        stack.push_async_callback(pool.close)
        queues = QueueLimits(
            n_waiting=config.max_queue,
            n_rows=config.max_batch,
            delay_s=config.batch_delay_us / 1e6,
        )
        overdue = partial(tell_overdue, self._log)
        shared = PassThreads(threads, n_shared=n_threads)
        models = Models(pool, queues, shared, overdue=overdue)
        return self._context(pool, models, Ledger(requests_bytes(config))), threads

    async def _floor(self, api: Api, context: Context, threads: ThreadPoolExecutor) -> int:
        """Return what the process holds when all that serves has been used once."""
        limits = http_limits(self.config, context.ledger.total_bytes)
        quiet = HttpService(api.handle, limits=limits, linger_s=5)
        await exercise(quiet, self.identity, threads, n_threads=self.config.concurrency + 1)
        return process.resident_bytes() or 0

    def _facts(
        self, context: Context, listeners: Sequence[Listener], floor: int, least: int | None
    ) -> Started:
        config, for_models = self.config, context.pool.total_bytes
        return Started(
            addresses=listeners[0].addresses,
            grpc_addresses=tuple(a for one in listeners[1:] for a in one.addresses),
            public_key_hash=self.identity.public_key_hash,
            config_digest=context.config_digest,
            memory_bytes=config.memory_bytes,
            floor_bytes=floor,
            models_bytes=for_models,
            requests_bytes=context.ledger.total_bytes,
            least_bytes=None if least is None else least_budget(config, for_models, least),
            server_bytes=least_budget(config, for_models, 0),
            states=_counted(context.models),
        )

    async def _open_listeners(
        self, api: Api, context: Context, stack: AsyncExitStack
    ) -> list[Listener]:
        """Return listeners for HTTP and, where it is served, gRPC; open until `stack` ends."""
        config, observer = self.config, LogObserver(self._log)
        limits = http_limits(config, context.ledger.total_bytes)
        http = HttpService(api.handle, limits=limits, linger_s=5, observer=observer)
        doors: list[tuple[Address, Service, str]] = [(config.listen, http, "http/1.1")]
        if config.grpc is not None:
            from inferonnx.server.grpc import GrpcService

            grpc = GrpcService(context, limits=limits, linger_s=5, observer=observer)
            doors.append((config.grpc, grpc, "h2"))
        listeners = []
        for address, service, protocol in doors:
            listener = Listener(
                service,
                identity=self.identity,
                limits=connection_limits(config),
                protocol=protocol,
                observer=observer,
            )
            await listener.open(address.host, address.port)
            stack.push_async_callback(listener.abort)
            listeners.append(listener)
        return listeners

    async def _drain(self, context: Context, listeners: Sequence[Listener]) -> bool:
        """Let running requests finish; return whether they have, in the time that is theirs."""
        context.is_draining = True
        try:
            async with asyncio.timeout(self.config.drain_timeout_s):
                await asyncio.gather(*(one.drain() for one in listeners))
                await context.models.finish()
        except TimeoutError:
            self._log.event("drain_timeout", level="warning")
            return False
        return True

    def _context(self, pool: Pool, models: Models, ledger: Ledger) -> Context:
        config = self.config
        return Context(
            config=config,
            config_digest=config_digest(
                encode_config(
                    config,
                    client_ca_sha256=file_hash(config.client_ca),
                    tls_cert_sha256=file_hash(config.tls_cert),
                )
            ),
            identity=self.identity,
            nonces=NonceBook(Secret(os.urandom(SECRET_BYTES))),
            repository=self._repository,
            uploads=Uploads(
                self._repository,
                quota_bytes=config.quota_bytes,
                max_uploads=config.max_uploads,
                expiry_s=config.upload_expiry_s,
                clock_s=time.time,
            ),
            pool=pool,
            models=models,
            ledger=ledger,
            clock_s=time.time,
            ticks_s=time.monotonic,
            version=self._version,
            page=self._page,
            owner=config.owner,
            started_s=time.monotonic(),
        )

    async def _load_models(self, context: Context) -> int | None:
        """Take in what is on disk; return the largest least share of those unlocked, if any."""
        least = None
        for found in self._repository.scan():
            stored = _obeyed(found, context.owner)
            context.models.add(stored)
            if stored.problem:
                self._log.event(
                    "model_unavailable",
                    level="warning",
                    model=stored.name,
                    version=stored.version,
                    error=stored.problem,
                )
            elif self._key is not None:
                needed = await self._unlock(context.models, stored, self._key)
                least = max(least or 0, needed) if needed else least
        return least

    async def _unlock(self, models: Models, stored: StoredModel, key: Key) -> int:
        """Unlock a model as its owner would, or say why not; return its least share, 0 unknown."""
        try:
            view = await models.unlock(stored.name, stored.version, data_key(stored.path, key))
        except InferonnxError as error:
            models.not_unlocked(stored.name, stored.version, error)
            self._log.event(
                "unlock_failed",
                level="warning",
                model=stored.name,
                version=stored.version,
                code=error.code,
                error=error.message,
            )
            return error.needed_bytes if isinstance(error, InfeasibleBudgetError) else 0
        return view.entry.facts.least_bytes if view.entry is not None else 0


def _obeyed(stored: StoredModel, owner: bytes | None) -> StoredModel:
    """Return a model as this owner's server has it: another owner's can't be unlocked here."""
    if stored.refusal is not None or owner in (None, stored.owner):
        return stored
    other = OwnerRefusedError("it belongs to another owner than the one of this server")
    return replace(stored, refusal=other)


def _counted(models: Models) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for view in models.views():
        counts[view.state] = counts.get(view.state, 0) + 1
    return counts


def _later(loop: asyncio.AbstractEventLoop) -> Later:
    def later(seconds: float, call: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(partial(loop.call_later, seconds, call))

    return later
