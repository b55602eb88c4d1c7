"""The Open Inference Protocol over REST: metadata, inference, repository, statistics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from inferonnx.errors import ModelNotReadyError
from inferonnx.oip import (
    HEADER_LENGTH_NAME,
    Limits,
    ModelSignature,
    RawRequest,
    UnsupportedError,
    check_request,
    encode_infer_response,
    make_response,
    parse_header_length,
    parse_infer_request,
    parse_model_version,
    resolve_raw,
    unknown_model,
)
from inferonnx.oip import messages as documents
from inferonnx.server import replies
from inferonnx.server.messages import Reply
from inferonnx.server.models import READY
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, TypeVar

    from inferonnx.oip import InferRequest
    from inferonnx.server.context import Call, Context
    from inferonnx.server.models import ModelView
    from inferonnx.server.scheduler import Answer

    T = TypeVar("T")

JSON_COST = 6
"""Bytes that parsing takes for one byte of JSON: FP32 as `0.1,` is four characters, and
as a list of Python's numbers for a moment 32 bytes; measured by `oip.json_data`."""

SLOW_JSON_BYTES = 128 * KIB
"""JSON beyond this is parsed in a thread: it would hold up all other connections."""

REPLY_BYTES = 64 * KIB
"""Reserved with each request for its reply; what is beyond is counted with the model."""


