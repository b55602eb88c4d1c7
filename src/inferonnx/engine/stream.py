"""A model that runs from its sealed file, partition by partition.

Rules of this file. Weights of streamed partitions share one buffer, which is
filled before each of them runs; resident partitions keep a buffer of their own,
filled once. Activations live in a dictionary by name and are let go after their
last use. One pass runs at a time; calls that wait for it share the next one:
each block is opened once and its partition run for every call in turn. An error
of one call, or an interrupt of the thread that leads, is never another call's. Which
blocks are opened, and when, depends on the plan alone, never on values.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, NamedTuple

from inferonnx.engine.ports import B, V
from inferonnx.errors import EngineError, InferonnxError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferonnx.engine.blocks import BlockLoader
    from inferonnx.engine.ports import Computation, Runtime
    from inferonnx.sealed import Manifest, Partition

GATHER_S = 0.001
"""How long a pass waits for the calls that shared the last one to come back."""


class PassEvent(NamedTuple):
    """Something that happened in a pass: "open" or "compute" of a partition.

    Times are nanoseconds of the monotonic clock.
    """

    what: str
    partition: int
    start_ns: int
    stop_ns: int


class StreamFigures(NamedTuple):
    """What a stream holds and does each pass, in partitions and bytes."""

    n_partitions: int
    n_resident: int
    resident_bytes: int
    buffer_bytes: int
    streamed_bytes: int


class _Call(Generic[V]):
    """One caller's inputs, and then its outputs or its error."""

    __slots__ = ("done", "error", "values")

    def __init__(self, values: dict[str, V]) -> None:
        self.values = values
        self.error: InferonnxError | None = None
        self.done = False

    def fail(self, error: InferonnxError) -> None:
        """End the call with an error; its activations go at once."""
        self.values = {}
        self.error = error
        self.done = True


