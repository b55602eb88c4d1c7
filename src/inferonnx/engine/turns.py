"""Who runs when: calls lead a pass, share another's, or run beside each other.

Rules of this file. The first in the queue leads as soon as fewer than `at_once`
calls do. While that is 1 (weights are still to be opened, or share a buffer), it
takes those of its kind behind it along: they share its pass. Above 1 each call leads a pass of
its own. Whoever changes the queue opens the gates of those whom the change may
concern, and each looks for itself: no change wakes all.

Whatever interrupts a call, wherever it is, `leave` mends what it left undone:
nobody waits for a call that is gone, and whom it had taken along goes back to the
head of the queue. An interrupt is raised between any two steps of Python. So each
step of `leave` may be done again, and locks are taken by `with` and by themselves:
a `Condition` can be interrupted between taking its lock and knowing it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic

from inferonnx.engine.ports import V
from inferonnx.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferonnx.engine.ports import Stop
    from inferonnx.errors import InferonnxError

GATHER_S = 0.001
"""How long a pass waits for those who called in the last one to come back."""


class Gate:
    """Shut until somebody opens it; lets its owner through once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout_s: float = -1) -> None:
        """Return when it is or has been opened, or after the time given; shut again."""
        self._lock.acquire(timeout=timeout_s)

    def open(self) -> None:
        """Let its owner through; the caller holds the queue's lock."""
        if self._lock.locked():
            self._lock.release()


class Call(Generic[V]):
    """One caller's inputs, and then its results or its error.

    Attributes:
        inputs: What it was called with, looked up when a pass begins: they may be made then.
            A pass that is interrupted begins again with them.
        names: Outputs that it wants.
        kind: What its memory depends on: equal for calls that need the same.
        stop: Set once its caller has given it up; None where he never does.
        values: What is alive in its pass.
        results: Copies of its outputs, in the end.
        error: Why it ended without them.
        done: Whether nobody needs to work on it any more; the last to be set.
        share: Calls of the pass that it leads, itself the first; none while it leads none.
        gate: Opened when it should look again.
    """

    __slots__ = (
        "done",
        "error",
        "gate",
        "inputs",
        "kind",
        "names",
        "results",
        "share",
        "stop",
        "values",
    )

    def __init__(
        self,
        inputs: Mapping[str, V],
        names: Sequence[str],
        kind: object = None,
        stop: Stop | None = None,
    ) -> None:
        self.inputs = inputs
        self.names = names
        self.kind = kind
        self.stop = stop
        self.values: dict[str, V] = {}
        self.results: list[object] = []
        self.error: InferonnxError | None = None
        self.done = False
        self.share: tuple[Call[V], ...] = ()
        self.gate = Gate()

    def goes_on(self) -> bool:
        """Tell whether there is more to compute; a call that was given up ends here."""
        if not self.done and self.stop is not None and self.stop.is_set:
            self.fail(EngineError("the call was given up", hint="Call again."))
        return not self.done

    def succeed(self, results: list[object]) -> None:
        """End the call with its results; its activations go at once."""
        self.values = {}
        self.results = results
        self.done = True

    def fail(self, error: InferonnxError) -> None:
        """End the call with an error; its activations go at once."""
        self.values = {}
        self.error = error
        self.done = True


class Turns(Generic[V]):
    """The queue of a stream's calls, and those that lead.

    Attributes:
        at_once: How many calls may lead at once. Written only by who leads alone.
        slots: How many calls may share a pass.
    """

    def __init__(self) -> None:
        self.at_once = 1
        self.slots = 1
        self._lock = threading.Lock()  # guards the five below
        self._waiting: list[Call[V]] = []
        self._leading: list[Call[V]] = []
        self._expected = 1
        self._closing: list[Gate] = []
        self._closed = False

    @property
    def n_waiting(self) -> int:
        """How many calls wait for the next pass."""
        return len(self._waiting)

    @property
    def n_leading(self) -> int:
        """How many calls lead a pass now."""
        return len(self._leading)

    def join(self, call: Call[V]) -> None:
        """Return when `call` is done by another's pass, or leads those in its `share`.

        Raises:
            UsageError: The stream is closed.
        """
        with self._lock:
            self._waiting.append(call)
            self._look_again()
        while not self._leads(call):
            if call.done:
                return
            call.gate.wait()
        if self.at_once == 1 and self._expected > 1:
            # Those of the last pass are on their way back: without this wait who is
            # the first here would start a pass without them.
            self._gather(call, min(self._expected, self.slots))
        with self._lock:
            width = self.slots if self.at_once == 1 else 1
            # Of one kind only: what is lost between values of many sizes was not measured.
            alike = [other for other in self._waiting if other.kind == call.kind]
            call.share = tuple(alike[:width])
            self._waiting = [other for other in self._waiting if other not in call.share]
            self._look_again()

    def _leads(self, call: Call[V]) -> bool:
        """Have `call` lead if it is its turn; it stays at the head until it has its share."""
        with self._lock:
            if self._closed and not call.done:
                raise UsageError("the session is closed", hint="Open the model again.")
            if self._waiting[:1] != [call] or len(self._leading) >= self.at_once:
                return False
            self._leading.append(call)
            return True

    def _gather(self, call: Call[V], enough: int) -> None:
        deadline = time.monotonic() + GATHER_S
        while self.n_waiting < enough and (left_s := deadline - time.monotonic()) > 0:
            call.gate.wait(left_s)

    def _look_again(self) -> None:
        """Open the gates of who may be next, who gathers, and who closes; under the lock."""
        for call in (*self._waiting[:1], *self._leading):
            call.gate.open()
        for gate in self._closing:
            gate.open()

    def leave(self, call: Call[V]) -> None:
        """End what `call` leads or waits for; again does nothing.

        When it no longer leads, its `share` is empty already.
        """
        with self._lock:
            call.done = True
            if call.share:
                self._expected = len(call.share) + len(self._waiting)
            back = [c for c in call.share if not c.done and c not in self._waiting]
            self._waiting = back + [c for c in self._waiting if c is not call]
            for other in call.share:
                other.gate.open()
            call.share = ()
            self._leading = [c for c in self._leading if c is not call]
            self._look_again()

    def close(self) -> None:
        """Refuse all calls from now on; return when none leads any more."""
        gate = Gate()
        with self._lock:
            self._closed = True
            self._closing.append(gate)
            for call in self._waiting:
                call.gate.open()
        while self._leading:
            gate.wait()
