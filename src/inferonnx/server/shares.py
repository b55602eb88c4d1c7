"""The memory for models: what each open one holds, and what is free for another.

A share is at least what the model's plan needs, at most what holds all of it, and no
more than leaves the other unlocked models their least, as far as they fit beside it
(`server.slots` decides). What the arena has grown to is counted until the last one closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.server.slots import free_for, is_worth_more, share_of
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Collection

    from inferonnx.server.ports import ModelFacts
    from inferonnx.server.slots import Slot


class Shares:
    """One sum of memory and those who hold parts of it.

    Attributes:
        total_bytes: What all open models together may hold.
    """

    def __init__(self, slots: Collection[Slot], *, total_bytes: int) -> None:
        """Count for `slots`, which their owner changes."""
        self.total_bytes = total_bytes
        self._slots = slots
        self._arena_bytes = 0  # that it may have grown to

    @property
    def used_bytes(self) -> int:
        """What open models may hold, and what the arena keeps of closed ones."""
        held = [slot for slot in self._slots if slot.share_bytes]
        left_over = self._arena_bytes - sum(slot.pass_bytes for slot in held)
        return sum(slot.share_bytes for slot in held) + left_over

    def check_least(self, facts: ModelFacts) -> None:
        """Refuse a model that all the memory for models would not hold.

        Raises:
            InfeasibleBudgetError: With both figures.
        """
        if facts.least_bytes > self.total_bytes:
            missing = facts.least_bytes - self.total_bytes
            raise InfeasibleBudgetError(
                f"the model needs {format_size(facts.least_bytes)} beside the server, and "
                f"{format_size(self.total_bytes)} are there for models",
                needed_bytes=facts.least_bytes,
                budget_bytes=self.total_bytes,
                hint=f"Serve with at least {-(-missing // MIB)} MiB more.",
            )

    def free(self, slot: Slot) -> int:
        """Return the largest share that a model can be opened in now."""
        return free_for(
            slot, self._slots, total_bytes=self.total_bytes, arena_bytes=self._arena_bytes
        )

    def share(self, slot: Slot) -> int:
        """Return what a model gets when it is opened next."""
        return share_of(slot, self._slots, free_bytes=self.free(slot))

    def grows(self, slot: Slot) -> bool:
        """Tell whether an open model is worth opening again, in a larger share."""
        return slot.share_bytes < slot.facts.full_bytes and is_worth_more(slot, self.share(slot))

    def hold(self, slot: Slot, share_bytes: int, pass_bytes: int = 0) -> None:
        """Count a share; the arena grows with those that are open, and goes with the last."""
        slot.share_bytes, slot.pass_bytes = share_bytes, pass_bytes
        held = [slot.pass_bytes for slot in self._slots if slot.share_bytes]
        self._arena_bytes = max(self._arena_bytes, sum(held)) if held else 0
