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

from inferonnx.errors import EngineError, TensorError
from inferonnx.runtime.ort_api import OrtApi, library_path
from inferonnx.tensors import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Exported: TypeAlias = "Tensor | list[Exported] | dict[int | str, Exported] | None"

_LOG_FATAL = 4
_ARENA_ALLOCATOR, _DEVICE_ALLOCATOR = 1, 0  # OrtAllocatorType
_MEM_DEFAULT = 0
_OPTIMIZE_NOTHING = 0
_TENSOR, _SEQUENCE, _MAP = 1, 2, 3
_DEFAULT = -1
_SESSION_SETTINGS = {
    b"session.use_env_allocators": b"1",
    # A skeleton that names external data would have onnxruntime read files of this
    # machine, relative to the current folder. Below a device there are none.
    b"session.model_external_initializers_file_folder_path": b"/dev/null/none",
}
# ONNXTensorElementDataType numbers the newest types in another order than ONNX does.
_ORT_TYPES: dict[int, int] = {DType.FLOAT8E8M0: 26, DType.UINT2: 24, DType.INT2: 25}
_ONNX_TYPES = {theirs: ours for ours, theirs in _ORT_TYPES.items()}
_LOG_ID = b"inferonnx"


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


class Session:
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
        held, address = _address(model)
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

    def run(self, inputs: Sequence[Value]) -> list[Value]:
        """Compute the outputs from the boundary values, for several callers at once.

        Raises:
            EngineError: onnxruntime fails.
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
            None,
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


class Environment:
    """The process's onnxruntime: pool, arena, and the options that all sessions share.

    Use `acquire`: onnxruntime allows one environment a process. It ends when
    nothing refers to it any more, sessions and values included, whatever the
    order in which an error under way lets go of them.
    """

    _lock = threading.Lock()
    _current: weakref.ref[Environment] | None = None

    @classmethod
    def acquire(
        cls, *, n_threads: int, spin: bool, arena_strategy: int, arena_bytes: int
    ) -> Environment:
        """Return the process's environment; the first caller's arguments shape it.

        Args:
            n_threads: Threads that compute, the caller's included.
            spin: Whether idle workers spin before they sleep.
            arena_strategy: 0 doubles the arena when it grows, 1 grows by what is asked.
            arena_bytes: Size of the arena's first region; 0 leaves it to onnxruntime.
        """
        with cls._lock:
            environment = cls._current() if cls._current else None
            if environment is None:
                environment = cls(n_threads, spin, arena_strategy, arena_bytes)
                cls._current = weakref.ref(environment)
            return environment

    def __del__(self) -> None:
        for kind, pointer in getattr(self, "_owned", ()):
            self.api.release(kind, pointer)

    def __init__(self, n_threads: int, spin: bool, strategy: int, arena_bytes: int) -> None:
        """Make environment, pool, arena and session options. Call `acquire` instead."""
        self._owned: list[tuple[str, int]] = []
        api = self.api = _api()
        threading_options = api.make("CreateThreadingOptions")
        api.call("SetGlobalIntraOpNumThreads", threading_options, n_threads)
        api.call("SetGlobalInterOpNumThreads", threading_options, 1)
        api.call("SetGlobalSpinControl", threading_options, int(spin))
        self.pointer = api.make(
            "CreateEnvWithGlobalThreadPools", _LOG_FATAL, _LOG_ID, threading_options
        )
        self._owned.append(("Env", self.pointer))
        api.release("ThreadingOptions", threading_options)
        arena = api.make("CreateArenaCfg", 0, strategy, arena_bytes or _DEFAULT, _DEFAULT)
        memory = api.make("CreateCpuMemoryInfo", _ARENA_ALLOCATOR, _MEM_DEFAULT)
        api.call("CreateAndRegisterAllocator", self.pointer, memory, arena)
        api.release("ArenaCfg", arena)
        api.release("MemoryInfo", memory)
        self._borrowed = api.make("CreateCpuMemoryInfo", _DEVICE_ALLOCATOR, _MEM_DEFAULT)
        self._owned.insert(0, ("MemoryInfo", self._borrowed))
        self.allocator = api.make("GetAllocatorWithDefaultOptions")  # not ours to release
        options = self.session_options = api.make("CreateSessionOptions")
        self._owned.insert(0, ("SessionOptions", options))
        api.call("SetSessionGraphOptimizationLevel", options, _OPTIMIZE_NOTHING)
        api.call("SetSessionLogSeverityLevel", options, _LOG_FATAL)
        api.call("DisableMemPattern", options)
        api.call("DisablePerSessionThreads", options)
        for key, setting in _SESSION_SETTINGS.items():
            api.call("AddSessionConfigEntry", options, key, setting)

    @property
    def version(self) -> str:
        """Version of the library that computes."""
        return self.api.version

    def borrow(
        self, memory: object, address: int, tensor: tuple[int, tuple[int, ...], int]
    ) -> Value:
        """Return a value over memory that stays where it is.

        Args:
            memory: Kept alive with the value.
            address: Where the tensor begins.
            tensor: Its dtype number, shape and size in bytes.
        """
        dtype, shape, n_bytes = tensor
        dims = (ctypes.c_int64 * len(shape))(*shape)
        pointer = self.api.make(
            "CreateTensorWithDataAsOrtValue",
            self._borrowed,
            address,
            n_bytes,
            dims,
            len(shape),
            _ORT_TYPES.get(dtype, dtype),
            what="wrap a tensor",
        )
        return Value(self, pointer, memory)

    def load(self, value: Exported, kind: str = "") -> Value:
        """Return an onnxruntime value of a tensor (borrowed), a list or a dict.

        Args:
            value: What to hand over.
            kind: Its declared type, "seq(tensor(float))"; an empty list needs it.
        """
        if value is None:
            raise TensorError("an input has no value")
        if isinstance(value, Tensor):
            if value.strings is not None:
                return self._strings(value)
            buffer, address = _address(value.data)
            return self.borrow(
                (buffer, value), address, (value.dtype, value.shape, len(value.data))
            )
        if isinstance(value, dict):
            return self._collection(_MAP, [self.load(part) for part in _map_parts(value)])
        if not value:
            return self._empty_sequence(kind)
        return self._collection(_SEQUENCE, [self.load(part) for part in value])

    def dump(self, value: Value) -> Exported:
        """Return a copy of an onnxruntime value, free of onnxruntime's memory."""
        if not value.pointer:
            return None  # an optional output that the model has not made
        kind = ctypes.c_int()
        self.api.call("GetValueType", value.pointer, ctypes.byref(kind))
        if kind.value == _TENSOR:
            return self._dump_tensor(value)
        if kind.value not in (_SEQUENCE, _MAP):
            raise EngineError("an output is neither tensor, sequence nor map")
        count = ctypes.c_size_t()
        self.api.call("GetValueCount", value.pointer, ctypes.byref(count))
        parts = [
            self.dump(Value(self, self.api.make("GetValue", value.pointer, i, self.allocator)))
            for i in range(count.value)
        ]
        return parts if kind.value == _SEQUENCE else _map_of(parts)

    def _collection(self, kind: int, parts: list[Value]) -> Value:
        pointers = (ctypes.c_void_p * len(parts))(*(part.pointer for part in parts))
        pointer = self.api.make(
            "CreateValue", pointers, len(parts), kind, what="build a sequence or map"
        )
        return Value(self, pointer, parts)

    def _empty_sequence(self, kind: str) -> Value:
        """Return a sequence of nothing, which the C API can't build but an operator can."""
        session = Session(self, empty_sequence_model(DType.of_type(kind[len("seq(") : -1])))
        try:
            (value,) = session.run([])
        finally:
            session.close()
        return value

    def _strings(self, tensor: Tensor) -> Value:
        if any("\0" in text for text in tensor.strings or ()):
            raise TensorError("onnxruntime takes no string with a NUL character in it")
        dims = (ctypes.c_int64 * len(tensor.shape))(*tensor.shape)
        pointer = self.api.make(
            "CreateTensorAsOrtValue", self.allocator, dims, len(tensor.shape), DType.STRING
        )
        texts = [text.encode() for text in tensor.strings or ()]
        array = (ctypes.c_char_p * len(texts))(*texts)
        value = Value(self, pointer)
        self.api.call("FillStringTensor", pointer, array, len(texts))
        return value

    def _dump_tensor(self, value: Value) -> Tensor:
        api = self.api
        info = api.make("GetTensorTypeAndShape", value.pointer)
        try:
            number, rank = ctypes.c_int(), ctypes.c_size_t()
            api.call("GetTensorElementType", info, ctypes.byref(number))
            api.call("GetDimensionsCount", info, ctypes.byref(rank))
            dims = (ctypes.c_int64 * rank.value)()
            api.call("GetDimensions", info, dims, rank.value)
        finally:
            api.release("TensorTypeAndShapeInfo", info)
        shape, dtype = tuple(dims), DType(_ONNX_TYPES.get(number.value, number.value))
        n_elements = 1
        for dim in shape:
            n_elements *= dim
        if dtype is DType.STRING:
            texts = self._dump_strings(value, n_elements)
            return Tensor(dtype=dtype, shape=shape, data=memoryview(b""), strings=texts)
        n_bytes = dtype.n_bytes(n_elements)
        copy = bytearray(n_bytes)
        if n_bytes:
            address = api.make("GetTensorMutableData", value.pointer)
            ctypes.memmove((ctypes.c_char * n_bytes).from_buffer(copy), address, n_bytes)
        return Tensor(dtype=dtype, shape=shape, data=memoryview(copy), strings=None)

    def _dump_strings(self, value: Value, count: int) -> tuple[str, ...]:
        if not count:
            return ()
        total = ctypes.c_size_t()
        self.api.call("GetStringTensorDataLength", value.pointer, ctypes.byref(total))
        content = ctypes.create_string_buffer(total.value or 1)
        offsets = (ctypes.c_size_t * count)()
        self.api.call("GetStringTensorContent", value.pointer, content, total.value, offsets, count)
        raw, stops = content.raw, [*offsets[1:], total.value]
        try:
            return tuple(
                raw[start:stop].decode() for start, stop in zip(offsets, stops, strict=True)
            )
        except UnicodeDecodeError as error:
            raise TensorError("an output holds a string that is not UTF-8") from error


