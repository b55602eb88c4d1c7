"""Which unlocked models are open, and how the memory for models is shared among them.

Rules of this file. An unlocked model keeps its data key until it is withdrawn; its
session comes and goes. Each open model holds a share (`server.shares`). Who needs room
takes it from models that nobody uses, the one used longest ago first, and from one in
use when there is no other: it takes no new users then, and is closed when it has none,
so that constant use can't keep others out. One with a user who may never leave (`overdue`)
is not waited for. Who waited for a model uses it from the
moment that it is open, so that the next in turn can't take it away unused. Models are
opened and closed one after another, in the order in which they were asked for.

All state belongs to the event loop's thread; only the opener's calls run in threads.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import BusyError, InferonnxError, ModelNotReadyError, UnavailableError
from inferonnx.server.shares import Shares
from inferonnx.server.slots import Slot, first_to_go
from inferonnx.server.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from inferonnx.crypto import Secret
    from inferonnx.server.ports import ModelFacts, Opener, OpenModel, Residency

ModelId = tuple[str, int]
"""Name and version."""

PAUSE_S = 1.0
"""How long a model that could not be opened is not tried again: each try makes room first,
and would take it from models that work."""

UNLOADED = "the model was unloaded"
STOPPING = "the server is stopping"
LATER = "Try again when it runs again."


class PoolEntry(NamedTuple):
    """One unlocked model as an operator sees it; `residency` is None while it is closed.

    Attributes:
        facts: What its manifest says.
        share_bytes: What it may hold; 0 while it is closed.
        n_users: Calls that use it now.
        residency: What it holds and streams.
        load_s: How long its last opening took; 0 before the first.
        problem: Why it could not be opened, in a sentence; "" when it could.
    """

    facts: ModelFacts
    share_bytes: int
    n_users: int
    residency: Residency | None
    load_s: float
    problem: str


class Pool:
    """The unlocked models of a server, within one sum of memory."""

    def __init__(
        self, opener: Opener, *, total_bytes: int, concurrency: int, n_rows: int = 1
    ) -> None:
        """Begin with no model.

        Args:
            opener: Opens sealed files.
            total_bytes: What all open models together may hold.
            concurrency: Calls of one model that may run or wait inside the engine.
            n_rows: Rows of a batch or request for which a model gets memory if there is some.
        """
        self.concurrency = concurrency
        self.n_rows = n_rows
        self._opener = opener
        self._slots: dict[ModelId, Slot] = {}
        self._shares = Shares(self._slots.values(), total_bytes=total_bytes)
        self._uses = count(1)
        self._turn = asyncio.Lock()  # held by who opens or closes
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __contains__(self, model: ModelId) -> bool:
        slot = self._slots.get(model)
        return slot is not None and not slot.withdrawn

    def facts(self, model: ModelId) -> ModelFacts | None:
        """Return what the manifest of a model says, None when it is locked."""
        slot = self._slots.get(model)
        return slot.facts if slot is not None and not slot.withdrawn else None

    def entry(self, model: ModelId) -> PoolEntry | None:
        """Return what an operator sees of a model, None when it is locked."""
        slot = self._slots.get(model)
        if slot is None or slot.withdrawn:
            return None
        return PoolEntry(
            slot.facts,
            slot.share_bytes,
            slot.n_users,
            slot.model.residency if slot.model is not None else None,
            slot.load_s,
            slot.failure.message if slot.failure is not None else "",
        )

    @property
    def total_bytes(self) -> int:
        """What all open models together may hold."""
        return self._shares.total_bytes

    @total_bytes.setter
    def total_bytes(self, n_bytes: int) -> None:
        self._shares.total_bytes = n_bytes

    @property
    def used_bytes(self) -> int:
        """What open models may hold, and what the arena keeps of closed ones."""
        return self._shares.used_bytes

    async def admit(
        self,
        model: ModelId,
        path: str,
        data_key: Secret,
        *,
        check: Callable[[ModelFacts], None] = lambda _: None,
    ) -> ModelFacts:
        """Take a model's data key in; it is opened when it is first used.

        The key is the pool's from here on, and wiped when the pool has no use for it:
        on an error, when the model is unlocked already, and when it is withdrawn.

        Args:
            model: Which one.
            path: Of its file.
            data_key: Of that file.
            check: Raises where it is not wanted, in the moment in which it would be taken in.

        Raises:
            InferonnxError: The key does not open it, or it can't be served here.
            InfeasibleBudgetError: All the memory for models would not hold it.
        """
        kept: Secret | None = None
        try:
            facts = await in_thread(
                None,
                self._opener.facts,
                path,
                data_key,
                concurrency=self.concurrency,
                n_rows=self.n_rows,
            )
            self._shares.check_least(facts)
            while (slot := self._slots.get(model)) is not None and slot.withdrawn:
                await slot.gone.wait()
            if self._closed:
                raise ModelNotReadyError(STOPPING, hint=LATER)
            check(facts if slot is None else slot.facts)
            if slot is None:
                slot = self._slots[model] = Slot(path, data_key, facts)
            kept = slot.data_key
            return slot.facts
        finally:
            if kept is not data_key:
                data_key.wipe()

    async def withdraw(self, model: ModelId) -> bool:
        """Forget a model's key, after the calls that use it; tell whether it was there.

        It is forgotten even if the caller does not wait for the end.
        """
        slot = self._slots.get(model)
        if slot is None or slot.withdrawn:
            return False
        await asyncio.shield(self._withdraw(model, slot))
        return True

    async def close(self) -> None:
        """Withdraw all models, and take no more; return when all is wiped."""
        self._closed = True
        for model, slot in self._slots.items():
            if not slot.withdrawn:
                self._withdraw(model, slot)
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

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
        opened = await self._join(slot)
        try:
            yield opened
        finally:
            self._leave(slot)

    @contextmanager
    def overdue(self, model: ModelId) -> Iterator[None]:
        """Count one who uses a model as one who may never leave."""
        slot = self._slots[model]
        slot.n_overdue += 1
        slot.changed.set()
        try:
            yield
        finally:
            slot.n_overdue -= 1

    async def _join(self, slot: Slot) -> OpenModel:
        """Become a user of the model as soon as it is open and takes users."""
        if slot.withdrawn:
            raise ModelNotReadyError(UNLOADED)
        stays = not slot.leaving and (self._turn.locked() or not self._shares.grows(slot))
        if slot.model is not None and stays:
            return self._used(slot, slot.model)
        if slot.failure is not None and asyncio.get_running_loop().time() < slot.retry_at:
            raise slot.failure.again()
        turn: asyncio.Future[OpenModel] = asyncio.get_running_loop().create_future()
        slot.waiting.append(turn)
        self._ask(slot)
        try:
            return await turn
        except BaseException:
            if turn in slot.waiting:
                slot.waiting.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self._leave(slot)  # it had become a user in the moment of the interrupt
            raise

    def _used(self, slot: Slot, opened: OpenModel) -> OpenModel:
        slot.n_users += 1
        slot.last_used = next(self._uses)
        return opened

    def _leave(self, slot: Slot) -> None:
        slot.n_users -= 1
        slot.last_used = next(self._uses)
        if not slot.n_users:
            slot.changed.set()

    def _start(
        self, work: Coroutine[None, None, None], over: Callable[[asyncio.Task[None]], None]
    ) -> asyncio.Task[None]:
        """Begin what runs in a task of its own: no caller that leaves interrupts it.

        `over` is called at its end, also when it is cancelled before it has begun.
        """
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(over)
        return task

    def _ask(self, slot: Slot) -> None:
        """See to it that a model is opened for those that wait for it."""
        if not slot.opening:
            slot.opening = True
            self._start(self._open(slot), partial(self._asked, slot))

    def _asked(self, slot: Slot, task: asyncio.Task[None]) -> None:
        slot.opening = False
        if task.cancelled():
            slot.refuse(ModelNotReadyError(STOPPING, hint=LATER))
        elif slot.is_wanted:  # since the end of the task
            self._ask(slot)

    async def _open(self, slot: Slot) -> None:
        """Open a model for those that wait for it; whatever happens, all of them are told."""
        try:
            async with self._turn:
                if self._shares.grows(slot):
                    await self._close(slot)
                if slot.model is None:
                    await self._make_room(slot)
                if slot.model is None and slot.is_wanted:
                    slot.model = await self._opened(slot)
                    slot.failure = None
                if slot.model is not None:
                    self._hand_over(slot, slot.model)
        except Exception as error:
            # Without the frames of this attempt, which hold what it worked on.
            slot.failure = error.again() if isinstance(error, InferonnxError) else _bug(error)
            slot.retry_at = asyncio.get_running_loop().time() + PAUSE_S
            slot.refuse(slot.failure)

    def _hand_over(self, slot: Slot, opened: OpenModel) -> None:
        """Make all who wait users."""
        waiting, slot.waiting = slot.waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(self._used(slot, opened))

    async def _opened(self, slot: Slot) -> OpenModel:
        """Open a model in the share that it gets, which counts as used from here on."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        opened: list[OpenModel] = []
        self._shares.hold(slot, self._shares.share(slot), slot.facts.pass_bytes)

        def work() -> None:
            opened.append(
                self._opener.open(
                    slot.path,
                    slot.data_key,
                    share_bytes=slot.share_bytes,
                    concurrency=self.concurrency,
                    model_id=slot.facts.model_id,
                )
            )

        try:
            await in_thread(None, work)
        except BaseException:
            try:
                for model in opened:  # it was interrupted, and nobody else knows of it
                    await in_thread(None, model.close)
            finally:
                self._shares.hold(slot, 0)
            raise
        slot.load_s = loop.time() - began
        self._shares.hold(slot, slot.share_bytes, opened[0].residency.pass_bytes)
        return opened[0]

    async def _make_room(self, slot: Slot) -> None:
        """Close others until a model's least is free, as long as somebody waits for it."""
        while slot.is_wanted and self._shares.free(slot) < slot.facts.least_bytes:
            victim = first_to_go(self._slots.values())
            if victim is None:
                raise BusyError("models whose passes do not end hold the memory of this one")
            victim.leaving = True
            try:
                await victim.until_settled()
                if slot.is_wanted and not victim.n_users:
                    await self._close(victim)
            finally:
                victim.leaving = victim.withdrawn

    async def _close(self, slot: Slot) -> None:
        """Close a model that nobody uses."""
        opened, slot.model = slot.model, None
        if opened is None:
            return
        try:
            await in_thread(None, opened.close)
        except Exception:
            # Whoever wanted its room is not at fault; its operator reads this.
            slot.failure = UnavailableError("the model could not be closed properly")
        finally:
            self._shares.hold(slot, 0)

    def _withdraw(self, model: ModelId, slot: Slot) -> asyncio.Task[None]:
        slot.withdrawn = slot.leaving = True
        slot.refuse(ModelNotReadyError(UNLOADED))
        return self._start(self._end(slot), partial(self._ended, model, slot))

    async def _end(self, slot: Slot) -> None:
        """Close a model that was withdrawn."""
        await slot.until_unused()  # before the turn: others are opened meanwhile
        async with self._turn:
            await self._close(slot)

    def _ended(self, model: ModelId, slot: Slot, _task: asyncio.Task[None]) -> None:
        slot.data_key.wipe()
        del self._slots[model]
        slot.gone.set()


def _bug(error: Exception) -> InferonnxError:
    return UnavailableError(f"the model can't be opened: an unexpected {type(error).__name__}")