class OipEndpoints:
    """Answers of the protocol."""

    def __init__(self, context: Context) -> None:
        """Answer for one server."""
        self._context = context

    async def server_metadata(self, _call: Call) -> Reply:
        """Say name, version and extensions."""
        return replies.document(documents.server_metadata("inferonnx", self._context.version))

    async def live(self, _call: Call) -> Reply:
        """Say that the process answers."""
        return replies.document(documents.server_live(live=True))

    async def ready(self, _call: Call) -> Reply:
        """Say whether all models that could be ready are."""
        draining = self._context.is_draining
        broken = any(view.reason and view.state == READY for view in self._context.models.views())
        status = 503 if draining else 400 if broken else 200
        return replies.document(documents.server_ready(ready=status == 200), status=status)

    async def model_metadata(self, call: Call) -> Reply:
        """Say what a model takes and gives."""
        view, signature = self._ready(call)
        versions = self._context.models.ready_versions(view.stored.name)
        if call.segments.get("version"):
            versions = [view.stored.version]
        return replies.document(
            documents.model_metadata(view.stored.name, map(str, versions), signature)
        )

    async def model_ready(self, call: Call) -> Reply:
        """Say whether a model answers."""
        view = self._find(call)
        ready = view.state == READY
        return replies.document(
            documents.model_ready(view.stored.name, ready=ready), status=200 if ready else 400
        )

    async def model_config(self, call: Call) -> Reply:
        """Say how a model is served, in Triton's terms."""
        view, signature = self._ready(call)
        return replies.document(documents.model_config(view.stored.name, signature))

    async def model_statistics(self, call: Call) -> Reply:
        """Say what one model has done."""
        view = self._find(call)
        if call.segments.get("version"):
            views = [view]
        else:
            name = view.stored.name
            views = [v for v in self._context.models.views() if v.stored.name == name]
        return _statistics(views)

    async def all_statistics(self, _call: Call) -> Reply:
        """Say what all models have done."""
        return _statistics(self._context.models.views())

    async def infer(self, call: Call) -> Reply:
        """Compute an answer.

        The body is read only when the model is known to be ready, into memory that is
        reserved first; a client that leaves is computed for no more.
        """
        view, signature = self._ready(call)
        exchange = call.exchange
        exchange.figures.details |= {"model": view.stored.name, "version": view.stored.version}
        is_json = HEADER_LENGTH_NAME.lower() not in exchange.head.headers
        beside = REPLY_BYTES + (JSON_COST * (exchange.content_length or 0) if is_json else 0)
        body = await exchange.read_body(self._context.ledger, beside_bytes=beside)
        header_length = parse_header_length(
            exchange.head.headers.get(HEADER_LENGTH_NAME.lower()), len(body)
        )
        request = await self._parsed(call, view, body, header_length)
        if isinstance(request, RawRequest):
            request = resolve_raw(request, signature)
        inputs = check_request(request, signature)
        timeout_s = request.timeout_us / 1e6 or self._context.config.request_timeout_s
        answer = await unless_gone(call, view.queue.infer(inputs, timeout_s=timeout_s))
        exchange.figures.engine_s = answer.timing.infer_ns / 1e9
        return _infer_reply(request, signature, view, answer)

    async def _parsed(
        self, call: Call, view: ModelView, body: memoryview, header_length: int | None
    ) -> InferRequest | RawRequest:
        json_bytes = len(body) if header_length is None else header_length
        cost = JSON_COST * json_bytes + REPLY_BYTES
        reservation = call.exchange.reservation
        assert reservation is not None  # noqa: S101 - read_body made it
        beside = reservation.n_bytes - len(body)
        if cost > beside and not reservation.try_grow(cost - beside):
            raise ModelNotReadyError(
                "the server's memory is in use by other requests", hint="Try again later."
            )

        def parse() -> InferRequest | RawRequest:
            return parse_infer_request(
                body,
                header_length=header_length,
                model_name=view.stored.name,
                model_version=str(view.stored.version),
                limits=Limits(json_bytes=len(body), tensor_bytes=max(cost, beside)),
            )

        return parse() if json_bytes < SLOW_JSON_BYTES else await asyncio.to_thread(parse)

    async def generate(self, call: Call) -> Reply:
        """Refuse: no model here generates text."""
        self._find(call)
        raise UnsupportedError("generate is not supported: models here answer `infer`")

    async def index(self, call: Call) -> Reply:
        """List the repository."""
        from inferonnx.oip.repository import IndexEntry, parse_index_request, repository_index

        body = await call.exchange.read_body(self._context.ledger, limit_bytes=64 * KIB)
        entries = [
            IndexEntry(
                name=view.stored.name,
                version=str(view.stored.version),
                state="READY" if view.state == READY else "UNAVAILABLE",
                reason=view.reason,
            )
            for view in self._context.models.views()
        ]
        return replies.document(repository_index(entries, ready=parse_index_request(body)))

    async def load(self, call: Call) -> Reply:
        """Open a model that is unlocked."""
        from inferonnx.oip.repository import parse_load_request

        parse_load_request(
            await call.exchange.read_body(self._context.ledger, limit_bytes=1024 * KIB)
        )
        view = self._find(call)
        if view.state != READY:
            raise ModelNotReadyError(f"failed to load '{view.stored.name}': {view.reason}")
        await self._context.models.open(view.stored.name, view.stored.version)
        return replies.empty()

    async def unload(self, call: Call) -> Reply:
        """Lock all versions of a model: their keys are wiped."""
        from inferonnx.oip.repository import parse_unload_request

        parse_unload_request(
            await call.exchange.read_body(self._context.ledger, limit_bytes=64 * KIB)
        )
        name = self._find(call).stored.name
        for version in self._context.models.ready_versions(name):
            await self._context.models.lock(name, version)
        return replies.empty()

    async def load_elsewhere(self, _call: Call) -> Reply:
        """Refuse a repository's name: there is one."""
        raise UnsupportedError("'repository_name' specification is not supported")

    async def trace_settings(self, _call: Call) -> Reply:
        """Say that nothing is traced."""
        from inferonnx.oip.settings import trace_settings

        return replies.document(trace_settings())

    async def log_settings(self, _call: Call) -> Reply:
        """Say what is logged."""
        from inferonnx.oip.settings import log_settings

        return replies.document(log_settings())

    async def set_trace(self, call: Call) -> Reply:
        """Refuse to change what is traced."""
        from inferonnx.oip.settings import trace_settings

        return await self._unchanged(call, trace_settings())

    async def set_log(self, call: Call) -> Reply:
        """Refuse to change what is logged."""
        from inferonnx.oip.settings import log_settings

        return await self._unchanged(call, log_settings())

    async def _unchanged(self, call: Call, settings: dict[str, Any]) -> Reply:
        from inferonnx.oip.settings import check_settings, parse_settings

        body = await call.exchange.read_body(self._context.ledger, limit_bytes=64 * KIB)
        check_settings(parse_settings(body), settings)
        return replies.document(settings)

    async def no_regions(self, _call: Call) -> Reply:
        """List shared memory: there is none."""
        return replies.document([])

    async def unregister(self, _call: Call) -> Reply:
        """Forget shared memory, of which there is none."""
        return replies.empty()

    async def register(self, _call: Call) -> Reply:
        """Refuse: memory that the host shares is no place for an enclave's data."""
        raise UnsupportedError("shared memory is not supported: the host could read it")

    def _find(self, call: Call) -> ModelView:
        version = parse_model_version(_version_text(call))
        return self._context.models.find(call.segments["name"], version)

    def _ready(self, call: Call) -> tuple[ModelView, ModelSignature]:
        view = self._find(call)
        return view, self._context.models.signature(view)


async def unless_gone(call: Call, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` gives, and cancel it when the client leaves first.

    Raises:
        asyncio.CancelledError: The client left.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(call.exchange.gone.wait())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await task
    finally:
        gone.cancel()
        task.cancel()


def _version_text(call: Call) -> str:
    text = call.segments.get("version", "")
    if text and not (text.isascii() and text.isdigit()):
        raise unknown_model(call.segments["name"], text)  # Triton's path takes digits alone
    return text


def _infer_reply(
    request: InferRequest, signature: ModelSignature, view: ModelView, answer: Answer
) -> Reply:
    response = make_response(
        request, signature, answer.outputs, model_version=str(view.stored.version)
    )
    pieces, header_length, content_type = encode_infer_response(response, request)
    headers = [("Content-Type", content_type)]
    if header_length is not None:
        headers.append((HEADER_LENGTH_NAME, str(header_length)))
    return Reply(status=200, headers=headers, pieces=pieces, is_compressible=True)


def _statistics(views: Any) -> Reply:
    from inferonnx.oip.statistics import model_statistics
    from inferonnx.server.reporting import statistics_of

    return replies.document(model_statistics(map(statistics_of, views)))
