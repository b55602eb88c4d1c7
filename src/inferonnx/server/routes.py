"""Which paths there are, who may ask for them, and what answers: one table.

A path is split at its slashes first and decoded after, so that no name can bring a
slash along. It must match a route whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from inferonnx.control import Role
from inferonnx.oip import MethodNotAllowedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Route(NamedTuple):
    """One method on one path.

    Attributes:
        method: As sent.
        path: With `{name}` for a segment that varies.
        endpoint: Name of the method of an endpoints class that answers.
        roles: One of these is needed. None is open to all; where an owner's signature is
            what authorises, the endpoint checks it.
    """

    method: str
    path: str
    endpoint: str
    roles: frozenset[Role] | None


_INFER = frozenset({Role.INFER})
_MANAGE = frozenset({Role.MANAGE})
_METRICS = frozenset({Role.METRICS})
_LOOK = frozenset({Role.INFER, Role.MANAGE, Role.METRICS})
_OPEN = None

_MODEL = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
_REGIONS = ("systemsharedmemory", "cudasharedmemory")
_OWN = "/inferonnx/v1"
_VERSION = f"{_OWN}/models/{{name}}/versions/{{version}}"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/", "page", _OPEN),
    Route("GET", "/metrics", "metrics", _METRICS),
    Route("GET", "/v2", "server_metadata", _LOOK),
    Route("GET", "/v2/health/live", "live", _OPEN),
    Route("GET", "/v2/health/ready", "ready", _OPEN),
    *(
        route
        for path in _MODEL
        for route in (
            Route("GET", path, "model_metadata", _INFER),
            Route("GET", f"{path}/ready", "model_ready", _INFER),
            Route("GET", f"{path}/config", "model_config", _INFER),
            Route("GET", f"{path}/stats", "model_statistics", _INFER | _METRICS),
            Route("POST", f"{path}/infer", "infer", _INFER),
            Route("POST", f"{path}/generate", "generate", _INFER),
            Route("POST", f"{path}/generate_stream", "generate", _INFER),
        )
    ),
    Route("GET", "/v2/models/stats", "all_statistics", _INFER | _METRICS),
    Route("POST", "/v2/repository/index", "index", _LOOK),
    Route("POST", "/v2/repository/{repository}/index", "index", _LOOK),
    Route("POST", "/v2/repository/models/{name}/load", "load", _MANAGE),
    Route("POST", "/v2/repository/models/{name}/unload", "unload", _MANAGE),
    Route("POST", "/v2/repository/{repository}/models/{name}/load", "load_elsewhere", _MANAGE),
    Route("POST", "/v2/repository/{repository}/models/{name}/unload", "load_elsewhere", _MANAGE),
    *(
        route
        for path in ("/v2/trace/setting", "/v2/models/{name}/trace/setting")
        for route in (
            Route("GET", path, "trace_settings", _MANAGE),
            Route("POST", path, "set_trace", _MANAGE),
        )
    ),
    Route("GET", "/v2/logging", "log_settings", _MANAGE),
    Route("POST", "/v2/logging", "set_log", _MANAGE),
    *(
        route
        for kind in _REGIONS
        for at in (f"/v2/{kind}", f"/v2/{kind}/region/{{region}}")
        for route in (
            Route("GET", f"{at}/status", "no_regions", _INFER),
            Route("POST", f"{at}/unregister", "unregister", _INFER),
            Route("POST", f"{at}/register", "register", _INFER),
        )
    ),
    Route("POST", f"{_OWN}/nonce", "nonce", _OPEN),
    Route("GET", f"{_OWN}/models", "list_models", _LOOK),
    *(Route(method, f"{_VERSION}/uploads", "uploads", _OPEN) for method in ("OPTIONS", "POST")),
    *(
        Route(method, f"{_OWN}/uploads/{{upload}}", "upload", _OPEN)
        # POST is for clients that can't say what they mean (X-HTTP-Method-Override).
        for method in ("OPTIONS", "HEAD", "PATCH", "DELETE", "POST")
    ),
    Route("POST", f"{_VERSION}/unlock", "unlock", _OPEN),
    Route("DELETE", _VERSION, "delete", _OPEN),
    Route("GET", f"{_OWN}/csr", "csr", _MANAGE),
    Route("PUT", f"{_OWN}/certificate", "install_certificate", _MANAGE),
    Route("GET", f"{_OWN}/status", "status", _METRICS),
)
"""Every route; docs/protocol.md has the same table. A fixed segment wins over a variable one."""


class _Node:
    """The routes that share a path up to here."""

    __slots__ = ("fixed", "methods", "variable")

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.variable: tuple[str, _Node] | None = None
        self.methods: dict[str, Route] = {}


def _tree(routes: tuple[Route, ...]) -> _Node:
    root = _Node()
    for route in routes:
        node = root
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{"):
                if node.variable is None:
                    node.variable = (segment[1:-1], _Node())
                node = node.variable[1]
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.methods[route.method] = route
    return root


_ROOT = _tree(ROUTES)


def find_route(method: str, path: bytes) -> tuple[Route, Mapping[str, str]]:
    """Return the route of a request, and the segments that vary, decoded.

    Raises:
        NotFoundError: There is no such path.
        MethodNotAllowedError: There is, for other methods.
    """
    found = _match(_ROOT, path.split(b"/")[1:], {}) if path.startswith(b"/") else None
    if found is None:
        raise NotFoundError("Not Found")
    node, segments = found
    route = node.methods.get(method)
    if route is None:
        raise MethodNotAllowedError(node.methods)
    return route, segments


def _match(
    node: _Node, rest: list[bytes], segments: dict[str, str]
) -> tuple[_Node, dict[str, str]] | None:
    if not rest:
        return (node, segments) if node.methods else None
    text = _decoded(rest[0])
    if text is None:
        return None
    if text in node.fixed:
        found = _match(node.fixed[text], rest[1:], segments)
        if found is not None:
            return found
    if node.variable is None or not text:
        return None
    name, below = node.variable
    return _match(below, rest[1:], {**segments, name: text})


def _decoded(segment: bytes) -> str | None:
    """Return a segment with its percent signs resolved, None where that makes no name."""
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return None if "/" in text or "\0" in text else text
