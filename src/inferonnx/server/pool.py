"""Which unlocked models are open, and how the memory for models is shared among them.

Rules of this file. An unlocked model keeps its data key until it is withdrawn; its
session comes and goes. Each open model holds a share: at least what its plan
needs, at most what holds all of it, and no more than leaves every other unlocked
model its least. Who needs room takes it from the model that was used longest ago,
and waits until nobody uses that one any more; meanwhile the leaving model takes no
new users, so that constant use can't keep others out. Models are opened one after
another: two that are opened at once would each measure the other's memory as its
own floor. All state belongs to the event loop's thread; only the opener's calls
run in threads.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import InfeasibleBudgetError, InferonnxError, ModelNotReadyError
from inferonnx.sizes import MIB, format_size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from inferonnx.crypto import Secret
    from inferonnx.server.ports import ModelFacts, Opener, OpenModel, Residency

ModelId = tuple[str, int]
"""Name and version."""


class PoolEntry(NamedTuple):
    """One unlocked model as an operator sees it; `residency` is None while it is closed.

    `load_s` is how long its last opening took, 0 before the first.
    """

    facts: ModelFacts
    share_bytes: int
    n_users: int
    residency: Residency | None
    load_s: float
    problem: str


class _Slot:
    """An unlocked model: what opens it, and while it is open, who uses it."""

    def __init__(self, path: str, data_key: Secret, facts: ModelFacts) -> None:
        self.path = path
        self.data_key = data_key
        self.facts = facts
        self.model: OpenModel | None = None
        self.share_bytes = 0
        self.n_users = 0
        self.last_used = 0
        self.leaving = False
        self.withdrawn = False
        self.opening: asyncio.Task[None] | None = None
        self.load_s = 0.0
        self.problem = ""


class Pool:
    """The unlocked models of a server, within one sum of memory."""

    def __init__(self, opener: Opener, *, total_bytes: int, concurrency: int) -> None:
        """Begin with no model.

        Args:
            opener: Opens sealed files.
            total_bytes: What all open models together may hold.
            concurrency: Calls of one model that may run or wait inside the engine.
        """
        self.total_bytes = total_bytes
        self.concurrency = concurrency
        self._opener = opener
        self._slots: dict[ModelId, _Slot] = {}
        self._uses = count(1)
        self._one_opens = asyncio.Lock()
        self._changed = asyncio.Condition()

    def __contains__(self, model: ModelId) -> bool:
        slot = self._slots.get(model)
        return slot is not None and not slot.withdrawn

    def entry(self, model: ModelId) -> PoolEntry | None:
        """Return what is known of a model, None when it is locked."""
        slot = self._slots.get(model)
        if slot is None or slot.withdrawn:
            return None
        return PoolEntry(
            slot.facts,
            slot.share_bytes,
            slot.n_users,
            slot.model.residency if slot.model is not None else None,
            slot.load_s,
            slot.problem,
        )

    @property
    def used_bytes(self) -> int:
        """Sum of the shares of open models."""
        return sum(slot.share_bytes for slot in self._slots.values())

    async def admit(self, model: ModelId, path: str, data_key: Secret) -> ModelFacts:
        """Take a model's data key in; it is opened when it is first used.

        Raises:
            InferonnxError: The key does not open it, or it can't be served here.
            InfeasibleBudgetError: All the memory for models would not hold it.
        """
        facts = await asyncio.to_thread(self._opener.facts, path, data_key)
        if facts.least_bytes > self.total_bytes:
            missing = facts.least_bytes - self.total_bytes
            raise InfeasibleBudgetError(
                f"the model needs {format_size(facts.least_bytes)} beside the server, and "
                f"{format_size(self.total_bytes)} are there for models",
                needed_bytes=facts.least_bytes,
                budget_bytes=self.total_bytes,
                hint=f"Serve with at least {-(-missing // MIB)} MiB more.",
            )
        while (slot := self._slots.get(model)) is not None:
            if not slot.withdrawn:
                return slot.facts
            async with self._changed:
                await self._changed.wait_for(lambda: model not in self._slots)
        self._slots[model] = _Slot(path, data_key, facts)
        return facts

    async def withdraw(self, model: ModelId) -> bool:
        """Forget a model's key, after the calls that use it; tell whether it was there."""
        slot = self._slots.get(model)
        if slot is None or slot.withdrawn:
            return False
        slot.withdrawn = slot.leaving = True
        async with self._one_opens:  # its share counts until it is closed
            await self._close(slot)
            slot.data_key.wipe()
            del self._slots[model]
        async with self._changed:
            self._changed.notify_all()
        return True

    async def close(self) -> None:
        """Withdraw all models."""
        await asyncio.gather(*(self.withdraw(model) for model in self._slots))

    @asynccontextmanager
    async def lease(self, model: ModelId) -> AsyncIterator[OpenModel]:
        """Give an open model to use, opening it first if need be.

        Raises:
            ModelNotReadyError: It is locked, or was withdrawn meanwhile.
            InferonnxError: It can't be opened.
        """
        slot = self._slots.get(model)
        if slot is None:
            raise ModelNotReadyError("the model is locked: its owner has not unlocked it here")
        opened = await self._opened(slot)
        slot.n_users += 1
        slot.last_used = next(self._uses)
        try:
            yield opened
        finally:
            slot.n_users -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _opened(self, slot: _Slot) -> OpenModel:
        while slot.model is None or slot.leaving:
            if slot.withdrawn:
                raise ModelNotReadyError("the model was unloaded")
            if slot.opening is None:
                slot.opening = asyncio.ensure_future(self._open(slot))
            # Others may wait for the same opening: a caller that leaves does not end it.
            await asyncio.shield(slot.opening)
        return slot.model

    async def _open(self, slot: _Slot) -> None:
        try:
            async with self._one_opens:
                if slot.model is not None or slot.withdrawn:
                    return
                await self._make_room(slot.facts.least_bytes)
                share = self._share(slot)
                slot.share_bytes = share
                began_s = asyncio.get_running_loop().time()
                slot.model = await asyncio.to_thread(
                    self._opener.open,
                    slot.path,
                    slot.data_key,
                    share_bytes=share,
                    concurrency=self.concurrency,
                )
                slot.load_s = asyncio.get_running_loop().time() - began_s
                slot.problem = ""
        except InferonnxError as error:
            slot.share_bytes = 0
            slot.problem = error.message
            raise
        finally:
            slot.opening = None

    async def _make_room(self, n_bytes: int) -> None:
        """Close the models used longest ago until `n_bytes` are free."""
        while self.total_bytes - self.used_bytes < n_bytes:
            open_slots = [slot for slot in self._slots.values() if slot.model is not None]
            victim = min(open_slots, key=lambda slot: slot.last_used)
            victim.leaving = True
            try:
                await self._close(victim)
            finally:
                victim.leaving = victim.withdrawn

    async def _close(self, slot: _Slot) -> None:
        """Close a model as soon as nobody uses it."""
        async with self._changed:
            await self._changed.wait_for(lambda: not slot.n_users)
        opened, slot.model = slot.model, None
        if opened is not None:
            await asyncio.to_thread(opened.close)
        slot.share_bytes = 0

    def _share(self, slot: _Slot) -> int:
        """Return what a model may hold: what others can spare, between its least and all of it."""
        facts = slot.facts
        kept = sum(
            other.facts.least_bytes
            for other in self._slots.values()
            if other is not slot and other.model is None
        )
        free = self.total_bytes - self.used_bytes
        return max(facts.least_bytes, min(facts.full_bytes, free - kept))
