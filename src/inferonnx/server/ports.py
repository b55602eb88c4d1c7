"""What the server's parts need of each other and of the engine, declared where it is needed."""

from __future__ import annotations

from typing import Protocol


class Reservation(Protocol):
    """Bytes of the memory budget that are somebody's until they are released."""

    n_bytes: int

    def try_grow(self, n_bytes: int) -> bool:
        """Take more if it is free now; tell whether it worked."""

    def shrink(self, n_bytes: int) -> None:
        """Give some of it back."""

    def release(self) -> None:
        """Give all of it back; again does nothing."""


class Ledger(Protocol):
    """The bytes that requests may hold at once."""

    async def reserve(self, n_bytes: int) -> Reservation:
        """Wait until so much is free; who holds something already must not.

        Raises:
            UsageError: It never will be.
        """

    def try_reserve(self, n_bytes: int) -> Reservation | None:
        """Return a reservation if there is room now, else None."""
