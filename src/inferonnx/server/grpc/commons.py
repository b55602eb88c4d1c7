"""What all gRPC connections of a server hold together, beside reserved memory."""

from __future__ import annotations

from inferonnx.server.grpc.limits import CALLS, UNRESERVED_BYTES


class Commons:
    """Counts calls and the bytes that wait for memory."""

    __slots__ = ("_most_bytes", "_most_calls", "held_bytes", "n_calls")

    def __init__(self, *, calls: int = CALLS, held_bytes: int = UNRESERVED_BYTES) -> None:
        """Begin with nothing."""
        self._most_calls, self._most_bytes = calls, held_bytes
        self.n_calls = 0
        self.held_bytes = 0

    def enter(self) -> bool:
        """Count a call, unless there are too many."""
        if self.n_calls >= self._most_calls:
            return False
        self.n_calls += 1
        return True

    def leave(self) -> None:
        """Count a call less."""
        self.n_calls -= 1

    def hold(self, change: int) -> bool:
        """Count bytes that are held now, or are not any more; tell whether there is room."""
        self.held_bytes += change
        return self.held_bytes <= self._most_bytes