class Stream(Generic[V, B]):
    """Runs passes over a sealed model; safe to call from many threads.

    Attributes:
        opened_bytes: Bytes of blocks that passes have opened until now.
    """

    def __init__(
        self,
        manifest: Manifest,
        loader: BlockLoader,
        runtime: Runtime[V, B],
        *,
        after_session: Callable[[int], None] | None = None,
    ) -> None:
        """Make every partition's computation; no weight is read yet. Call `place` next.

        Args:
            manifest: Partitions, inputs and outputs.
            loader: Opens blocks.
            runtime: Computes.
            after_session: Told the number of partitions made ready so far.
        """
        self._output_names = tuple(value.name for value in manifest.outputs)
        self._dying = _last_uses(manifest)
        self._loader = loader
        self._runtime = runtime
        self._computations: list[Computation[V]] = []
        self._buffers: list[B | None] = []
        self._pending: set[int] = set()
        self._shared: B | None = None
        self._figures = StreamFigures(len(manifest.partitions), 0, 0, 0, 0)
        self._slots = 1
        self._ending = threading.Lock()
        self._turn = threading.Condition()  # guards the five below
        self._waiting: list[_Call[V]] = []
        self._busy = False
        self._last_width = 1
        self._closed = False
        self.opened_bytes = 0
        self.on_event: Callable[[PassEvent], None] | None = None
        try:
            for i, partition in enumerate(manifest.partitions):
                self._computations.append(self._make(i, partition))
                if after_session is not None:
                    after_session(i + 1)
        except BaseException:
            for computation in self._computations:
                computation.close()
            raise
        # Skeletons are views of the opened manifest; its memory goes with the last of them.
        self._partitions = tuple(replace(p, skeleton=b"") for p in manifest.partitions)

    def _make(self, i: int, partition: Partition) -> Computation[V]:
        try:
            return self._runtime.computation(partition)
        except EngineError as error:
            error.partition = i
            raise

    @property
    def figures(self) -> StreamFigures:
        """What is resident and what is streamed."""
        return self._figures

    def place(self, resident: frozenset[int], *, slots: int) -> None:
        """Decide which partitions stay in memory once opened, and bind all weights.

        Args:
            resident: Numbers of the partitions that stay.
            slots: How many calls may share a pass.
        """
        blocks = [partition.block_bytes for partition in self._partitions]
        streamed = [size for i, size in enumerate(blocks) if i not in resident]
        buffer_bytes = max(streamed, default=0)
        self._shared = self._runtime.buffer(buffer_bytes) if buffer_bytes else None
        self._slots = max(1, slots)
        for i, partition in enumerate(self._partitions):
            own = self._runtime.buffer(blocks[i]) if i in resident and blocks[i] else None
            self._buffers.append(own)
            buffer = own or self._shared
            if blocks[i] and buffer is not None:
                self._computations[i].bind(self._runtime.weights(partition, buffer))
        self._pending = {i for i in resident if blocks[i]}
        self._figures = StreamFigures(
            n_partitions=len(blocks),
            n_resident=len(blocks) - sum(1 for size in streamed if size),
            resident_bytes=sum(blocks) - sum(streamed),
            buffer_bytes=buffer_bytes,
            streamed_bytes=sum(streamed),
        )

    def run(self, inputs: Mapping[str, V]) -> list[V]:
        """Compute the model's outputs, in the manifest's order.

        Raises:
            AuthenticationError: A segment is not what was sealed; nothing is returned.
            EngineError: onnxruntime fails on these inputs.
            UsageError: The stream is closed.
        """
        call = _Call(dict(inputs))
        try:
            calls = self._wait_for_turn(call)
            if calls:
                try:
                    self._pass(calls)
                finally:
                    self._give_turn(call, calls)
        except BaseException:
            self._withdraw(call)
            raise
        if call.error is not None:
            raise call.error
        return [call.values[name] for name in self._output_names]

    def close(self) -> None:
        """End the pass under way, wipe all weights, give memory back; again if interrupted."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: not self._busy)
        with self._ending:
            self._end()

    def _end(self) -> None:
        self._loader.close()
        while self._computations:
            self._computations.pop().close()
        for buffer in (*self._buffers, self._shared):
            if buffer is not None:
                buffer.close()
        self._buffers, self._shared = [], None

    def _wait_for_turn(self, call: _Call[V]) -> list[_Call[V]]:
        """Queue `call`; return the calls of the pass that it leads, or none when it is done.

        The first in the queue leads. A call that another's pass has finished leaves
        at once, whoever leads next.
        """
        with self._turn:
            self._waiting.append(call)
            self._turn.notify_all()
            self._turn.wait_for(
                lambda: (
                    call.done
                    or self._closed
                    or (not self._busy and bool(self._waiting) and self._waiting[0] is call)
                )
            )
            if call.done:
                return []
            if self._closed:
                raise UsageError("the session is closed", hint="Open the model again.")
            self._busy = True
            if self._last_width > 1:
                # Those that shared the last pass are on their way back: without this
                # wait the first of them would start a pass alone.
                enough = min(self._last_width, self._slots)
                self._turn.wait_for(lambda: len(self._waiting) >= enough, GATHER_S)
            calls = self._waiting[: self._slots]
            del self._waiting[: self._slots]
            self._last_width = len(calls)
            return calls

    def _give_turn(self, own: _Call[V], calls: Sequence[_Call[V]]) -> None:
        """End a pass; what an interrupt left undone waits for the next, at the head."""
        if self._shared is not None and not self._waiting:
            self._shared.wipe()  # nobody needs the last block; the next pass brings its own
        with self._turn:
            self._busy = False
            self._waiting[:0] = [call for call in calls if not call.done and call is not own]
            self._turn.notify_all()

    def _withdraw(self, call: _Call[V]) -> None:
        """Take a call that was interrupted out of the queue: nobody waits for it any more."""
        with self._turn:
            if call in self._waiting:
                self._waiting.remove(call)
            self._turn.notify_all()

    def _pass(self, calls: Sequence[_Call[V]]) -> None:
        """Take calls through all partitions: a bad block ends all of them, a bad call itself."""
        inputs = [dict(call.values) for call in calls]
        try:
            for i in range(len(self._partitions)):
                alive = [call for call in calls if not call.done]
                if not alive:
                    return
                self._bring(i)
                for call in alive:
                    self._step(i, call)
            for call in calls:
                call.done = True
        except InferonnxError as error:
            for call in calls:
                if not call.done:
                    call.fail(error)
        except BaseException:
            # Not theirs: the others begin again in the next pass.
            for call, values in zip(calls, inputs, strict=True):
                call.values = call.values if call.done else values
            raise

    def _bring(self, i: int) -> None:
        """Have the weights of partition `i` in the buffer that they are bound to."""
        n_bytes = self._partitions[i].block_bytes
        own = self._buffers[i]
        buffer = own or self._shared
        if not n_bytes or buffer is None or (own is not None and i not in self._pending):
            return
        start = time.perf_counter_ns()
        self._loader.load(i, buffer.view[:n_bytes])
        self._pending.discard(i)
        self.opened_bytes += n_bytes  # passes run one at a time
        self._tell("open", i, start)

    def _step(self, i: int, call: _Call[V]) -> None:
        """Run partition `i` for one call."""
        partition, values = self._partitions[i], call.values
        start = time.perf_counter_ns()
        try:
            results = self._computations[i].run([values[name] for name in partition.inputs])
        except EngineError as error:
            error.partition = i
            call.fail(error)
            return
        for name in self._dying[i]:
            values.pop(name, None)
        values.update(zip(partition.outputs, results, strict=True))
        self._tell("compute", i, start)

    def _tell(self, what: str, partition: int, start_ns: int) -> None:
        on_event = self.on_event
        if on_event is not None:
            on_event(PassEvent(what, partition, start_ns, time.perf_counter_ns()))


def _last_uses(manifest: Manifest) -> list[tuple[str, ...]]:
    """Return, by partition, the values that nothing needs after it."""
    kept = {value.name for value in manifest.outputs}
    seen: set[str] = set()
    dying = []
    for partition in reversed(manifest.partitions):
        names = set(partition.inputs) - kept - seen
        seen |= names
        dying.append(tuple(sorted(names)))
    return dying[::-1]
