"""onnxruntime as the engine drives it: one environment, one pool, one arena, many sessions.

Every object here wraps one pointer of the C API and releases it when it goes.
The environment belongs to the process and is shared by all open models. Sessions run with the graph
optimiser off, since skeletons hold finished graphs, and allocate from the
environment's arena.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from typing import TYPE_CHECKING

from inferonnx.errors import EngineError
from inferonnx.runtime import process
from inferonnx.runtime.addresses import address_of
from inferonnx.runtime.ort_api import OrtApi, library_path
from inferonnx.runtime.small_models import empty_sequence_model
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.runtime.stop import Stop

_LOG_FATAL = 4
_ARENA_ALLOCATOR, _DEVICE_ALLOCATOR = 1, 0  # OrtAllocatorType
_MEM_DEFAULT = 0
_OPTIMIZE_NOTHING = 0
_DEFAULT = -1
_SESSION_SETTINGS = {
    b"session.use_env_allocators": b"1",
    # A skeleton that names external data would have onnxruntime read files of this
    # machine, relative to the current folder. Below a device there are none.
    b"session.model_external_initializers_file_folder_path": b"/dev/null/none",
}
_SHRINK = (b"memory.enable_memory_arena_shrinkage", b"cpu:0")
_LOG_ID = b"inferonnx"
_PIECE_BYTES = 1 << 20
"""What is withheld at a time."""

_LAST_S = 10.0
"""How long a new environment waits for the end of the last one, which takes milliseconds."""


class Value:
    """An OrtValue, and what must outlive it: its environment and the memory that it borrows."""

    __slots__ = ("_environment", "_keep", "pointer")

    def __init__(self, environment: Environment, pointer: int, keep: object = None) -> None:
        """Own `pointer`; hold `keep` alive as long as the value lives."""
        self._environment = environment
        self._keep = keep
        self.pointer = pointer

    def __del__(self) -> None:
        if getattr(self, "pointer", 0):  # an interrupt may have left the constructor early
            self._environment.api.release_value(self.pointer)


class OrtSession:
    """A skeleton, ready to run; its weight inputs are bound once and for all."""

    def __init__(
        self,
        environment: Environment,
        model: bytes | memoryview,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        weights: Sequence[str] = (),
    ) -> None:
        """Create the session.

        Args:
            environment: Where it allocates and computes.
            model: The skeleton, an ONNX model.
            inputs: Names of the boundary values that it reads. Default: all its inputs.
            outputs: Names of the boundary values that it makes. Default: all.
            weights: Names of its weight inputs.

        Raises:
            EngineError: onnxruntime refuses the skeleton.
        """
        self._environment = environment
        self._weights: Sequence[Value] = ()
        self._pointer = 0
        held, address = address_of(model)
        self._pointer = environment.api.make(
            "CreateSessionFromArray",
            environment.pointer,
            address,
            len(model),
            environment.session_options,
            what="load a partition",
        )
        del held
        inputs = self._names("Input") if inputs is None else inputs
        outputs = self._names("Output") if outputs is None else outputs
        names = [*inputs, *weights]
        self._n_boundary = len(inputs)
        self._n_inputs = len(names)
        self._n_outputs = len(outputs)
        self._input_names = (ctypes.c_char_p * len(names))(*(n.encode() for n in names))
        self._output_names = (ctypes.c_char_p * len(outputs))(*(n.encode() for n in outputs))
        self._inputs = (ctypes.c_void_p * len(names))()

    def bind(self, weights: Sequence[Value]) -> None:
        """Fix the weight inputs, in the order of their names."""
        self._weights = weights  # alive as long as they are bound
        for i, value in enumerate(weights, self._n_boundary):
            self._inputs[i] = value.pointer

    def run(self, inputs: Sequence[Value], stop: Stop | None = None) -> list[Value]:
        """Compute the outputs from the boundary values, for several callers at once.

        Raises:
            EngineError: onnxruntime fails, or `stop` was set.
        """
        api = self._environment.api
        if len(inputs) != self._n_boundary:
            raise EngineError(
                f"a partition takes {self._n_boundary} values, and {len(inputs)} were given"
            )
        pointers = type(self._inputs).from_buffer_copy(self._inputs)  # this call's own
        for i, value in enumerate(inputs):
            pointers[i] = value.pointer
        results = (ctypes.c_void_p * self._n_outputs)()
        status = api.run(
            self._pointer,
            stop and stop.options(api),
            self._input_names,
            pointers,
            self._n_inputs,
            self._output_names,
            self._n_outputs,
            results,
        )
        values = [Value(self._environment, pointer or 0) for pointer in results]
        api.check(status, "run a partition")
        return values

    def _names(self, side: str) -> list[str]:
        """Return the names of the model's inputs or outputs, as the model says."""
        api, allocator = self._environment.api, self._environment.allocator
        count = ctypes.c_size_t()
        api.call(f"SessionGet{side}Count", self._pointer, ctypes.byref(count))
        names = []
        for i in range(count.value):
            text = api.make(f"SessionGet{side}Name", self._pointer, i, allocator)
            names.append(ctypes.string_at(text).decode())
            api.call("AllocatorFree", allocator, text)
        return names

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Release the session, and its hold on the weights."""
        if getattr(self, "_pointer", 0):
            self._environment.api.release("Session", self._pointer)
            self._pointer = 0
            self._weights = ()


class _Owned:
    """Pointers that are released with the environment, the last one first.

    A weak reference to an object whose `__del__` runs still gives it to other threads,
    half released. That is why an environment has no `__del__`: it is gone for all
    threads at once, and then lets go of this, which nobody else can reach.

    Attributes:
        n_alive: How many there are that are not released.
        changed: Guards `n_alive`, and the process's environment. Reentrant: garbage may
            be collected while it is held.
    """

    n_alive = 0
    changed = threading.Condition(threading.RLock())

    def __init__(self, api: OrtApi) -> None:
        self._api = api
        self._pointers: list[tuple[str, int]] = []
        with self.changed:
            _Owned.n_alive += 1

    def add(self, kind: str, pointer: int) -> int:
        """Own `pointer` from now on, and return it."""
        self._pointers.append((kind, pointer))
        return pointer

    def __del__(self) -> None:
        try:
            while self._pointers:
                self._api.release(*self._pointers.pop())
            # An arena's regions are pieces of the heap, which may keep them when they are
            # freed: 34 MiB of a model that had held 47 were still resident.
            process.trim_heap()
        finally:
            with self.changed:
                _Owned.n_alive -= 1
                self.changed.notify_all()


class Environment:
    """The process's onnxruntime: pool, arena, and the options that all sessions share.

    Use `acquire`: onnxruntime allows one environment a process. It ends when
    nothing refers to it any more, sessions and values included, whatever the
    order in which an error under way lets go of them.

    Attributes:
        api: The library's functions.
        pointer: The OrtEnv.
        allocator: Makes what is neither an activation nor borrowed: strings, names.
        borrowed: Says of a tensor that its memory is not onnxruntime's.
        session_options: The options of every session.
        is_limited: Whether the arena has a limit.
    """

    _current: weakref.ref[Environment] | None = None

    @classmethod
    def acquire(
        cls,
        *,
        n_threads: int,
        spin: bool,
        arena_strategy: int,
        arena_bytes: int,
        arena_limit_bytes: int = 0,
    ) -> Environment:
        """Return the process's environment; the first caller's arguments shape it.

        Args:
            n_threads: Threads that compute, the caller's included.
            spin: Whether idle workers spin before they sleep.
            arena_strategy: 0 doubles the arena when it grows, 1 grows by what is asked.
            arena_bytes: Size of the arena's first region; 0 leaves it to onnxruntime.
            arena_limit_bytes: Most that the arena may hold: what would need more fails. 0 is
                no limit.
        """
        with _Owned.changed:
            # onnxruntime has one at a time: the last may be on its way out in another thread.
            _Owned.changed.wait_for(lambda: cls._alive() or not _Owned.n_alive, _LAST_S)
            environment = cls._alive()
            if environment is None:
                environment = cls(n_threads, spin, arena_strategy, arena_bytes, arena_limit_bytes)
                cls._current = weakref.ref(environment)
            return environment

    @classmethod
    def _alive(cls) -> Environment | None:
        return cls._current() if cls._current else None

    def __init__(
        self, n_threads: int, spin: bool, strategy: int, arena_bytes: int, limit_bytes: int
    ) -> None:
        """Make environment, pool, arena and session options. Call `acquire` instead."""
        api = self.api = _api()
        self.is_limited = limit_bytes > 0
        self._owned = owned = _Owned(api)
        threading_options = api.make("CreateThreadingOptions")
        api.call("SetGlobalIntraOpNumThreads", threading_options, n_threads)
        api.call("SetGlobalInterOpNumThreads", threading_options, 1)
        api.call("SetGlobalSpinControl", threading_options, int(spin))
        self.pointer = owned.add(
            "Env",
            api.make("CreateEnvWithGlobalThreadPools", _LOG_FATAL, _LOG_ID, threading_options),
        )
        api.release("ThreadingOptions", threading_options)
        arena = api.make("CreateArenaCfg", limit_bytes, strategy, arena_bytes or _DEFAULT, _DEFAULT)
        memory = api.make("CreateCpuMemoryInfo", _ARENA_ALLOCATOR, _MEM_DEFAULT)
        api.call("CreateAndRegisterAllocator", self.pointer, memory, arena)
        api.release("ArenaCfg", arena)
        api.release("MemoryInfo", memory)
        self.borrowed = owned.add(
            "MemoryInfo", api.make("CreateCpuMemoryInfo", _DEVICE_ALLOCATOR, _MEM_DEFAULT)
        )
        self.allocator = api.make("GetAllocatorWithDefaultOptions")  # not ours to release
        options = self.session_options = owned.add(
            "SessionOptions", api.make("CreateSessionOptions")
        )
        api.call("SetSessionGraphOptimizationLevel", options, _OPTIMIZE_NOTHING)
        api.call("SetSessionLogSeverityLevel", options, _LOG_FATAL)
        api.call("DisableMemPattern", options)
        api.call("DisablePerSessionThreads", options)
        for key, setting in _SESSION_SETTINGS.items():
            api.call("AddSessionConfigEntry", options, key, setting)
        self._idle = self._shrinking = self._arena = 0

    def prepare_trim(self) -> None:
        """Make what `trim` runs: later, its making would bring in pages of the library.

        onnxruntime shrinks an arena behind a run, so this session has nothing to run.
        """
        with _Owned.changed:
            if self._idle:
                return
            api, owned = self.api, self._owned
            self._shrinking = owned.add("RunOptions", api.make("CreateRunOptions"))
            api.call("AddRunConfigEntry", self._shrinking, *_SHRINK)
            model = empty_sequence_model(DType.FLOAT)
            held, address = address_of(model)
            session = api.make(
                "CreateSessionFromArray", self.pointer, address, len(model), self.session_options
            )
            self._idle = owned.add("Session", session)
            del held

    def trim(self) -> None:
        """Give back what the arena and the heap hold and nobody uses; from any thread."""
        self.prepare_trim()
        names = (ctypes.c_char_p * 1)(b"empty")
        results = (ctypes.c_void_p * 1)()
        status = self.api.run(self._idle, self._shrinking, None, None, 0, names, 1, results)
        Value(self, results[0] or 0)  # goes at once
        self.api.check(status, "shrink its arena")
        process.trim_heap()

    def withhold(self, n_bytes: int) -> Withheld:
        """Take so much of the arena's limit for what is held elsewhere, until that is closed.

        Raises:
            EngineError: Passes hold so much of it that the rest does not do.
        """
        arena = self._allocator_of_arena()
        try:
            return Withheld(self, arena, n_bytes)
        except EngineError:
            self.trim()  # what is free may lie in pieces
            return Withheld(self, arena, n_bytes)

    def _allocator_of_arena(self) -> int:
        self.prepare_trim()
        with _Owned.changed:
            if not self._arena:
                memory = self.api.make("CreateCpuMemoryInfo", _ARENA_ALLOCATOR, _MEM_DEFAULT)
                made = self.api.make("CreateAllocator", self._idle, memory)
                self._arena = self._owned.add("Allocator", made)
                self.api.release("MemoryInfo", memory)
            return self._arena

    @property
    def version(self) -> str:
        """Version of the library that computes."""
        return self.api.version


class Withheld:
    """A part of the arena's limit that no pass can have: nothing is written to it.

    The arena's own lock decides whether it is there. So what passes hold and what is withheld
    are never more than the limit, whatever they ask for meanwhile.
    """

    def __init__(self, environment: Environment, arena: int, n_bytes: int) -> None:
        """Take it, and give back the pages that it may have from what was there before."""
        self._environment, self._arena = environment, arena
        self._pieces: list[int] = []
        try:
            # An arena gives up to twice what is asked for where that is one piece.
            for at in range(0, n_bytes, _PIECE_BYTES):
                size = min(_PIECE_BYTES, n_bytes - at)
                self._pieces.append(environment.api.make("AllocatorAlloc", arena, size))
                process.forget_pages(self._pieces[-1], size)
        except EngineError:
            self.close()
            raise

    def __del__(self) -> None:
        if hasattr(self, "_pieces"):  # an interrupt may have left the constructor early
            self.close()

    def close(self) -> None:
        """Let passes have it; again does nothing."""
        while self._pieces:
            self._environment.api.call("AllocatorFree", self._arena, self._pieces.pop())


_loaded: list[OrtApi] = []


def _api() -> OrtApi:
    """Load the library once; it can't be unloaded."""
    if not _loaded:
        _loaded.append(OrtApi(library_path()))
    return _loaded[0]


def version() -> str:
    """Return the version of the onnxruntime library that the engine uses."""
    return _api().version
