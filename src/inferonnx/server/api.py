"""A request's way: its route, who asks, the endpoint, and what becomes of an error."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from inferonnx.control import Caller, How, Role, identify, require
from inferonnx.errors import InferonnxError
from inferonnx.server.connection import ClientGoneError
from inferonnx.server.context import Call
from inferonnx.server.endpoints_oip import OipEndpoints
from inferonnx.server.endpoints_own import OwnEndpoints
from inferonnx.server.endpoints_uploads import UploadEndpoints
from inferonnx.server.messages import HttpError, Reply
from inferonnx.server.replies import code_of, failure
from inferonnx.server.routes import ROUTES, find_route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inferonnx.server.context import Context
    from inferonnx.server.exchange import Exchange
    from inferonnx.server.log import Log

    Endpoint = Callable[[Call], Awaitable[Reply]]

REQUEST_ID = "x-request-id"
MAX_ID_CHARS = 64


class Api:
    """Answers requests; its `handle` is what `HttpService` calls."""

    def __init__(self, context: Context, log: Log) -> None:
        """Find an endpoint for every route.

        Raises:
            AttributeError: A route names none: a bug of ours, and tests see it.
        """
        self._context = context
        self._log = log
        own = OwnEndpoints(context)
        homes = (OipEndpoints(context), own, UploadEndpoints(context, own.verified))
        self._endpoints: dict[str, Endpoint] = {
            route.endpoint: _endpoint(homes, route.endpoint) for route in ROUTES
        }

    async def handle(self, exchange: Exchange) -> Reply:
        """Answer one request.

        (1) It has a route. (2) Its credentials hold, if it has any. (3) The caller has
        the role. (4) The endpoint answers. Whatever fails, the client gets one
        sentence, and the log its code.
        """
        begun = time.perf_counter()
        path, caller_name, error = "", "", None
        try:
            route, segments = find_route(exchange.head.method, exchange.head.path)  # (1)
            path = route.path
            caller = self._caller(exchange)  # (2)
            caller_name = _shown(caller)
            if route.roles is not None:
                require(caller, *route.roles)  # (3)
            call = Call(exchange=exchange, segments=segments, caller=caller)
            reply = await self._endpoints[route.endpoint](call)  # (4)
        except (ClientGoneError, asyncio.CancelledError):
            self._note(exchange, path=path, caller=caller_name, status=499, begun=begun)
            raise
        except (InferonnxError, MemoryError) as caught:
            error, reply = caught, failure(caught)
        status = reply.status
        self._note(exchange, path=path, caller=caller_name, status=status, begun=begun, error=error)
        return reply

    def _caller(self, exchange: Exchange) -> Caller:
        authorization = exchange.head.headers.get("authorization")
        return identify(
            self._context.config,
            # Fields that came twice are joined by the parser; that is no token either.
            authorization=() if authorization is None else (authorization,),
            has_client_certificate=exchange.head.peer.certificate_der is not None,
            now_s=int(self._context.clock_s()),
        )

    def _note(
        self,
        exchange: Exchange,
        *,
        path: str,
        caller: str,
        status: int,
        begun: float,
        error: BaseException | None = None,
    ) -> None:
        told = error.message if isinstance(error, InferonnxError) else None
        self._log.event(
            "request",
            level="info" if error is None else "warning",
            request=exchange.head.headers.get(REQUEST_ID, "")[:MAX_ID_CHARS] or None,
            peer=exchange.head.peer.address,
            method=exchange.head.method,
            path=path or "?",
            caller=caller or None,
            status=status,
            ms=(time.perf_counter() - begun) * 1e3,
            code=code_of(error) if isinstance(error, Exception) else None,
            error=told if isinstance(error, HttpError) else None,
        )


def _endpoint(homes: tuple[object, ...], name: str) -> Endpoint:
    for home in homes:
        found: Endpoint | None = getattr(home, name, None)
        if found is not None:
            return found
    raise AttributeError(f"no endpoint is called {name!r}")


def _shown(caller: Caller) -> str:
    words = caller.how.value if not caller.name else f"{caller.how.value} {caller.name}"
    anonymous = caller.how is How.ANONYMOUS and Role.INFER not in caller.roles
    return "nobody" if anonymous else words
