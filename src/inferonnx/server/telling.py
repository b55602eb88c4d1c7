"""Connections and exchanges, told to the log: one line for each request.

A client may name its request by `X-Request-Id`; the name is logged, clipped. Nothing
else that a client writes is: paths are told as their routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.control import How, Role
from inferonnx.server.observer import Observer

if TYPE_CHECKING:
    from inferonnx.control import Caller
    from inferonnx.engine import PassEvent
    from inferonnx.server.log import Log
    from inferonnx.server.messages import ExchangeFigures, Head
    from inferonnx.server.peer import Peer

REQUEST_ID = "x-request-id"
MAX_ID_CHARS = 64

LEFT = 499
"""Stands for the status of a reply that its client did not wait for, as in nginx's logs."""


class LogObserver(Observer):
    """Writes what happens."""

    def __init__(self, log: Log) -> None:
        """Write to `log`."""
        self._log = log

    def refused(self, peer: Peer, reason: str) -> None:
        """Tell of a connection that was not served."""
        self._log.event("refused", level="debug", peer=peer.address, error=reason)

    def answered(self, peer: Peer, head: Head | None, figures: ExchangeFigures) -> None:
        """Tell of a request, when the last byte of its reply has gone or the client has."""
        has_left = not figures.sent_s
        ends = figures.sent_s or figures.replied_s or figures.received_s or figures.headed_s
        given = head.headers.get(REQUEST_ID, "")[:MAX_ID_CHARS] if head is not None else ""
        self._log.event(
            "request",
            level="warning" if figures.status >= 500 else "info",
            number=figures.number,
            request=given or None,
            peer=peer.address,
            method=head.method if head is not None else None,
            status=LEFT if has_left else figures.status,
            ms=max(0.0, ends - figures.begun_s) * 1e3,
            engine_ms=figures.engine_s * 1e3 if figures.engine_s else None,
            received=figures.n_received,
            sent=figures.n_sent,
            **figures.details,
        )

    def failed(self, reference: str, error: BaseException) -> None:
        """Tell of a bug of ours, by its kind alone: its text could hold anything."""
        self._log.event("bug", level="error", request=reference, code=type(error).__name__)


def tell_pass(log: Log, event: PassEvent) -> None:
    """Tell what each partition took; of segments there are too many."""
    if event.segment is None:
        log.event(
            "pass",
            level="debug",
            step=event.what,
            partition=event.partition,
            ms=(event.stop_ns - event.start_ns) / 1e6,
        )


def tell_overdue(log: Log, name: str, version: int) -> None:
    """Tell of a pass that can't be ended: one node computes, or a Loop without any."""
    log.event(
        "pass_overdue",
        level="warning",
        model=name,
        version=version,
        error="nobody waits for it any more and it does not end: it may hold the model, its "
        "memory and a thread until the server is stopped",
    )


def shown_caller(caller: Caller) -> str:
    """Return how a caller proved who it is, for logs."""
    words = caller.how.value if not caller.name else f"{caller.how.value} {caller.name}"
    anonymous = caller.how is How.ANONYMOUS and Role.INFER not in caller.roles
    return "nobody" if anonymous else words
