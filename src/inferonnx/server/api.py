"""A request's way: its route, who asks, the endpoint, and what becomes of an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.control import Caller, identify, require
from inferonnx.errors import InferonnxError
from inferonnx.server.context import Call
from inferonnx.server.endpoints_oip import OipEndpoints
from inferonnx.server.endpoints_own import OwnEndpoints
from inferonnx.server.endpoints_uploads import UploadEndpoints
from inferonnx.server.replies import code_of, failure
from inferonnx.server.routes import ROUTES, find_route
from inferonnx.server.telling import shown_caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from inferonnx.server.context import Context
    from inferonnx.server.exchange import Exchange
    from inferonnx.server.messages import Reply

    Endpoint = Callable[[Call], Awaitable[Reply]]


class Api:
    """Answers requests; its `handle` is what `HttpService` calls."""

    def __init__(self, context: Context) -> None:
        """Find an endpoint for every route.

        Raises:
            AttributeError: A route names none: a bug of ours, and tests see it.
        """
        self._context = context
        own = OwnEndpoints(context)
        homes = (OipEndpoints(context), own, UploadEndpoints(context, own.verified))
        self._endpoints: dict[str, Endpoint] = {
            route.endpoint: _endpoint(homes, route.endpoint) for route in ROUTES
        }

    async def handle(self, exchange: Exchange) -> Reply:
        """Answer one request.

        (1) It has a route. (2) Its credentials hold, if it has any. (3) The caller has
        the role. (4) The endpoint answers. Whatever fails, the client gets one
        sentence, and the log its code. What no one raised on purpose is the HTTP
        service's to answer.
        """
        details = exchange.figures.details
        try:
            route, segments = find_route(exchange.head.method, exchange.head.path)  # (1)
            details["path"] = route.path
            caller = self._caller(exchange)  # (2)
            details["caller"] = shown_caller(caller)
            if route.roles is not None:
                require(caller, *route.roles)  # (3)
            call = Call(exchange=exchange, segments=segments, caller=caller)
            return await self._endpoints[route.endpoint](call)  # (4)
        except (InferonnxError, MemoryError) as error:
            details["code"] = code_of(error)
            return failure(error)

    def _caller(self, exchange: Exchange) -> Caller:
        authorization = exchange.head.headers.get("authorization")
        return identify(
            self._context.config,
            # Fields that came twice are joined by the parser; that is no token either.
            authorization=() if authorization is None else (authorization,),
            has_client_certificate=exchange.head.peer.certificate_der is not None,
            now_s=int(self._context.clock_s()),
        )


def _endpoint(homes: tuple[object, ...], name: str) -> Endpoint:
    for home in homes:
        found: Endpoint | None = getattr(home, name, None)
        if found is not None:
            return found
    raise AttributeError(f"no endpoint is called {name!r}")
