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

from inferonnx.app.host.keys import Key
from inferonnx.app.host.serving import EngineOpener, warm_up
from inferonnx.control import SECRET_BYTES, NonceBook, config_digest, encode_config
from inferonnx.crypto import Secret, sha256
from inferonnx.errors import InfeasibleBudgetError, InferonnxError, UnavailableError
from inferonnx.runtime import process
from inferonnx.runtime.files import FileSource, read_file
from inferonnx.runtime.tee import Tee, find_tee
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sealed import HEADER_BYTES, parse_header, verify_header
from inferonnx.server.api import Api
from inferonnx.server.context import Context
from inferonnx.server.exercise import exercise
from inferonnx.server.http import HttpService
from inferonnx.server.identity import Identity, TlsSettings, born_identity, given_identity
from inferonnx.server.ledger import Ledger
from inferonnx.server.limits import ConnectionLimits, HttpLimits
from inferonnx.server.listener import Listener
from inferonnx.server.models import Models
from inferonnx.server.pool import Pool
from inferonnx.server.repository import Repository
from inferonnx.server.scheduler import QueueLimits
from inferonnx.server.telling import LogObserver, tell_pass
from inferonnx.server.upkeep import EXPIRY_CHECK_S, expire_uploads
from inferonnx.server.uploads import Uploads
from inferonnx.sizes import KIB, MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.control import ServerConfig
    from inferonnx.control.kinds import Address
    from inferonnx.server.context import Page
    from inferonnx.server.log import Log
    from inferonnx.server.observer import Observer
    from inferonnx.server.stored import StoredModel

CONNECTION_BYTES = 36 * KIB
"""An idle TLS connection (docs/serving.md, "Memory")."""

REQUEST_SHARE = 16
LEAST_REQUEST_BYTES = 4 * MIB
"""Requests may hold a sixteenth of the budget, or this: eight images of 224 x 224 in FP32."""

DAY_S = 86_400

