"""What all gRPC connections of a server hold together, beside reserved memory."""

from __future__ import annotations

import asyncio

from inferonnx.server.grpc.limits import CALLS, UNRESERVED_BYTES


class Commons:
    """Counts calls, and bytes that wait for memory.

    Attributes:
        n_calls: Under way.
        held_bytes: What has come and has no memory of its own.
        short_s: Loop time when a call last had to wait for memory.
    """

    __slots__ = ("_has_room", "_most_bytes", "_most_calls", "held_bytes", "n_calls", "short_s")

    def __init__(self, *, calls: int = CALLS, held_bytes: int = UNRESERVED_BYTES) -> None:
        """Begin with nothing."""
        self._most_calls, self._most_bytes = calls, held_bytes
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.short_s = -float("inf")
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

    def hold(self, change: int) -> None:
        """Count bytes that are held now, or are not any more."""
        self.held_bytes += change
        if self.held_bytes <= self._most_bytes:
            self._has_room.set()
        else:
            self._has_room.clear()

    @property
    def is_full(self) -> bool:
        """Whether more is held than may be."""
        return not self._has_room.is_set()

    async def room(self, timeout_s: float) -> bool:
        """Wait until no more is held than may be; tell whether it came to that."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._has_room.wait()
        except TimeoutError:
            return False
