"""An unlocked model, and what part of the memory for models it gets.

The functions decide and change nothing: `pool` acts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inferonnx.crypto import Secret
    from inferonnx.errors import InferonnxError
    from inferonnx.server.ports import ModelFacts, OpenModel


class Slot:
    """An unlocked model: what opens it, and while it is open, who uses it."""

    def __init__(self, path: str, data_key: Secret, facts: ModelFacts) -> None:
        self.path = path
        self.data_key = data_key
        self.facts = facts
        self.model: OpenModel | None = None
        self.share_bytes = 0
        self.pass_bytes = 0  # part of it
        self.load_s = 0.0
        self.n_users = 0
        self.n_overdue = 0  # of these: who may never leave
        self.changed = asyncio.Event()  # either, so that somebody may wait no more
        self.last_used = 0
        self.leaving = False  # takes no new users
        self.withdrawn = False
        self.gone = asyncio.Event()
        self.waiting: list[asyncio.Future[OpenModel]] = []
        self.opening = False
        self.failure: InferonnxError | None = None
        self.retry_at = 0.0

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for it."""
        return any(not turn.done() for turn in self.waiting)

    def refuse(self, error: InferonnxError) -> None:
        """Tell all who wait that the model can't be had."""
        waiting, self.waiting = self.waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_exception(error.again())

    async def until_unused(self) -> None:
        """Return when nobody uses it."""
        while self.n_users:
            await self._change()

    async def until_settled(self) -> None:
        """Return when nobody uses it, or somebody may do so for ever."""
        while self.n_users and not self.n_overdue:
            await self._change()

    async def _change(self) -> None:
        self.changed.clear()
        await self.changed.wait()


def free_for(slot: Slot, slots: Iterable[Slot], *, total_bytes: int, arena_bytes: int) -> int:
    """Return the largest share that a model can be opened in without closing another.

    What the arena has grown to stays, and serves whoever is open; it goes with the
    last of them.

    Args:
        slot: The model; what it holds itself counts as free.
        slots: All models.
        total_bytes: What all of them may hold.
        arena_bytes: What the arena may have grown to.
    """
    others = [other for other in slots if other is not slot and other.share_bytes]
    held = sum(other.share_bytes for other in others)
    passes = sum(other.pass_bytes for other in others)
    left_over = max(0, arena_bytes - passes - slot.facts.pass_bytes) if others else 0
    return total_bytes - held - left_over


def share_of(slot: Slot, slots: Iterable[Slot], *, free_bytes: int) -> int:
    """Return what a model gets when it is opened next: what the others can spare.

    They keep the least of each that is closed, the one used last first, where it fits
    beside this one's: memory for one that does not would be nobody's.
    """
    least, full = slot.facts.least_bytes, slot.facts.full_bytes
    closed = [s for s in slots if s is not slot and not s.share_bytes and not s.withdrawn]
    for other in sorted(closed, key=lambda s: s.last_used, reverse=True):
        if free_bytes - other.facts.least_bytes >= least:
            free_bytes -= other.facts.least_bytes
    return max(least, min(full, free_bytes))


def is_worth_more(slot: Slot, share_bytes: int) -> bool:
    """Tell whether an open model is worth closing to be opened in another share.

    It is when nobody uses it and, since others have left, a quarter more of it would fit.
    """
    if slot.model is None or slot.n_users or slot.withdrawn:
        return False
    more = share_bytes - slot.share_bytes
    return more > 0 and 4 * more >= slot.facts.full_bytes


def first_to_go(slots: Iterable[Slot]) -> Slot | None:
    """Return the open model that gives its memory up first, when others need room.

    One that leaves anyway, then one that nobody uses, then the one used longest ago; none
    where all are used by somebody who may never leave.
    """
    return min(
        (slot for slot in slots if slot.model is not None and not slot.n_overdue),
        key=lambda s: (not s.withdrawn, s.n_users > 0, s.last_used),
        default=None,
    )
