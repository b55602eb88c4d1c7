"""One line for each thing that an operator should know, as text or JSON.

The host reads this. A line holds an event's name and fields of the kinds in `FIELDS`
alone: no byte of a tensor or a key and no name from inside a model can get in by a
careless caller.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIELDS = {
    "request": str,  # the id that the server gave it, or the client's, clipped
    "peer": str,
    "method": str,
    "path": str,  # the route, not what the client wrote
    "status": int,
    "grpc": int,  # status code of a call
    "number": int,  # of the request, from the start of the server
    "ms": float,  # from its first byte to the last of the reply
    "engine_ms": float,  # of that, inside the engine
    "received": int,  # bytes of the body
    "sent": int,
    "code": str,  # of an error: "model.not_ready"
    "error": str,  # one sentence of ours
    "model": str,
    "version": int,
    "model_id": str,
    "owner": str,
    "state": str,
    "bytes": int,
    "caller": str,  # how it proved who it is: "token 3f2a", "owner", "anonymous"
    "address": str,
    "public_key": str,
    "config": str,  # digest of the effective configuration
    "memory_bytes": int,
    "least_bytes": int,
    "models": int,
    "signal": str,
    "partition": int,
    "step": str,  # of a pass: "load" of a partition's weights, or "compute"
}
"""Every field that a line may have, and its type."""

LEVELS = ("debug", "info", "warning", "error")
MAX_TEXT = 300
"""Characters of a field; clients choose some of them."""


class Log:
    """Writes lines to a stream, from a level upwards."""

    def __init__(
        self,
        *,
        level: str = "info",
        as_json: bool = False,
        write: Callable[[str], object] | None = None,
    ) -> None:
        """Write to standard error unless `write` is given."""
        self._least = LEVELS.index(level)
        self._as_json = as_json
        self._write = write or _to_stderr

    def writes(self, level: str) -> bool:
        """Tell whether events of this level are written."""
        return LEVELS.index(level) >= self._least

    def event(self, name: str, *, level: str = "info", **fields: object) -> None:
        """Write one line.

        Raises:
            TypeError: A field is not in `FIELDS`, or of another type: a bug of ours.
        """
        if not self.writes(level):
            return
        kept = {key: _checked(key, value) for key, value in fields.items() if value is not None}
        now = time.time()
        stamp = (
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1e3) % 1000:03}Z"
        )
        if self._as_json:
            line = json.dumps({"time": stamp, "level": level, "event": name, **kept})
        else:
            parts = (f"{key}={_plain(value)}" for key, value in kept.items())
            line = " ".join((stamp, level, name, *parts))
        self._write(line + "\n")


def _checked(key: str, value: object) -> object:
    kind = FIELDS.get(key)
    if kind is float and type(value) is float:
        return round(value, 3)
    if kind is None or type(value) is not kind:
        raise TypeError(f"a log line has no field {key!r} of type {type(value).__name__}")
    return value[:MAX_TEXT] if isinstance(value, str) else value


def _plain(value: object) -> str:
    if not isinstance(value, str):
        return str(value)
    is_word = value.isascii() and value.isprintable() and not set(value) & set(' "=')
    return value if value and is_word else json.dumps(value)


def _to_stderr(line: str) -> None:
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # a log that nobody can write is no reason to stop serving
