"""The Open Inference Protocol over REST: metadata, inference, repository, statistics."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from inferonnx.oip import (
    HEADER_LENGTH_NAME,
    Limits,
    RawRequest,
    UnsupportedError,
    parse_header_length,
    parse_infer_request,
    resolve_raw,
    unknown_model,
)
from inferonnx.oip import messages as documents
from inferonnx.server import replies
from inferonnx.server.answers import (
    REPLY_BYTES,
    SLOW_BYTES,
    Answers,
    shared_memory_refused,
)
from inferonnx.server.bodies import grow
from inferonnx.server.models import READY
from inferonnx.server.parsing import parse_within
from inferonnx.server.writing import write_reply
from inferonnx.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, TypeVar

    from inferonnx.oip import InferRequest
    from inferonnx.server.context import Call, Context
    from inferonnx.server.exchange import Exchange
    from inferonnx.server.messages import Reply
    from inferonnx.server.models import ModelView
    from inferonnx.server.ports import Reservation

    T = TypeVar("T")

JSON_COST = 6
"""Bytes that parsing takes for one byte of JSON: FP32 as `0.1,` is four characters, and
as a list of Python's numbers for a moment 32 bytes; measured by `oip.json_data`."""

MOST_DIGITS = 10
"""Of a number of bytes that a body can have."""

STRING_COSTS = (2, 8, 20)
"""What strings take for a byte of theirs, in either form: long ones, words, the shortest."""


class OipEndpoints:
    """Answers of the protocol."""

    def __init__(self, context: Context) -> None:
        """Answer for one server."""
        self._context = context
        self._answers = Answers(context)

    async def server_metadata(self, _call: Call) -> Reply:
        """Say name, version and extensions."""
        return replies.document(self._answers.server_metadata())

    async def live(self, _call: Call) -> Reply:
        """Say that the process answers."""
        return replies.document(documents.server_live(live=True))

    async def ready(self, _call: Call) -> Reply:
        """Say whether all models that could be ready are."""
        ready = self._answers.is_ready
        status = 200 if ready else 503 if self._context.is_draining else 400
        return replies.document(documents.server_ready(ready=ready), status=status)

    async def model_metadata(self, call: Call) -> Reply:
        """Say what a model takes and gives."""
        return replies.document(self._answers.model_metadata(*_named(call)))

    async def model_ready(self, call: Call) -> Reply:
        """Say whether a model answers."""
        view = self._answers.find(*_named(call))
        ready = view.state == READY
        return replies.document(
            documents.model_ready(view.stored.name, ready=ready), status=200 if ready else 400
        )

    async def model_config(self, call: Call) -> Reply:
        """Say how a model is served, in Triton's terms."""
        return replies.document(self._answers.model_config(*_named(call)))

    async def model_statistics(self, call: Call) -> Reply:
        """Say what one model has done."""
        return replies.document(self._answers.statistics(*_named(call)))

    async def all_statistics(self, _call: Call) -> Reply:
        """Say what all models have done."""
        return replies.document(self._answers.statistics())

    async def infer(self, call: Call) -> Reply:
        """Compute an answer.

        The body is read only when the model is known to be ready, into memory that is
        reserved first; a client that leaves is computed for no more.
        """
        target = self._answers.target(*_named(call))
        view = target.view
        exchange = call.exchange
        exchange.figures.details |= {"model": view.stored.name, "version": view.stored.version}
        header = exchange.head.headers.get(HEADER_LENGTH_NAME.lower())
        beside = REPLY_BYTES + (JSON_COST * (exchange.content_length or 0) if header is None else 0)
        body = await exchange.read_body(
            self._context.ledger, beside_bytes=beside, head_bytes=_announced(header)
        )
        header_length = parse_header_length(header, len(body))
        request = await self._parsed(call, view, body, header_length)
        if isinstance(request, RawRequest):
            request = resolve_raw(request, target.signature)
        reservation = _reservation(exchange)
        inferred = await unless_gone(call, self._answers.infer(target, request, reservation))
        exchange.figures.engine_s = inferred.engine_s
        request = replace(request, inputs=())
        del body  # nobody looks at it or the inputs while the reply is written
        accept = exchange.head.headers.get("accept-encoding", "")
        return await write_reply(reservation, request, inferred, accept_encoding=accept)

    async def _parsed(
        self, call: Call, view: ModelView, body: memoryview, header_length: int | None
    ) -> InferRequest | RawRequest:
        json_bytes = len(body) if header_length is None else header_length
        cost = JSON_COST * json_bytes + REPLY_BYTES
        reservation = _reservation(call.exchange)
        beside = reservation.n_bytes - len(body)
        if cost > beside:
            grow(reservation, cost - beside)

        def parse(tensor_bytes: int) -> InferRequest | RawRequest:
            return parse_infer_request(
                body,
                header_length=header_length,
                model_name=view.stored.name,
                model_version=str(view.stored.version),
                limits=Limits(json_bytes=len(body), tensor_bytes=tensor_bytes),
            )

        return await parse_within(
            parse, reservation, len(body), costs=STRING_COSTS, is_slow=json_bytes >= SLOW_BYTES
        )

    async def generate(self, call: Call) -> Reply:
        """Refuse: no model here generates text."""
        self._answers.find(*_named(call))
        raise UnsupportedError("generate is not supported: models here answer `infer`")

    async def index(self, call: Call) -> Reply:
        """List the repository."""
        from inferonnx.oip.repository import parse_index_request

        body = await call.exchange.read_body(self._context.ledger, limit_bytes=1024 * KIB)
        return replies.document(self._answers.index(ready=parse_index_request(body)))

    async def load(self, call: Call) -> Reply:
        """Open a model that is unlocked."""
        from inferonnx.oip.repository import parse_load_request

        parse_load_request(
            await call.exchange.read_body(self._context.ledger, limit_bytes=1024 * KIB)
        )
        await self._answers.load(call.segments["name"])
        return replies.empty()

    async def unload(self, call: Call) -> Reply:
        """Lock all versions of a model: their keys are wiped."""
        from inferonnx.oip.repository import parse_unload_request

        parse_unload_request(
            await call.exchange.read_body(self._context.ledger, limit_bytes=64 * KIB)
        )
        await self._answers.unload(call.segments["name"])
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
        from inferonnx.oip.settings import parse_settings

        body = await call.exchange.read_body(self._context.ledger, limit_bytes=64 * KIB)
        return replies.document(self._answers.unchanged(settings, parse_settings(body)))

    async def no_regions(self, _call: Call) -> Reply:
        """List shared memory: there is none."""
        return replies.document([])

    async def unregister(self, _call: Call) -> Reply:
        """Forget shared memory, of which there is none."""
        return replies.empty()

    async def register(self, _call: Call) -> Reply:
        """Refuse: memory that the host shares is no place for an enclave's data."""
        raise shared_memory_refused()


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


def _announced(header: str | None) -> int:
    """Return where tensors will begin, 0 if the header says nothing: it is checked later."""
    return int(header) if header and header.isdecimal() and len(header) <= MOST_DIGITS else 0


def _named(call: Call) -> tuple[str, str]:
    """Return the model and the version that a path names."""
    text = call.segments.get("version", "")
    if text and not (text.isascii() and text.isdigit()):
        raise unknown_model(call.segments["name"], text)  # Triton's path takes digits alone
    return call.segments["name"], text


def _reservation(exchange: Exchange) -> Reservation:
    """Return what `read_body` has reserved."""
    assert exchange.reservation is not None  # noqa: S101
    return exchange.reservation
