"""What a server says of itself, `inferonnx.status/1`, and what two of its answers say together.

Its counts only rise, so that rates and percentiles are differences of an answer and
the one ten seconds before. The server's own uptime is the clock: nothing here reads one.
The page in a browser does the same (`assets/figures.js`).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.oip import BadReplyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STATUS_SCHEMA = "inferonnx.status/1"

WINDOW_S = 10.0
"""A rate is over so long: a model that takes a second still gives a steady figure."""

Steps = tuple[tuple[float, int], ...]
"""Where steps of a histogram end, in milliseconds, and how many requests each holds."""

ModelKey = tuple[str, int, str]
"""Name, version, model_id: a version that is deleted and pushed again counts anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """One version of a model; the fields are those of docs/protocol.md."""

    name: str
    version: int
    model_id: str
    state: str
    reason: str
    is_open: bool
    share_bytes: int
    pending: int
    requests: int
    failed: int
    opened_bytes: int
    steps: Steps

    @property
    def key(self) -> ModelKey:
        """What tells it from others."""
        return (self.name, self.version, self.model_id)

    @property
    def shown_state(self) -> str:
        """In a word, whether it holds memory included."""
        return "open" if self.state == "ready" and self.is_open else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStatus:
    """Memory of the server's process against its budget."""

    budget_bytes: int
    resident_bytes: int
    peak_bytes: int
    server_bytes: int
    models_bytes: int
    models_limit_bytes: int
    requests_bytes: int
    requests_limit_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """A server at one moment; the fields are those of docs/protocol.md."""

    version: str
    uptime_s: float
    cpu_s: float
    connections: int
    requests_waiting: int
    memory: MemoryStatus
    models: tuple[ModelStatus, ...]


class Rates(NamedTuple):
    """What happened in a second, and how long requests took; None where there was none."""

    requests: float = 0.0
    failed: float = 0.0
    streamed_bytes: float = 0.0
    p50_s: float | None = None
    p90_s: float | None = None
    p99_s: float | None = None


class Activity(NamedTuple):
    """What a server did between two answers."""

    cores: float
    all: Rates
    models: Mapping[ModelKey, Rates]


def parse_status(data: Mapping[str, Any]) -> ServerStatus:
    """Return a server's answer as a value; keys that are not known are ignored.

    Raises:
        BadReplyError: It is not such an object.
    """
    if data.get("schema") != STATUS_SCHEMA:
        raise BadReplyError(
            "the server describes itself in a form that this release does not know",
            hint=f"It should be {STATUS_SCHEMA!r}. Use the server's release.",
        )
    try:
        return ServerStatus(
            version=_text(data["version"]),
            uptime_s=_number(data["uptime_s"]),
            cpu_s=_number(data["cpu_s"]),
            connections=_count(data["connections"]),
            requests_waiting=_count(data["requests_waiting"]),
            memory=MemoryStatus(
                **{name: _count(data["memory"][name]) for name in MemoryStatus.__slots__}
            ),
            models=tuple(_model(entry) for entry in data["models"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadReplyError("the server describes itself in another form than it should") from error


def _model(entry: Mapping[str, Any]) -> ModelStatus:
    return ModelStatus(
        name=_text(entry["name"]),
        version=_count(entry["version"]),
        model_id=_text(entry["model_id"]),
        state=_text(entry["state"]),
        reason=_text(entry["reason"]),
        is_open=entry["is_open"] is True,
        share_bytes=_count(entry["share_bytes"]),
        pending=_count(entry["pending"]),
        requests=_count(entry["requests"]),
        failed=sum(_count(n) for n in entry["failures"].values()),
        opened_bytes=_count(entry["opened_bytes"]),
        steps=tuple((_number(end), _count(n)) for end, n in entry["latency_steps"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return float(value)


class Window:
    """The answers of the last ten seconds."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: deque[ServerStatus] = deque()

    def add(self, status: ServerStatus) -> Activity | None:
        """Take an answer in; return what happened before it, None where nothing is known.

        A server that began anew counts from zero, and so does this.
        """
        if self._kept and status.uptime_s < self._kept[-1].uptime_s:
            self._kept.clear()
        self._kept.append(status)
        while len(self._kept) > 1 and self._kept[1].uptime_s <= status.uptime_s - WINDOW_S:
            self._kept.popleft()
        return compare(self._kept[0], status)


def compare(before: ServerStatus, after: ServerStatus) -> Activity | None:
    """Return what happened between two answers of one server, None if no time went by."""
    seconds = after.uptime_s - before.uptime_s
    if seconds <= 0:
        return None
    known = {model.key: model for model in before.models}
    rates: dict[ModelKey, Rates] = {}
    steps: list[Steps] = []
    for model in after.models:
        old = _past(model, known.get(model.key))
        new_steps = _difference(model.steps, old.steps)
        steps.append(new_steps)
        rates[model.key] = Rates(
            (model.requests - old.requests) / seconds,
            (model.failed - old.failed) / seconds,
            max(0, model.opened_bytes - old.opened_bytes) / seconds,
            *_percentiles(new_steps),
        )
    together = Rates(
        sum(each.requests for each in rates.values()),
        sum(each.failed for each in rates.values()),
        sum(each.streamed_bytes for each in rates.values()),
        *_percentiles(_sum(steps)),
    )
    cores = max(0.0, after.cpu_s - before.cpu_s) / seconds
    return Activity(cores=cores, all=together, models=rates)


def _past(model: ModelStatus, known: ModelStatus | None) -> ModelStatus:
    """Return what to count from: zero for a model that is new or began anew."""
    if known is not None and known.requests <= model.requests and known.failed <= model.failed:
        return known
    return replace(model, requests=0, failed=0, opened_bytes=0, steps=())


def _difference(after: Steps, before: Steps) -> Steps:
    old = dict(before)
    return tuple((end, n - old.get(end, 0)) for end, n in after if n > old.get(end, 0))


def _sum(parts: Iterable[Steps]) -> Steps:
    sums: dict[float, int] = {}
    for end, n in (step for steps in parts for step in steps):
        sums[end] = sums.get(end, 0) + n
    return tuple(sorted(sums.items()))


def _percentiles(steps: Sequence[tuple[float, int]]) -> tuple[float | None, ...]:
    return tuple(_percentile(steps, share) for share in (0.5, 0.9, 0.99))


def _percentile(steps: Sequence[tuple[float, int]], share: float) -> float | None:
    """Return the seconds that a share of the requests kept to: where the last one's step ends."""
    total = sum(n for _, n in steps)
    wanted, seen = max(1, math.ceil(share * total - 1e-9)), 0
    for end, n in steps:
        seen += n
        if seen >= wanted:
            return end / 1e3
    return None
