"""The gRPC service: a call's way, from its header fields to its status."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from inferonnx.errors import InferonnxError
from inferonnx.oip import DeadlineError, UnsupportedError
from inferonnx.server.grpc import limits as most
from inferonnx.server.grpc.commons import Commons
from inferonnx.server.grpc.connection import GrpcConnection
from inferonnx.server.grpc.metadata import parse_call
from inferonnx.server.grpc.methods import Methods, check_caller
from inferonnx.server.grpc.stream import Stream
from inferonnx.server.messages import ExchangeFigures, Head
from inferonnx.server.observer import Observer
from inferonnx.server.peer import ClientGoneError
from inferonnx.server.replies import Verdict, code_of, verdict
from inferonnx.server.telling import REQUEST_ID, shown_caller

if TYPE_CHECKING:
    from inferonnx.server.connection import Connection
    from inferonnx.server.context import Context
    from inferonnx.server.grpc.metadata import Fields
    from inferonnx.server.limits import HttpLimits

CANCELLED = 1
"""Status code of a call whose client does not wait for it any more; for the log alone."""

TOO_LATE = "Deadline Exceeded: the call's time was over before its answer was there"
"""Begins as clients of gRPC do themselves: callers look for it, whichever end is first."""

_NOT_A_CALL = (405, 415)


class GrpcService:
    """Speaks gRPC on connections; a `server.listener.Service`."""

    def __init__(
        self,
        context: Context,
        *,
        limits: HttpLimits,
        linger_s: float,
        observer: Observer | None = None,
    ) -> None:
        """Answer for one server.

        Args:
            context: Of the server; what REST answers from, too.
            limits: Of calls: what is a body there is a message here.
            linger_s: How long a connection waits for the client's close after ours.
            observer: Is told of calls and of bugs.
        """
        self._context = context
        self._limits, self._linger_s = limits, linger_s
        self._observer = observer or Observer()
        self._methods = Methods(context)
        self._commons = Commons()
        self._connections: set[GrpcConnection] = set()
        self._n_calls = 0

    @property
    def commons(self) -> Commons:
        """What its connections hold together."""
        return self._commons

    def drain(self) -> None:
        """Announce the end on all connections."""
        for connection in self._connections:
            connection.drain()

    async def serve(self, connection: Connection) -> None:
        """Answer calls until either side is done; then close.

        Raises:
            ClientGoneError: The client left.
        """
        carrier = GrpcConnection(
            connection,
            begin=self._begin,
            handle=self._handle,
            commons=self._commons,
            limits=self._limits,
            observer=self._observer,
        )
        self._connections.add(carrier)
        try:
            await carrier.run()
        finally:
            self._connections.discard(carrier)
        await connection.close(linger_s=self._linger_s)

    def _begin(self, carrier: GrpcConnection, number: int, fields: Fields) -> Stream:
        self._n_calls += 1
        now_s = asyncio.get_running_loop().time()
        figures = ExchangeFigures(number=self._n_calls, begun_s=now_s, headed_s=now_s)
        return Stream(
            number,
            fields,
            peer=carrier.connection.peer,
            sender=carrier.sender,
            windows=carrier.windows,
            ledger=self._context.ledger,
            commons=self._commons,
            limits=self._limits,
            figures=figures,
        )

    async def _handle(self, stream: Stream) -> None:
        """Answer a call, whatever happens.

        (1) It is a call of gRPC. (2) Its method exists. (3) Its credentials hold, if it has
        any. (4) The caller has the role. (5) The method answers, within the client's time.
        """
        told = Verdict(200, 0, "", 0)
        loop = asyncio.get_running_loop()
        try:
            try:
                await self._answer(stream)
            except (InferonnxError, MemoryError) as error:
                stream.figures.details["code"] = code_of(error)
                told = verdict(error)
            except (ClientGoneError, asyncio.CancelledError):
                raise
            except Exception as error:
                told = self._bug(error)
            stream.figures.replied_s = loop.time()
            if told.status in _NOT_A_CALL:
                stream.refuse(told.status)
            else:
                stream.finish(told.grpc_code, told.sentence, retry_after_s=told.retry_after_s)
            stream.figures.sent_s = loop.time()
        except (ClientGoneError, asyncio.CancelledError):
            stream.figures.replied_s = loop.time()
            told = Verdict(0, CANCELLED, "", 0)
        self._note(stream, told)

    async def _answer(self, stream: Stream) -> None:
        stream.head = head = parse_call(stream.fields)  # (1)
        stream.fields.clear()
        method = self._methods.find(head.path)  # (2)
        if method is None:
            raise UnsupportedError("the server has no such method")
        details = stream.figures.details
        details["path"] = head.path
        caller = check_caller(self._context, stream, method.roles)  # (3) (4)
        details["caller"] = shown_caller(caller)
        try:
            async with asyncio.timeout(head.timeout_s) as deadline:
                await method.answer(stream)  # (5)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise DeadlineError(TOO_LATE) from error

    def _bug(self, error: Exception) -> Verdict:
        # What went wrong may name what must not leave: the client gets a reference.
        reference = os.urandom(6).hex()
        self._observer.failed(reference, error)
        told = verdict(error)
        return told._replace(sentence=f"the server failed; its log has the reference {reference}")

    def _note(self, stream: Stream, told: Verdict) -> None:
        stream.figures.status = told.status
        stream.figures.details["grpc"] = told.grpc_code
        head = Head(
            method="POST",
            path=stream.head.path.encode(errors="replace"),
            query=b"",
            headers={REQUEST_ID: stream.head.request_id},
            version="2",
            peer=stream.peer,
        )
        self._observer.answered(stream.peer, head, stream.figures)


def reserved_bytes(n_connections: int, connection_bytes: int) -> int:
    """Return what gRPC may hold beside memory that requests reserve.

    Args:
        n_connections: Open at once.
        connection_bytes: What an idle TLS connection holds.
    """
    each = connection_bytes + most.IDLE_BYTES
    return n_connections * each + most.CALLS * most.CALL_BYTES + most.UNRESERVED_BYTES