_loaded: list[OrtApi] = []


def _api() -> OrtApi:
    """Load the library once; it can't be unloaded."""
    if not _loaded:
        _loaded.append(OrtApi(library_path()))
    return _loaded[0]


def version() -> str:
    """Return the version of the onnxruntime library that the engine uses."""
    return _api().version


def empty_sequence_model(dtype: DType) -> bytes:
    """Return an ONNX model of one SequenceEmpty: no inputs, one output of type seq(tensor).

    Written out field by field, since nothing here may import onnx (onnx.proto:
    ModelProto 1 ir_version, 7 graph, 8 opset_import; GraphProto 1 node, 2 name,
    12 output; NodeProto 2 output, 4 op_type, 5 attribute).
    """

    def field(number: int, content: bytes | int) -> bytes:
        if isinstance(content, int):
            return bytes([number << 3, content])
        return bytes([number << 3 | 2, len(content)]) + content

    attribute = field(1, b"dtype") + field(3, int(dtype)) + b"\xa0\x01\x02"  # type 20: INT
    node = field(2, b"empty") + field(4, b"SequenceEmpty") + field(5, attribute)
    tensor = field(1, field(1, int(dtype)))
    sequence = field(4, field(1, tensor))
    output = field(1, b"empty") + field(2, sequence)
    graph = field(1, node) + field(2, b"g") + field(12, output)
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def _address(data: bytes | bytearray | memoryview) -> tuple[object, int]:
    """Return an object that keeps `data` in place, and the address of its first byte."""
    view = memoryview(data)
    if not view.nbytes:
        return data, 0
    if not view.readonly:
        array = (ctypes.c_char * view.nbytes).from_buffer(view)
        return array, ctypes.addressof(array)
    if isinstance(data, bytes):
        return data, ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    # from_buffer wants writable memory; the buffer protocol gives the address of the rest.
    held = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(data), ctypes.byref(held), 0)
    address = held.buf or 0
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(held))
    return view, address


