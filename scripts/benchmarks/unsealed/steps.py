"""What each partition of a pass took: a listener of `Session.trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferonnx.engine import PassEvent


class Steps:
    """Adds up reading and computing, by partition."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._ns: dict[int, int] = {}

    def __call__(self, event: PassEvent) -> None:
        """Hear of a step; those of segments are part of others."""
        if event.segment is None:
            took = event.stop_ns - event.start_ns
            self._ns[event.partition] = self._ns.get(event.partition, 0) + took

    def taken_ms(self) -> list[float]:
        """Return the milliseconds of each partition since the last time, in order."""
        ns, self._ns = self._ns, {}
        return [round(ns[i] / 1e6, 3) for i in sorted(ns)]
