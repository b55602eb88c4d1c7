"""The methods of the gRPC services: which there are, who may call them, what answers."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.control import identify, require
from inferonnx.errors import InferonnxError
from inferonnx.oip import Limits, NotFoundError, most_written_bytes
from inferonnx.oip import grpc as codec
from inferonnx.server.answers import (
    REPLY_BYTES,
    SLOW_BYTES,
    Answers,
    shared_memory_refused,
)
from inferonnx.server.grpc import limits as most
from inferonnx.server.models import READY
from inferonnx.server.parsing import parse_within
from inferonnx.server.replies import verdict
from inferonnx.server.routes import ROUTES
from inferonnx.server.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inferonnx.control import Caller, Role
    from inferonnx.oip import InferRequest
    from inferonnx.oip.messages import Document
    from inferonnx.server.context import Context
    from inferonnx.server.grpc.stream import Message, Stream

    Pieces = list[bytes | memoryview]

ENDPOINTS = {
    "ServerLive": "live",
    "ServerReady": "ready",
    "ServerMetadata": "server_metadata",
    "ModelReady": "model_ready",
    "ModelMetadata": "model_metadata",
    "ModelConfig": "model_config",
    "ModelStatistics": "model_statistics",
    "ModelInfer": "infer",
    codec.STREAM: "infer",
    "RepositoryIndex": "index",
    "RepositoryModelLoad": "load",
    "RepositoryModelUnload": "unload",
    "SystemSharedMemoryStatus": "no_regions",
    "SystemSharedMemoryRegister": "register",
    "SystemSharedMemoryUnregister": "unregister",
    "CudaSharedMemoryStatus": "no_regions",
    "CudaSharedMemoryRegister": "register",
    "CudaSharedMemoryUnregister": "unregister",
    "TraceSetting": "set_trace",
    "LogSettings": "set_log",
    "Check": "ready",
}
"""For each method the endpoint of REST that does the same; its roles hold here, too."""

PARSED_COSTS = (2, 8, 48)
"""Bytes that a message of typed lists takes for one of its own while it is parsed: floats
two, small integers 16, the shortest strings 48. What is more is tried after what is less.
Raw tensors are used where they lie."""


class Method(NamedTuple):
    """One method.

    Attributes:
        roles: One of these is needed; None: it is open to all.
        answer: Answers a call of it.
    """

    roles: frozenset[Role] | None
    answer: Callable[[Stream], Awaitable[None]]


class Methods:
    """Answers for one server."""

    def __init__(self, context: Context) -> None:
        """Make the table."""
        self._context = context
        self._answers = Answers(context)
        roles = {route.endpoint: route.roles for route in ROUTES}
        special = {"ModelInfer": self._infer, codec.STREAM: self._infer_stream}
        self._methods: dict[str, Method] = {}
        for path, (takes, gives) in codec.METHODS.items():
            name = path.rpartition("/")[2]
            answer = special.get(name) or self._unary(name, takes, gives)
            self._methods[path] = Method(roles[ENDPOINTS[name]], answer)

    def find(self, path: str) -> Method | None:
        """Return the method of a path."""
        return self._methods.get(path)

    def _unary(self, name: str, takes: str, gives: str) -> Callable[[Stream], Awaitable[None]]:
        if name.endswith(("MemoryStatus", "MemoryUnregister")):
            find = self._no_regions
        elif name.endswith("MemoryRegister"):
            find = self._register
        else:
            find = getattr(self, _attribute(name))

        async def answer(stream: Stream) -> None:
            message = await stream.only_message()
            document = await find(codec.parse_message(takes, message.data))
            await stream.send([codec.encode_message(gives, document)])

        return answer

    # Inference.

    async def _infer(self, stream: Stream) -> None:
        message = await stream.only_message(beside_bytes=REPLY_BYTES)
        pieces = await self._inferred(stream, message, codec.encode_infer_response)
        message.forget(keep_bytes=await _held(message, pieces))
        await stream.send(pieces)

    async def _infer_stream(self, stream: Stream) -> None:
        """Answer requests in their order; some of them are computed at the same time."""
        roles = self._methods[stream.head.path].roles
        places = asyncio.Semaphore(most.AT_ONCE)
        before: asyncio.Task[None] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                while await places.acquire():
                    message = await stream.next_message(beside_bytes=REPLY_BYTES, is_patient=True)
                    if message is None:
                        break
                    # Again: a stream may last longer than the token that opened it.
                    check_caller(self._context, stream, roles)
                    one = self._infer_one(stream, message, before, places)
                    before = group.create_task(one)
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None

    async def _infer_one(
        self,
        stream: Stream,
        message: Message,
        before: asyncio.Task[None] | None,
        places: asyncio.Semaphore,
    ) -> None:
        """Answer one request of a stream when `before` is done; errors are answers, too."""
        try:
            pieces = await self._inferred(stream, message, codec.encode_stream_response, before)
            kept = await _held(message, pieces, before)
        except (InferonnxError, MemoryError) as error:
            pieces, kept = [codec.encode_stream_error(verdict(error).sentence)], REPLY_BYTES
        message.forget(keep_bytes=kept)
        if before is not None:
            await before
        await stream.send(pieces)
        stream.forget(message)
        places.release()

    async def _inferred(
        self,
        stream: Stream,
        message: Message,
        encode: Callable[..., Pieces],
        before: asyncio.Task[None] | None = None,
    ) -> Pieces:
        request = await _parsed(message)
        target = self._answers.target(request.model_name, request.model_version)
        stored, figures = target.view.stored, stream.figures
        figures.details |= {"model": stored.name, "version": stored.version}
        reservation = message.reservation
        inferred = await self._answers.infer(target, request, reservation, is_json=False)
        figures.engine_s += inferred.engine_s
        n_bytes = most_written_bytes(inferred.response, request, is_json=False)
        if n_bytes < SLOW_BYTES:
            return encode(inferred.response, request)
        beside_bytes = len(message.data) + inferred.class_bytes + REPLY_BYTES
        await reservation.hold(n_bytes + beside_bytes, before=before)
        return await in_thread(None, encode, inferred.response, request)

    # All else: a document comes and one goes.

    async def _server_live(self, _request: Document) -> Document:
        return {"live": True}

    async def _server_ready(self, _request: Document) -> Document:
        return {"ready": self._answers.is_ready}

    async def _check(self, request: Document) -> Document:
        if request["service"] not in ("", codec.SERVICE, codec.HEALTH_SERVICE):
            raise NotFoundError("the server has no such service")
        return {"status": "SERVING" if self._answers.is_ready else "NOT_SERVING"}

    async def _server_metadata(self, _request: Document) -> Document:
        return self._answers.server_metadata()

    async def _model_ready(self, request: Document) -> Document:
        try:
            view = self._answers.find(request["name"], request["version"])
        except NotFoundError:
            return {"ready": False}  # Triton's answer, which clients take for a no
        return {"ready": view.state == READY}

    async def _model_metadata(self, request: Document) -> Document:
        return self._answers.model_metadata(request["name"], request["version"])

    async def _model_config(self, request: Document) -> Document:
        config = self._answers.model_config(request["name"], request["version"])
        return codec.config_reply(config)

    async def _model_statistics(self, request: Document) -> Document:
        return self._answers.statistics(request["name"], request["version"])

    async def _repository_index(self, request: Document) -> Document:
        return codec.index_reply(self._answers.index(ready=request["ready"]))

    async def _repository_model_load(self, request: Document) -> Document:
        await self._answers.load(codec.check_repository_request(request))
        return {}

    async def _repository_model_unload(self, request: Document) -> Document:
        await self._answers.unload(codec.check_repository_request(request))
        return {}

    async def _no_regions(self, _request: Document) -> Document:
        return {}

    async def _register(self, _request: Document) -> Document:
        raise shared_memory_refused()

    async def _trace_setting(self, request: Document) -> Document:
        from inferonnx.oip.settings import trace_settings

        wanted = codec.wanted_trace_settings(request)
        return codec.trace_reply(self._answers.unchanged(trace_settings(), wanted))

    async def _log_settings(self, request: Document) -> Document:
        from inferonnx.oip.settings import log_settings

        wanted = codec.wanted_log_settings(request)
        return codec.log_reply(self._answers.unchanged(log_settings(), wanted))


def check_caller(context: Context, stream: Stream, roles: frozenset[Role] | None) -> Caller:
    """Return who calls, and may.

    Raises:
        UnauthenticatedError: Its credentials do not hold, or do not any more.
        ForbiddenError: It has none of the roles.
    """
    caller = identify(
        context.config,
        authorization=stream.head.authorization,
        has_client_certificate=stream.peer.certificate_der is not None,
        now_s=int(context.clock_s()),
    )
    if roles is not None:
        require(caller, *roles)
    return caller


async def _held(message: Message, pieces: Pieces, before: asyncio.Task[None] | None = None) -> int:
    """See to it that an answer may stay until it is sent; return what is reserved for it.

    Raises:
        BusyError: Answers that others do not read hold all the memory there is.
    """
    n_bytes = REPLY_BYTES + sum(memoryview(piece).nbytes for piece in pieces)
    await message.reservation.hold(n_bytes, before=before)
    return n_bytes


async def _parsed(message: Message) -> InferRequest:
    """Return what a message says; what takes memory beside it is counted, and for a thread."""
    data = message.data

    def parse(tensor_bytes: int) -> InferRequest:
        return codec.parse_infer_request(data, limits=Limits(tensor_bytes=tensor_bytes))

    return await parse_within(parse, message.reservation, len(data), costs=PARSED_COSTS)


_SNAKE = re.compile("(?<=[a-z])(?=[A-Z])")


def _attribute(name: str) -> str:
    """Return "_server_live" for "ServerLive"."""
    return "_" + _SNAKE.sub("_", name).lower()
