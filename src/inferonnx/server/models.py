"""The models that a server has: locked, ready or broken, each version with its queue.

A model is locked until its owner's data key is there, and again after it was
unloaded. Which of the ready ones are open in memory is the pool's matter.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import (
    AuthenticationError,
    InferonnxError,
    ModelNotReadyError,
    PinError,
    SealedFormatError,
    SignatureError,
    TargetError,
    UnavailableError,
)
from inferonnx.oip import UnsupportedError, unknown_model
from inferonnx.server.scheduler import ModelQueue, QueueLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inferonnx.crypto import Secret
    from inferonnx.oip import ModelSignature
    from inferonnx.server.pool import Pool, PoolEntry
    from inferonnx.server.ports import ModelFacts
    from inferonnx.server.stored import StoredModel
    from inferonnx.server.threads import PassThreads

READY, LOCKED, UNAVAILABLE = "ready", "locked", "unavailable"


OTHER_FILE = "Its owner pushes another version."
"""What helps against a file that can't be served; no key does."""

KEY_OR_FILE = "Its owner unlocks it with this very file's key, or pushes another version."
"""What helps where an unlock has failed and cryptography does not tell which of both is wrong."""

FOR_GOOD = (
    PinError,
    SealedFormatError,
    SignatureError,
    TargetError,
    UnsupportedError,
)
"""Failures of an unlock that say of the file itself that it can't be served."""


class ModelView(NamedTuple):
    """One version of a model as an operator sees it."""

    stored: StoredModel
    state: str
    reason: str
    entry: PoolEntry | None
    queue: ModelQueue
    way_out: str = ""
    """What makes it ready; empty where that is the usual: its owner unlocks it."""


class _Version:
    def __init__(self, stored: StoredModel, queue: ModelQueue) -> None:
        self.stored = stored
        self.queue = queue
        self.failure: InferonnxError | None = None  # why the last unlock did not work