class _PyBuffer(ctypes.Structure):
    """Py_buffer of CPython's stable ABI (Include/cpython or pybuffer.h, since 3.11)."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def _map_parts(mapping: dict[int | str, Exported]) -> tuple[Tensor, Tensor]:
    """Return keys and values of a map as two rank-1 tensors, as onnxruntime wants them."""
    keys, values = list(mapping), list(mapping.values())
    if all(isinstance(key, str) for key in keys):
        first = Tensor(
            dtype=DType.STRING,
            shape=(len(keys),),
            data=memoryview(b""),
            strings=tuple(str(key) for key in keys),
        )
    else:
        numbers = (ctypes.c_int64 * len(keys))(*(int(key) for key in keys))
        first = Tensor(
            dtype=DType.INT64, shape=(len(keys),), data=memoryview(bytes(numbers)), strings=None
        )
    if not all(isinstance(value, Tensor) and not value.shape for value in values):
        raise TensorError("the values of a map must be scalars")
    scalars = [value for value in values if isinstance(value, Tensor)]
    dtype = scalars[0].dtype if scalars else DType.FLOAT
    if dtype is DType.STRING:
        texts = tuple((value.strings or ("",))[0] for value in scalars)
        return first, Tensor(dtype=dtype, shape=(len(keys),), data=memoryview(b""), strings=texts)
    data = b"".join(bytes(value.data) for value in scalars)
    return first, Tensor(dtype=dtype, shape=(len(keys),), data=memoryview(data), strings=None)


def _map_of(parts: list[Exported]) -> dict[int | str, Exported]:
    """Return a dict from the two rank-1 tensors of an onnxruntime map."""
    keys, values = parts
    if not isinstance(keys, Tensor) or not isinstance(values, Tensor):
        raise EngineError("a map has no tensors of keys and values")
    return dict(zip(_scalars(keys), _scalar_tensors(values), strict=True))


def _scalars(tensor: Tensor) -> list[int | str]:
    if tensor.strings is not None:
        return list(tensor.strings)
    return list(tensor.data.cast("B").cast("q"))


def _scalar_tensors(tensor: Tensor) -> list[Tensor]:
    if tensor.strings is not None:
        return [
            Tensor(dtype=tensor.dtype, shape=(), data=memoryview(b""), strings=(text,))
            for text in tensor.strings
        ]
    size = tensor.dtype.n_bytes(1)
    return [
        Tensor(dtype=tensor.dtype, shape=(), data=tensor.data[i : i + size], strings=None)
        for i in range(0, len(tensor.data), size)
    ]
