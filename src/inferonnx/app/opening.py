"""Open a sealed model inside a memory budget, and run it.

What runs in the enclave begins here: nothing in this file's imports reaches
`onnx`, `numpy` or the onnxruntime Python package.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.engine import BlockLoader, Stream
from inferonnx.errors import InfeasibleBudgetError, TargetError, TensorError, UsageError
from inferonnx.plan import choose_resident
from inferonnx.runtime import process
from inferonnx.runtime.engine_runtime import OrtRuntime
from inferonnx.runtime.files import FileSource
from inferonnx.runtime.ort import Environment
from inferonnx.runtime.ort import Session as OrtSession
from inferonnx.sealed import (
    HEADER_BYTES,
    SegmentOpener,
    check_pin,
    check_pinned_name,
    file_keys,
    open_manifest,
    parse_header,
    unwrap_data_key,
    verify_header,
)
from inferonnx.sizes import MIB, format_size, parse_size
from inferonnx.tensors import DType, Tensor, as_tensor, parse_npy, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from inferonnx.app.keys import Key
    from inferonnx.engine import PassEvent
    from inferonnx.runtime.ort import Exported
    from inferonnx.sealed import FileKeys, Manifest, Pin, ValueInfo

SPIN_BELOW_US = 30_000
"""A pass shorter than this gains more from workers that spin than it loses (docs/memory.md)."""

DROP_EVERY = 8
"""Sessions made between two drops of library pages, so that opening has no peak of its own."""

NO_BUDGET_BYTES = 1 << 62
"""Stands for a budget where none was given: nothing exceeds it."""

PROBE_TOLERANCE = 1e-4
"""Largest difference of the probe; a wrong layout is off by the size of the values."""


class Figures(NamedTuple):
    """What an open session holds and does.

    Bytes; `peak_bytes` is the predicted peak of the process, `floor_bytes` what it
    held when everything but weights and activations was there.
    """

    n_partitions: int
    n_resident: int
    resident_bytes: int
    buffer_bytes: int
    streamed_bytes: int
    floor_bytes: int
    peak_bytes: int
    budget_bytes: int
    concurrency: int
    open_ms: float


class OpenedFile(NamedTuple):
    """A sealed file whose header and manifest are authentic."""

    source: FileSource
    keys: FileKeys
    manifest: Manifest
    opener: SegmentOpener


def open_file(path: str, *, key: Key, pin: Pin | None = None) -> OpenedFile:
    """Verify the header of a sealed file and open its manifest; no weight is read.

    (1) The header is well formed. (2) Its owner signed it. (3) The key fits, and
    opens the data key that the header commits to. (4) The manifest is authentic.
    (5) It is the model that was pinned.

    Raises:
        SealedFormatError, SignatureError, KeyMismatchError, AuthenticationError,
        PinError: In the order of the steps.
    """
    source = FileSource(path)
    try:
        header = parse_header(source.read(0, min(HEADER_BYTES, source.size)))  # (1)
        verified = verify_header(header)  # (2)
        keys = file_keys(verified, unwrap_data_key(verified, key.owner))  # (3)
        offset = header.manifest_offset(source.size)
        if pin is not None:
            check_pin(pin, verified)  # (5), as far as the header goes
        sealed = source.read(offset, header.manifest_bytes)
        manifest = open_manifest(keys, sealed, file_bytes=source.size)  # (4)
        if pin is not None:
            check_pinned_name(pin, manifest)  # (5)
        return OpenedFile(source, keys, manifest, SegmentOpener(keys, manifest))
    except BaseException:
        source.close()
        raise


def open_blocks(
    path: str, *, key: Key, n_threads: int
) -> tuple[BlockLoader, list[int], memoryview]:
    """Return what reads and opens blocks, their sizes, and room for the largest: for measuring."""
    opened = open_file(path, key=key)
    blocks = [partition.block_bytes for partition in opened.manifest.partitions]
    buffer = process.PrivateBuffer(max(blocks, default=0))
    loader = BlockLoader(opened.source, opened.opener, n_threads=n_threads)
    return loader, blocks, buffer.view


def open(  # noqa: A001 - the name that users of files and archives know
    path: str | os.PathLike[str],
    *,
    key: Key,
    memory: int | str | None = None,
    pin: Pin | None = None,
    threads: int | None = None,
    concurrency: int = 1,
    as_numpy: bool = True,
    page_drop: bool = True,
    spin: bool | None = None,
) -> Session:
    """Open a sealed model so that it runs inside a memory budget.

    Args:
        path: The sealed file.
        key: The owner's key.
        memory: Peak of this process's resident memory from here on, in bytes or as
            "85MiB"; what the process held before counts. Default: the budget that
            the model was sealed for.
        pin: The model, or owner, name and least release, that is acceptable.
        threads: Threads that open and compute. Default: the cores of the process.
        concurrency: How many waiting calls may share a pass over the weights; memory is
            kept for their activations. Others wait for the next pass.
        as_numpy: Return numpy arrays where numpy is installed.
        page_drop: Let go of clean pages of libraries once they have started.
        spin: Whether idle workers spin. Default: for passes of less than 30 ms.

    Returns:
        A session; use it in `with`, or close it.

    Raises:
        InfeasibleBudgetError: The budget is below what this model needs here.
        TargetError: Sealed for another onnxruntime version or CPU layout.
        Others: As `open_file`.
    """
    start = time.perf_counter()
    if as_numpy:
        _has_numpy()  # before anything is measured: it counts as floor
    peak_before = process.peak_resident_bytes() or 0
    opened = open_file(os.fspath(path), key=key, pin=pin)
    arena = opened.manifest.arena
    session = _make_session(
        opened,
        threads or process.cores(),
        spin=_spins(opened.manifest) if spin is None else spin,
        arena=(arena.strategy, arena.initial_bytes),
        as_numpy=as_numpy,
        page_drop=page_drop,
    )
    del opened  # its bytes are no part of the floor
    try:
        budget = session.sealed_budget_bytes if memory is None else parse_size(memory)
        session.place(
            budget, concurrency=max(1, concurrency), start_s=start, peak_before=peak_before
        )
    except BaseException:
        session.close()
        raise
    return session


def open_unplanned(
    path: str,
    *,
    key: Key,
    pin: Pin | None = None,
    arena: tuple[int, int] | None = None,
    page_drop: bool = True,
) -> Session:
    """Open a model with nothing resident and no budget: to measure its needs, to verify it.

    Args:
        path: The sealed file.
        key: The owner's key.
        pin: What is acceptable.
        arena: Strategy and initial bytes of the arena, other than those sealed.
        page_drop: Let go of clean pages of libraries once they have started.
    """
    opened = open_file(path, key=key, pin=pin)
    sealed = opened.manifest.arena
    session = _make_session(
        opened,
        process.cores(),
        spin=_spins(opened.manifest),
        arena=arena or (sealed.strategy, sealed.initial_bytes),
        as_numpy=False,
        page_drop=page_drop,
    )
    del opened
    session.place(None, concurrency=1, start_s=time.perf_counter(), peak_before=0)
    return session


def _make_session(
    opened: OpenedFile,
    n_threads: int,
    *,
    spin: bool,
    arena: tuple[int, int],
    as_numpy: bool,
    page_drop: bool,
) -> Session:
    """Make a session of an open file, and close the file when that fails."""
    process.forbid_core_dumps()
    if page_drop:
        process.drop_clean_file_pages()  # those of the interpreter, before onnxruntime's come
    try:
        environment = Environment.acquire(
            n_threads=n_threads, spin=spin, arena_strategy=arena[0], arena_bytes=arena[1]
        )
        if page_drop:
            process.drop_clean_file_pages()  # those of onnxruntime's start, before its kernels come
        _check_target(opened.manifest, environment)
        return Session(opened, environment, n_threads, as_numpy=as_numpy, page_drop=page_drop)
    except BaseException:
        opened.source.close()
        raise


class Session:
    """An open sealed model, shaped like onnxruntime's InferenceSession; safe for threads.

    Attributes:
        session_bytes: Resident bytes that making the sessions of all partitions took.
    """

    def __init__(
        self,
        opened: OpenedFile,
        environment: Environment,
        n_threads: int,
        *,
        as_numpy: bool,
        page_drop: bool,
    ) -> None:
        """Make the sessions of all partitions. Use `inferonnx.open`."""
        self._source = opened.source
        self._environment = environment
        self._manifest = opened.manifest
        self._model_id = opened.keys.verified.model_id.hex()
        self._as_numpy = as_numpy and _has_numpy()
        self._figures: Figures | None = None
        drop = process.drop_clean_file_pages if page_drop else int
        self._before_first_run: Callable[[], int] | None = drop
        loader = BlockLoader(opened.source, opened.opener, n_threads=n_threads)
        try:
            drop()
            before = process.resident_bytes() or 0

            def after_session(count: int) -> None:
                if count % DROP_EVERY == 0:
                    drop()

            self._stream = Stream(
                opened.manifest, loader, OrtRuntime(environment), after_session=after_session
            )
        except BaseException:
            loader.close()
            raise
        drop()
        self.session_bytes = max(0, (process.resident_bytes() or 0) - before)
        # The skeletons are views of the opened manifest: with them its memory goes.
        self._manifest = without_skeletons(opened.manifest)

    def __enter__(self) -> Self:
        """Return the session, which `with` closes."""
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the weights, release everything; calls under way end first."""
        self._stream.close()
        self._source.close()

    def get_inputs(self) -> tuple[ValueInfo, ...]:
        """Return the model's inputs: name, type ("tensor(float)") and shape."""
        return self._manifest.inputs

    def get_outputs(self) -> tuple[ValueInfo, ...]:
        """Return the model's outputs: name, type and shape."""
        return self._manifest.outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """The model's own metadata."""
        return self._manifest.metadata

    @property
    def name(self) -> str:
        """The model's sealed name."""
        return self._manifest.name

    @property
    def model_id(self) -> str:
        """Identity of the sealed model: 64 hexadecimal digits."""
        return self._model_id

    @property
    def planned_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the inputs that the plan was measured with."""
        return self._manifest.planned_shapes

    @property
    def sealed_budget_bytes(self) -> int:
        """The budget that the model was sealed for."""
        return self._manifest.memory.budget_bytes

    @property
    def figures(self) -> Figures:
        """What this session holds and streams."""
        if self._figures is None:
            raise UsageError("the session is not ready")
        return self._figures

    def trace(self, on_event: Callable[[PassEvent], None] | None) -> None:
        """Have `on_event` told whatever a pass does, from the thread that runs it."""
        self._stream.on_event = on_event

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, object]) -> list[object]:
        """Run the model.

        Args:
            output_names: Which outputs to return, in this order; None for all.
            inputs: By name: numpy arrays, or anything with the array interface,
                DLPack or a buffer; lists and dicts of those for sequences and maps.

        Returns:
            numpy arrays where numpy is installed and wanted, `Tensor` otherwise.

        Raises:
            TensorError: An input is missing, unknown, or of another type or shape.
            InfeasibleBudgetError: Inputs larger than planned would break the budget.
            AuthenticationError: The file was changed; nothing is returned.
        """
        names = [value.name for value in self._manifest.outputs]
        wanted = names if output_names is None else list(output_names)
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise UsageError(
                f"the model has no output {unknown[0]!r}", hint=f"It has: {', '.join(names)}."
            )
        tensors = self._checked(inputs)
        self._check_sizes(tensors)
        if self._before_first_run is not None:
            # Reading inputs has brought pages back that a pass does not need.
            self._before_first_run()
            self._before_first_run = None
        load, types = self._environment.load, {v.name: v.type for v in self._manifest.inputs}
        results = self._stream.run({n: load(tensor, types[n]) for n, tensor in tensors.items()})
        by_name = dict(zip(names, results, strict=True))
        del results
        return [self._give(self._environment.dump(by_name[name])) for name in wanted]

    def _checked(self, inputs: Mapping[str, object]) -> dict[str, Exported]:
        known = {value.name: value for value in self._manifest.inputs}
        for name in inputs:
            if name not in known:
                raise TensorError(
                    f"the model has no input {name!r}", hint=f"It has: {', '.join(known)}."
                )
        tensors = {}
        for name, value in known.items():
            if name not in inputs:
                raise TensorError(
                    f"input {name!r} is missing", hint=f"The model has: {', '.join(known)}."
                )
            tensors[name] = exported(inputs[name])
            tensor = tensors[name]
            if value.type.startswith("tensor("):
                if not isinstance(tensor, Tensor):
                    raise TensorError(f"input {name!r} must be a {value.type}")
                validate(name, tensor, value.type, value.shape)
        return tensors

    def _check_sizes(self, tensors: Mapping[str, Exported]) -> None:
        """Refuse inputs whose activations the budget may not hold."""
        growth = 1.0
        for name, planned in self._manifest.planned_shapes.items():
            tensor = tensors[name]
            if isinstance(tensor, Tensor) and len(planned) == len(tensor.shape):
                growth = max(growth, _growth(tensor.shape, planned))
        figures = self.figures
        extra = int((growth - 1) * self._manifest.arena.peak_bytes)
        if extra > figures.budget_bytes - figures.peak_bytes:
            needed = figures.peak_bytes + extra
            raise InfeasibleBudgetError(
                f"the inputs are larger than the model was planned for, and may need "
                f"{format_size(needed)} instead of {format_size(figures.budget_bytes)}",
                needed_bytes=needed,
                budget_bytes=figures.budget_bytes,
                hint="Open with more memory, or seal with --dim or --input for these shapes.",
            )

    def _give(self, value: Exported) -> object:
        if not self._as_numpy:
            return value
        from inferonnx.app.arrays import to_numpy

        return to_numpy(value)

    def place(
        self, budget: int | None, *, concurrency: int, start_s: float, peak_before: int
    ) -> None:
        """Divide the budget: what is left beside floor, a pass and waiting calls holds weights.

        Args:
            budget: Bytes; None streams everything and promises nothing.
            concurrency: Calls that may share a pass.
            start_s: When opening began, by the performance counter.
            peak_before: VmHWM when opening began, in bytes.

        Raises:
            InfeasibleBudgetError: The budget does not hold the largest block, or
                opening itself took more.
        """
        memory, pass_bytes = self._manifest.memory, self._manifest.arena.peak_bytes
        opening_peak = process.peak_resident_bytes() or 0
        floor = process.resident_bytes()
        if floor is None:  # no such figure here: count what was measured when sealing
            floor = memory.floor_bytes
        held = floor + pass_bytes + (concurrency - 1) * memory.call_bytes
        blocks = [partition.block_bytes for partition in self._manifest.partitions]
        if budget is None:
            resident, buffer_bytes = frozenset[int](), max(blocks, default=0)
            budget = NO_BUDGET_BYTES
        else:
            if opening_peak > max(budget, peak_before):
                raise _infeasible(opening_peak, budget)
            resident, buffer_bytes = _residency(blocks, budget, held)
        used = buffer_bytes + sum(blocks[i] for i in resident)
        self._stream.place(resident, slots=concurrency)
        self._figures = Figures(
            **self._stream.figures._asdict(),
            floor_bytes=floor,
            peak_bytes=max(held + used, 0 if opening_peak == peak_before else opening_peak),
            budget_bytes=budget,
            concurrency=concurrency,
            open_ms=(time.perf_counter() - start_s) * 1e3,
        )


def _residency(blocks: Sequence[int], budget: int, held_bytes: int) -> tuple[frozenset[int], int]:
    """Return what stays resident beside `held_bytes`, and the size of the buffer for the rest."""
    try:
        return choose_resident(blocks, available_bytes=max(0, budget - held_bytes))
    except InfeasibleBudgetError as error:
        raise _infeasible(held_bytes + error.needed_bytes, budget) from error


def _infeasible(needed: int, budget: int) -> InfeasibleBudgetError:
    return InfeasibleBudgetError(
        f"this model needs at least {format_size(needed)} here, the budget is "
        f"{format_size(budget)}",
        needed_bytes=needed,
        budget_bytes=budget,
        hint=f"Give it --memory {-(-needed // MIB)}MiB, or seal it for a smaller budget.",
    )


def without_skeletons(manifest: Manifest) -> Manifest:
    """Return a manifest that holds no view of the opened bytes."""
    return replace(
        manifest,
        partitions=tuple(replace(p, skeleton=b"") for p in manifest.partitions),
        probe=None,
        check=None,
        tags=b"",
    )


def _growth(shape: Sequence[int], planned: Sequence[int]) -> float:
    """Return by how much activations may grow: linear in the first axis, quadratic in others.

    The first axis is a batch in all models that we know; the others can be a
    sequence, whose attention scores grow with its square.
    """
    growth = 1.0
    for axis, (mine, theirs) in enumerate(zip(shape, planned, strict=True)):
        if mine > theirs:
            growth *= (mine / max(1, theirs)) ** (1 if axis == 0 else 2)
    return growth


def exported(value: object) -> Exported:
    """Return what a caller handed in as a tensor, a list (sequence) or a dict (map)."""
    if isinstance(value, dict):
        return {key: exported(part) for key, part in value.items()}
    if isinstance(value, list | tuple) and not (value and isinstance(value[0], str)):
        return [exported(part) for part in value]
    return as_tensor(value)


def _spins(manifest: Manifest) -> bool:
    return sum(partition.time_us for partition in manifest.partitions) < SPIN_BELOW_US


def _check_target(manifest: Manifest, environment: Environment) -> None:
    """Refuse a file that this onnxruntime or this processor would compute wrongly.

    (1) The same onnxruntime version. (2) The same architecture. (3) The probe: one
    node of each kind of CPU-specific operator in the file gives its known answer.
    """
    target = manifest.target
    here = os.uname().machine
    if target.onnxruntime != environment.version:  # (1)
        raise TargetError(
            f"sealed for onnxruntime {target.onnxruntime}, this is {environment.version}",
            hint="Seal the model again with this version: inferonnx seal.",
        )
    if target.layout != "generic" and target.arch != here:  # (2)
        raise TargetError(
            f"sealed for {target.arch} ({target.layout}), this is {here}",
            hint="Seal the model for this machine: inferonnx seal --target generic.",
        )
    if manifest.probe is not None and not _probe_agrees(manifest, environment):  # (3)
        raise TargetError(
            f"sealed for processors with the {target.layout} layout, this one has another",
            hint="Seal the model on a machine like this one, or with --target generic.",
        )


def _probe_agrees(manifest: Manifest, environment: Environment) -> bool:
    from inferonnx.errors import EngineError

    probe = manifest.probe
    if probe is None:
        return True
    try:
        session = OrtSession(environment, probe.skeleton)
        try:
            results = session.run([environment.load(parse_npy(data)) for data in probe.inputs])
            for result, data in zip(results, probe.outputs, strict=True):
                if not _close(environment.dump(result), parse_npy(data)):
                    return False
        finally:
            session.close()
    except EngineError:
        return False  # another block size: onnxruntime refuses the shapes
    return True


def _close(mine: Exported, known: Tensor) -> bool:
    if not isinstance(mine, Tensor) or mine.shape != known.shape or mine.dtype != known.dtype:
        return False
    if known.dtype is not DType.FLOAT:
        return mine == known
    pairs = zip(mine.data.cast("f"), known.data.cast("f"), strict=True)
    return all(abs(a - b) <= PROBE_TOLERANCE * max(1.0, abs(b)) for a, b in pairs)


def _has_numpy() -> bool:
    try:
        import numpy  # noqa: F401, ICN001 - only whether it is there
    except ImportError:
        return False
    return True
