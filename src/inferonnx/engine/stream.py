"""A model that runs from its sealed file, partition by partition.

Rules of this file. Weights of streamed partitions share one buffer, which is
filled before each of them runs; resident partitions keep a buffer of their own,
filled once. Activations live in a dictionary by name and are let go after their
last use. While a pass opens blocks it runs alone; calls that wait for it share the
next one: each block is opened once and its partition run for every call in turn.
Once nothing is left to open, calls run beside each other. An error of one call, or
an interrupt of the thread that leads, is never another call's. Which blocks are
opened, and when, depends on the plan alone, never on values. A call that was given up
is dropped at the next partition.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from inferonnx.engine.events import tell
from inferonnx.engine.ports import B, V
from inferonnx.engine.turns import Call, Turns
from inferonnx.errors import EngineError, InferonnxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferonnx.engine.blocks import BlockLoader
    from inferonnx.engine.events import Listener
    from inferonnx.engine.ports import Computation, Runtime, Stop
    from inferonnx.sealed import Manifest, Partition


EARLY = 1
"""Partition after which a first pass has started: two have run, the rest is to come."""


class StreamFigures(NamedTuple):
    """What a stream holds and does each pass, in partitions and bytes."""

    n_partitions: int
    n_resident: int
    resident_bytes: int
    buffer_bytes: int
    streamed_bytes: int


class Stream(Generic[V, B]):
    """Runs passes over a sealed model; safe to call from many threads.

    Attributes:
        opened_bytes: Bytes of blocks that passes have opened until now.
        on_event: Told what a pass does, by whichever thread does it.
        make_room: Told the kind of a call before it runs behind calls of another kind,
            whose memory is of no use to it.
    """

    def __init__(
        self,
        manifest: Manifest,
        loader: BlockLoader,
        runtime: Runtime[V, B],
        *,
        after_session: Callable[[int], None] | None = None,
        once_started: Callable[[], None] | None = None,
    ) -> None:
        """Make every partition's computation; no weight is read yet. Call `place` next.

        Args:
            manifest: Partitions, inputs and outputs.
            loader: Opens blocks.
            runtime: Computes.
            after_session: Told the number of partitions made ready so far.
            once_started: Called once, early in the first pass: what first runs bring in
                of libraries is not all needed again.
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
        self._n_parallel = 1
        self._turns = Turns[V]()
        self._ending = threading.Lock()
        self._once_started = once_started
        self.opened_bytes = 0
        self._kind: object = None
        self._is_mixed = False
        self.on_event: Listener | None = None
        self.make_room: Callable[[Any], None] | None = None
        self.judge: Callable[[Sequence[V]], InferonnxError | None] | None = None
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

    def place(self, resident: frozenset[int], *, slots: int, n_parallel: int = 1) -> None:
        """Decide which partitions stay in memory once opened, and bind all weights.

        Args:
            resident: Numbers of the partitions that stay.
            slots: How many calls may share a pass.
            n_parallel: How many calls may run beside each other once nothing is left to open.
        """
        blocks = [partition.block_bytes for partition in self._partitions]
        streamed = [size for i, size in enumerate(blocks) if i not in resident]
        buffer_bytes = max(streamed, default=0)
        self._shared = self._runtime.buffer(buffer_bytes) if buffer_bytes else None
        self._turns.slots = max(1, slots)
        self._n_parallel = max(1, n_parallel)
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

    def run(
        self,
        inputs: Mapping[str, V],
        kind: object = None,
        *,
        names: Sequence[str] | None = None,
        stop: Stop | None = None,
    ) -> list[object]:
        """Return copies of the model's outputs.

        Args:
            inputs: By name; looked up when the pass begins, and copied then if need be.
            kind: What the memory of a call depends on: the shapes of its inputs.
            names: Which outputs, in this order. Default: all, in the manifest's.
            stop: Given up once it is set: from then on it ends as soon as its turn comes.

        Raises:
            AuthenticationError: A segment is not what was sealed; nothing is returned.
            EngineError: onnxruntime fails on these inputs, or the call was given up.
            UsageError: The stream is closed.
        """
        call = Call(inputs, self._output_names if names is None else names, kind, stop)
        try:
            self._turns.join(call)
            if call.share:
                self._pass(call.share)
        finally:
            try:
                self._leave(call)
            except BaseException:  # an interrupt; the others still have to go on
                self._leave(call)
                raise
        if call.error is not None:
            raise call.error
        return call.results

    def close(self) -> None:
        """End the passes under way, wipe all weights, give memory back; again if interrupted."""
        self._turns.close()
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

    def _leave(self, call: Call[V]) -> None:
        """End the turn of `call`, if it has one; again does nothing."""
        if call.share:  # it leads, so that what is shared is not another's yet
            if self._shared is None:
                self._turns.at_once = 1 if self._pending else self._n_parallel
            elif not self._turns.n_waiting:
                self._shared.wipe()  # nobody needs the last block; the next pass brings its own
        self._turns.leave(call)

    def _pass(self, calls: Sequence[Call[V]]) -> None:
        """Take calls through all partitions: a bad block ends all of them, a bad call itself."""
        try:
            for call in calls:
                _load(call)
            for i in range(len(self._partitions)):
                alive = [call for call in calls if call.goes_on()]
                if not alive:
                    return
                self._bring(i)
                for call in alive:
                    self._step(i, call)
                    if i == len(self._partitions) - 1:
                        self._finish(call)
                if i == EARLY and self._once_started is not None:
                    once_started, self._once_started = self._once_started, None
                    once_started()
            for call in calls:
                self._finish(call)  # of a model without partitions
        except InferonnxError as error:
            for call in calls:
                if not call.done:
                    call.fail(error)

    def _bring(self, i: int) -> None:
        """Have the weights of partition `i` in the buffer that they are bound to."""
        n_bytes = self._partitions[i].block_bytes
        own = self._buffers[i]
        buffer = own or self._shared
        if not n_bytes or buffer is None or (own is not None and i not in self._pending):
            return
        listener = self.on_event
        start = time.perf_counter_ns() if listener is not None else 0
        self._loader.load(i, buffer.view[:n_bytes], listener)
        self._pending.discard(i)
        self.opened_bytes += n_bytes  # passes that open run one at a time
        if listener is not None:
            tell(listener, "load", i, start)

    def _expect(self, call: Call[V]) -> None:
        """Have room made where memory of other kinds would add up with that of `call`.

        Beside calls that still hold theirs it is made again and again, until a call is
        alone with its kind.
        """
        if call.kind != self._kind or self._is_mixed:
            is_first, self._kind = self._kind is None, call.kind
            self._is_mixed = self._turns.n_leading > 1
            if self.make_room is not None and not is_first:
                self.make_room(call.kind)

    def _step(self, i: int, call: Call[V]) -> None:
        """Run partition `i` for one call."""
        if i == 0:
            self._expect(call)
        partition, values = self._partitions[i], call.values
        listener = self.on_event
        start = time.perf_counter_ns() if listener is not None else 0
        try:
            results = self._computations[i].run([values[n] for n in partition.inputs], call.stop)
        except EngineError as error:
            error.partition = i
            call.fail(error)
            return
        for name in self._dying[i]:
            values.pop(name, None)
        values.update(zip(partition.outputs, results, strict=True))
        if listener is not None:
            tell(listener, "compute", i, start)

    def _finish(self, call: Call[V]) -> None:
        """Copy the outputs of a call, before another computes.

        Small ones that stay in the arena until their caller has come to copy them take
        places out of the large ones that the next call needs: it would grow by those.
        """
        if call.done:
            return
        # Asked and not caught: an error that was raised keeps the values of its frames.
        problem = self.judge([call.values[n] for n in call.names]) if self.judge else None
        if problem is not None:
            call.fail(problem)
            return
        try:
            call.succeed([self._runtime.copy(call.values[name]) for name in call.names])
        except InferonnxError as error:
            call.fail(error)


def _load(call: Call[V]) -> None:
    """Take a call's inputs into its pass: who waits holds no copy of them."""
    try:
        call.values = dict(call.inputs)
    except InferonnxError as error:
        call.fail(error)


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