class Models:
    """All versions of all models, by name."""

    def __init__(
        self,
        pool: Pool,
        limits: QueueLimits,
        threads: PassThreads,
        *,
        overdue: Callable[[str, int], None] = lambda _name, _version: None,
    ) -> None:
        """Begin with none.

        Args:
            pool: Opens them.
            limits: Of each version's queue.
            threads: Where passes run.
            overdue: Told the name and version of a model that computes on for nobody.
        """
        self._overdue = overdue
        self._pool, self._limits, self._threads = pool, limits, threads
        self._versions: dict[str, dict[int, _Version]] = {}

    def add(self, stored: StoredModel) -> None:
        """Take a version in; it is locked, unless it has a problem."""
        model = (stored.name, stored.version)
        queue = ModelQueue(
            *(self._pool, model, self._limits, self._threads),
            overdue=partial(self._overdue, *model),
        )
        self._versions.setdefault(stored.name, {})[stored.version] = _Version(stored, queue)

    async def remove(self, name: str, version: int) -> None:
        """Forget a version, after what runs on it."""
        self._version(name, version)
        del self._versions[name][version]
        if not self._versions[name]:
            del self._versions[name]
        await self._pool.withdraw((name, version))

    def views(self) -> Iterable[ModelView]:
        """Give all versions, by name and number."""
        for name in sorted(self._versions):
            for number in sorted(self._versions[name]):
                yield self._view(self._versions[name][number])

    def stored(self, name: str, version: int) -> StoredModel:
        """Return what the repository says of a version.

        Raises:
            NotFoundError: There is no such version.
        """
        return self._version(name, version).stored

    def find(self, name: str, version: int | None) -> ModelView:
        """Return a version; without a number the newest that is ready, else the newest.

        Raises:
            NotFoundError: There is none.
        """
        if version is not None:
            return self._view(self._version(name, version))
        versions = self._versions.get(name)
        if not versions:
            raise unknown_model(name)
        numbers = sorted(versions, reverse=True)
        ready = [number for number in numbers if (name, number) in self._pool]
        return self._view(versions[(ready or numbers)[0]])

    def ready_versions(self, name: str) -> list[int]:
        """Return the numbers of the versions that answer, rising."""
        return sorted(n for n in self._versions.get(name, ()) if (name, n) in self._pool)

    def signature(self, view: ModelView) -> ModelSignature:
        """Return what a ready version takes and gives.

        Raises:
            ModelNotReadyError: It is locked or broken.
            UnsupportedError: It never can be served.
        """
        if view.state == READY and view.entry is not None:
            return view.entry.facts.signature
        self.check_can_be_served(view)
        raise ModelNotReadyError(
            f"model '{view.stored.name}' version {view.stored.version} is not ready: {view.reason}",
            hint=view.way_out,
        )

    def check_can_be_served(self, view: ModelView) -> None:
        """Refuse for good, where an unlock has shown that no other would help.

        Raises:
            UnsupportedError: It takes or gives what the protocol can't carry.
        """
        failure = self._version(view.stored.name, view.stored.version).failure
        if isinstance(failure, UnsupportedError):
            raise failure.again()

    async def unlock(self, name: str, version: int, data_key: Secret) -> ModelView:
        """Make a version ready.

        (1) The key is this file's, by the header's commitment. (2) Its manifest is
        authentic. (3) It is the model that was there when it was listed, and that its
        owner has named, and was not deleted meanwhile. (4) Its sealed name is the one that
        it is served under.

        Raises:
            InferonnxError: One of these fails, it can't be served in this memory, or what
                stands in its place can't be served at all.
        """
        found = self._version(name, version)
        refusal = found.stored.refusal
        if isinstance(refusal, UnavailableError):  # the file is looked at once: not soon again
            raise ModelNotReadyError(refusal.message, hint=OTHER_FILE)
        if refusal is not None:
            raise refusal.again()
        try:
            await self._pool.admit(  # (1) (2)
                (name, version),
                found.stored.path,
                data_key,
                check=partial(self._check_admitted, found),
            )
        except InferonnxError as error:
            found.failure = error.again()  # without this attempt's frames
            raise
        found.failure = None
        return self._view(found)

    def not_unlocked(self, name: str, version: int, error: InferonnxError) -> None:
        """Remember why a version could not be unlocked: whoever asks is told, until it is."""
        self._version(name, version).failure = error.again()

    def _check_admitted(self, found: _Version, facts: ModelFacts) -> None:
        stored = found.stored
        if self._versions.get(stored.name, {}).get(stored.version) is not found:  # (3)
            raise unknown_model(stored.name, str(stored.version))
        if facts.model_id != stored.model_id:
            raise PinError(
                "the file is another than when the server listed it",
                hint="Start the server again, or push the model.",
            )
        if facts.name != stored.name:  # (4)
            raise PinError(
                "the name that is sealed in the model is another than it is stored under",
                hint="Push it under the name that it was sealed with.",
            )

    async def lock(self, name: str, versions: Iterable[int]) -> None:
        """Forget the keys of versions, each after what runs on it."""
        for version in (found := list(versions)):
            self._version(name, version).failure = None
        # At once: none is served on while another's pass ends.
        await asyncio.gather(*(self._pool.withdraw((name, version)) for version in found))

    async def open(self, name: str, version: int) -> None:
        """Open a ready version now rather than with its first request."""
        async with self._pool.lease((name, version)):
            pass

    async def finish(self) -> None:
        """Return when no queue has anything to do."""
        queues = [v.queue for versions in self._versions.values() for v in versions.values()]
        await asyncio.gather(*(queue.finish() for queue in queues))

    def _version(self, name: str, version: int) -> _Version:
        found = self._versions.get(name, {}).get(version)
        if found is None:
            raise unknown_model(name, str(version) if name in self._versions else "")
        return found

    def _view(self, found: _Version) -> ModelView:
        stored = found.stored
        entry = self._pool.entry((stored.name, stored.version))
        if stored.problem:
            return ModelView(
                stored, UNAVAILABLE, stored.problem, entry, found.queue, way_out=OTHER_FILE
            )
        if entry is not None:
            return ModelView(stored, READY, entry.problem, entry, found.queue)
        state, reason, way_out = _state_without_key(found.failure)
        return ModelView(stored, state, reason, entry, found.queue, way_out=way_out)


def _state_without_key(failure: InferonnxError | None) -> tuple[str, str, str]:
    """Return state, reason and way out of a version whose key the server does not have."""
    if failure is None:
        return LOCKED, "its owner has not unlocked it since it was loaded", ""
    if isinstance(failure, FOR_GOOD):
        return UNAVAILABLE, failure.message, OTHER_FILE
    way_out = KEY_OR_FILE if isinstance(failure, AuthenticationError) else ""
    return LOCKED, f"it could not be unlocked: {failure.message}", way_out