SLACK_BYTES = MIB
"""What heaps differ by from run to run."""


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
        _refuse_swap()
        self._key = _load_key(config)
        self.identity = _make_identity(config)
        self._repository = Repository(config.models)
        self._opener = EngineOpener(
            threads=config.threads,
            page_drop=config.page_drop,
            spin=False,  # the loop, TLS and other models want the cores that spinning takes
            resident=config.resident,
            on_event=partial(tell_pass, log) if log.writes("debug") else None,
        )
        if config.grpc is not None:
            _load_grpc()
        warm_up(page_drop=config.page_drop)

    async def run(self, *, started: Callable[[Started], None], stop: asyncio.Event) -> bool:
        """Serve until `stop` is set, then let running requests finish.

        Args:
            started: Told once, when requests are answered.
            stop: Ends the server.

        Returns:
            Whether they have: else threads still compute, and the caller ends the process.
        """
        config = self.config
        async with AsyncExitStack() as stack:
            stack.callback(self._repository.close)
            threads = ThreadPoolExecutor(config.concurrency + 1, "inferonnx-pass")
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
            # Nothing may be held before it is known what there is.
            pool = Pool(
                self._opener,
                total_bytes=0,
                concurrency=config.concurrency,
                n_rows=config.max_batch,
            )
            stack.push_async_callback(pool.close)
            models = Models(
                pool,
                QueueLimits(
                    n_waiting=config.max_queue,
                    n_rows=config.max_batch,
                    delay_s=config.batch_delay_us / 1e6,
                ),
                threads,
            )
            requests_bytes = _requests_bytes(config)
            context = self._context(pool, models, Ledger(requests_bytes))
            api = Api(context)
            quiet = HttpService(api.handle, limits=_http_limits(config, requests_bytes), linger_s=5)
            await exercise(quiet, self.identity, threads, n_threads=config.concurrency + 1)
            floor = process.resident_bytes() or 0
            models_bytes = pool.total_bytes = _models_bytes(config, floor)
            least = await self._load_models(context)
            observer = LogObserver(self._log)
            service = HttpService(
                api.handle,
                limits=_http_limits(config, requests_bytes),
                linger_s=5,
                observer=observer,
            )
            listener = Listener(
                service,
                identity=self.identity,
                limits=_connection_limits(config),
                observer=observer,
            )
            listeners = [listener]
            await listener.open(config.listen.host, config.listen.port)
            stack.push_async_callback(listener.abort)
            if config.grpc is not None:
                listeners.append(await self._open_grpc(context, config.grpc, observer))
                stack.push_async_callback(listeners[-1].abort)
            expiring = asyncio.create_task(
                expire_uploads(context.uploads, every_s=min(EXPIRY_CHECK_S, config.upload_expiry_s))
            )
            stack.callback(expiring.cancel)
            context.n_connections = lambda: sum(one.n_connections for one in listeners)
            if config.cert_out is not None:
                with whole_file(config.cert_out) as file:
                    file.write(self.identity.certificate_pem)
            started(
                Started(
                    addresses=listener.addresses,
                    grpc_addresses=tuple(a for one in listeners[1:] for a in one.addresses),
                    public_key_hash=self.identity.public_key_hash,
                    config_digest=context.config_digest,
                    memory_bytes=config.memory_bytes,
                    floor_bytes=floor,
                    models_bytes=models_bytes,
                    requests_bytes=requests_bytes,
                    least_bytes=None
                    if least is None
                    else config.memory_bytes - models_bytes + least,
                    states=_counted(models),
                )
            )
            await stop.wait()
            context.is_draining = True
            try:
                async with asyncio.timeout(config.drain_timeout_s):
                    await asyncio.gather(*(one.drain() for one in listeners))
                    await models.finish()
            except TimeoutError:
                self._log.event("drain_timeout", level="warning")
                stack.pop_all()  # to close a model is to wait for what runs on it
                return False
        return True

    async def _open_grpc(self, context: Context, address: Address, observer: Observer) -> Listener:
        """Return a listener that speaks gRPC, open."""
        from inferonnx.server.grpc import GrpcService

        config = self.config
        service = GrpcService(
            context,
            limits=_http_limits(config, context.ledger.total_bytes),
            linger_s=5,
            observer=observer,
        )
        listener = Listener(
            service,
            identity=self.identity,
            limits=_connection_limits(config),
            protocol="h2",
            observer=observer,
        )
        await listener.open(address.host, address.port)
        return listener

    def _context(self, pool: Pool, models: Models, ledger: Ledger) -> Context:
        config = self.config
        return Context(
            config=config,
            config_digest=config_digest(
                encode_config(
                    config,
                    client_ca_sha256=_file_hash(config.client_ca),
                    tls_cert_sha256=_file_hash(config.tls_cert),
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
            version=self._version,
            page=self._page,
            owner=config.owner,
            started_s=time.time(),
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
            view = await models.unlock(stored.name, stored.version, _data_key(stored.path, key))
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
    if stored.problem or owner in (None, stored.owner):
        return stored
    return replace(stored, problem="it belongs to another owner than the one of this server")


def _requests_bytes(config: ServerConfig) -> int:
    """Return what requests may hold."""
    return max(LEAST_REQUEST_BYTES, config.memory_bytes // REQUEST_SHARE)


def _models_bytes(config: ServerConfig, floor: int) -> int:
    """Return what models may hold, beside floor, connections and requests."""
    connections = config.max_connections * CONNECTION_BYTES
    others = floor + _requests_bytes(config) + connections + SLACK_BYTES
    if config.grpc is not None:
        from inferonnx.server.grpc import reserved_bytes

        others += reserved_bytes(config.max_connections, CONNECTION_BYTES)
    if others >= config.memory_bytes:
        raise InfeasibleBudgetError(
            f"the server alone needs {format_size(others)}, and the budget is "
            f"{format_size(config.memory_bytes)}",
            needed_bytes=others,
            budget_bytes=config.memory_bytes,
            hint="Give it more with --memory: models come on top.",
        )
    return config.memory_bytes - others


def _connection_limits(config: ServerConfig) -> ConnectionLimits:
    return ConnectionLimits(
        n_connections=config.max_connections,
        n_per_address=config.max_connections_per_address or 0,
        handshake_s=config.handshake_timeout_s,
    )


def _http_limits(config: ServerConfig, requests_bytes: int) -> HttpLimits:
    return HttpLimits(
        head_bytes=config.max_header_bytes,
        n_fields=config.max_headers,
        body_bytes=min(config.max_body_bytes, requests_bytes),
        upload_bytes=config.quota_bytes,
        n_chunks=config.max_chunks,
        idle_s=config.idle_timeout_s,
        head_s=config.header_timeout_s,
        reply_s=config.reply_timeout_s,
        bytes_per_s=config.min_body_rate_bytes,
        body_s=config.body_timeout_s,
    )


def _make_identity(config: ServerConfig) -> Identity:
    settings = TlsSettings(
        is_1_2_allowed=config.tls_min == "1.2",
        client_ca_pem=(
            read_file(config.client_ca, limit_bytes=MIB).decode("ascii", "replace")
            if config.client_ca
            else ""
        ),
    )
    if config.tls_cert is not None and config.tls_key is not None:
        return given_identity(
            read_file(config.tls_cert, limit_bytes=MIB),
            read_file(config.tls_key, limit_bytes=MIB),
            settings=settings,
        )
    return born_identity(
        config.tls_san,
        settings=settings,
        now_s=int(time.time()),
        random=os.urandom(16),
        validity_s=config.certificate_days * DAY_S,
    )


def _load_key(config: ServerConfig) -> Key | None:
    if config.key is None:
        return None
    passphrase = None
    if config.passphrase_file is not None:
        content = read_file(config.passphrase_file, limit_bytes=64 * KIB)
        passphrase = content.decode().split("\n", 1)[0]
    return Key.load(config.key, passphrase=passphrase)


def _data_key(path: str, key: Key) -> Secret:
    source = FileSource(path)
    try:
        header = parse_header(source.read(0, min(HEADER_BYTES, source.size)))
    finally:
        source.close()
    return key.data_key(verify_header(header))


def _file_hash(path: str | None) -> bytes | None:
    return None if path is None else sha256(read_file(path, limit_bytes=MIB))


def _counted(models: Models) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for view in models.views():
        counts[view.state] = counts.get(view.state, 0) + 1
    return counts


def _load_grpc() -> None:
    """Load what speaks gRPC: before the floor is measured, and only where it is asked for.

    Raises:
        UnavailableError: It is not installed.
    """
    try:
        import inferonnx.server.grpc  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("inferonnx"):
            raise
        raise UnavailableError(
            f"gRPC needs the packages h2 and protobuf, and {error.name!r} can't be imported",
            hint="Install them: pip install 'inferonnx[grpc]'.",
        ) from error


def _refuse_swap() -> None:
    """Refuse to serve inside a confidential VM that swaps: its disk is the host's.

    Raises:
        UnavailableError: There is swap.
    """
    tee = find_tee()
    if tee in (Tee.TDX, Tee.SEV_SNP) and process.has_swap():
        raise UnavailableError(
            f"this is {tee.value} with swap, and swapped pages lie on the host's disk",
            hint="Switch swap off: `swapoff -a`.",
        )
