"""An open sealed model: its budget, and running it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.app.host.growth import growth, powers
from inferonnx.app.host.needs import GROWTH_MARGIN_BYTES, growing_bytes
from inferonnx.app.host.values import check_declared, exported
from inferonnx.errors import InfeasibleBudgetError, TensorError, UsageError
from inferonnx.runtime import process
from inferonnx.runtime.ort_values import load, tensor_bytes
from inferonnx.sizes import format_size
from inferonnx.tensors import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from inferonnx.engine import PassEvent, Stream
    from inferonnx.runtime.files import FileSource
    from inferonnx.runtime.ort import Environment, Value, Withheld
    from inferonnx.runtime.ort_values import Exported
    from inferonnx.runtime.process import PrivateBuffer
    from inferonnx.runtime.stop import Stop
    from inferonnx.sealed import Manifest, ValueInfo


class Figures(NamedTuple):
    """What an open session holds and does.

    Bytes; `peak_bytes` is the predicted peak of the process, `floor_bytes` what it
    held when everything but weights and activations was there, `session_bytes` the
    part of it that the sessions of all partitions took, `pass_bytes` what passes may take
    beside floor and weights. `concurrency` calls may share a pass; `n_parallel` run at
    once when all weights are resident. Milliseconds; `probe_ms` is the part of
    `open_ms` that the probe took, None where the file has none. `measured` is False
    where the system tells neither what is resident nor its peak: then `peak_bytes` is
    counted, from the floor of sealing and what the engine itself allocates.
    """

    n_partitions: int
    n_resident: int
    resident_bytes: int
    buffer_bytes: int
    streamed_bytes: int
    floor_bytes: int
    session_bytes: int
    pass_bytes: int
    peak_bytes: int
    budget_bytes: int
    concurrency: int
    n_parallel: int
    open_ms: float
    probe_ms: float | None
    measured: bool


class Session:
    """An open sealed model, shaped like onnxruntime's InferenceSession; safe for threads.

    Attributes:
        figures: What it holds and streams.
        model_id: Identity of the sealed model: 64 hexadecimal digits.
    """

    def __init__(
        self,
        *,
        source: FileSource,
        environment: Environment,
        stream: Stream[Value, PrivateBuffer],
        manifest: Manifest,
        model_id: str,
        figures: Figures,
        as_numpy: bool,
        withheld: Withheld | None = None,
    ) -> None:
        """Hold what `inferonnx.open` has made ready."""
        self._source = source
        self._environment = environment
        self._stream = stream
        self._manifest = manifest
        self._as_numpy = as_numpy
        self._withheld = withheld
        self._powers = powers(
            manifest.inputs, manifest.outputs, rows_independent=manifest.rows_independent
        )
        self._growing_bytes = growing_bytes(manifest, figures.pass_bytes)
        stream.make_room = _room_maker(environment, figures)
        self.model_id = model_id
        self.figures = figures

    def __enter__(self) -> Self:
        """Return the session, which `with` closes."""
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Wipe the weights and the file's key, release everything; a pass under way ends first."""
        self._stream.close()
        self._source.close()
        if self._withheld is not None:
            self._withheld.close()

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
    def planned_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the inputs that the plan was measured with."""
        return self._manifest.planned_shapes

    @property
    def opened_bytes(self) -> int:
        """Bytes of weights that passes have read and opened until now."""
        return self._stream.opened_bytes

    def trace(self, on_event: Callable[[PassEvent], None] | None) -> None:
        """Have `on_event` told what a pass does, by whichever thread does it; several at a time."""
        self._stream.on_event = on_event

    def run(
        self,
        output_names: Sequence[str] | None,
        inputs: Mapping[str, object],
        *,
        stop: Stop | None = None,
    ) -> list[object]:
        """Run the model.

        Args:
            output_names: Which outputs to return, in this order; None for all.
            inputs: By name: numpy arrays, or anything with the array interface,
                DLPack or a buffer; lists and dicts of those for sequences and maps, whose
                values may be plain numbers.
            stop: Ends the call from another thread.

        Returns:
            numpy arrays where numpy is installed and wanted, `Tensor` otherwise.

        Raises:
            UsageError: There is no such output, or the arguments are none at all.
            TensorError: An input is missing, unknown, or of another type or shape.
            InfeasibleBudgetError: Inputs larger than planned would break the budget, or
                outputs are beyond their limit.
            AuthenticationError: The file was changed; nothing is returned.
            EngineError: onnxruntime fails on these inputs, or `stop` was set.
        """
        wanted = self._wanted(output_names)
        values = self._checked(inputs)
        kind = Kind(tuple(map(_sizes, values.values())), self._check_sizes(values))
        results: list[Any] = self._stream.run(
            Inputs(self._environment, values, self.get_inputs()),
            kind,
            names=wanted,
            stop=stop,
        )
        return [self._give(result) for result in results]

    def limit_outputs(self, n_bytes: int) -> None:
        """Have calls refused whose outputs take more, before they are copied.

        Numbers in the inputs may say how large they are, which no check of shapes sees.
        """
        self._stream.judge = _output_judge(self._environment, n_bytes)

    def trim(self) -> None:
        """Give back what passes have left in the arena."""
        self._environment.trim()

    def _wanted(self, output_names: Sequence[str] | None) -> list[str]:
        names = [value.name for value in self.get_outputs()]
        if output_names is None:
            return names
        # A text would be taken letter by letter.
        if isinstance(output_names, str) or not isinstance(output_names, Iterable):
            raise UsageError(
                f"the names of outputs are a list, and not {_kind_of(output_names)}",
                hint=f"Give None for all, or a list of: {', '.join(names)}.",
            )
        wanted = list(output_names)
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise UsageError(
                f"the model has no output {unknown[0]!r}", hint=f"It has: {', '.join(names)}."
            )
        return wanted

    def _checked(self, inputs: Mapping[str, object]) -> dict[str, Exported]:
        known = [value.name for value in self.get_inputs()]
        if not isinstance(inputs, Mapping):
            named = ", ".join(f"{name!r}: ..." for name in known)
            raise UsageError(
                f"inputs are given by name in a dict, and not {_kind_of(inputs)}",
                hint=f"Give {{{named}}}.",
            )
        for name in inputs:
            if name not in known:
                raise TensorError(
                    f"the model has no input {name!r}",
                    hint=f"It has: {', '.join(known) or 'none'}.",
                )
        values = {}
        for declared in self.get_inputs():
            if declared.name not in inputs:
                raise TensorError(
                    f"input {declared.name!r} is missing", hint=f"It has: {', '.join(known)}."
                )
            values[declared.name] = exported(inputs[declared.name], declared.type)
            check_declared(declared, values[declared.name])
        return values

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Tell whether inputs of these shapes keep to the budget."""
        return self._extra_bytes(shapes) <= self.figures.budget_bytes - self.figures.peak_bytes

    def _extra_bytes(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Return what inputs of these shapes may take beyond what was planned."""
        factor = growth(shapes, self._manifest.planned_shapes, self._powers)
        return int((factor - 1) * self._growing_bytes) + (GROWTH_MARGIN_BYTES if factor > 1 else 0)

    def _check_sizes(self, values: Mapping[str, Exported]) -> int:
        """Refuse inputs whose activations the budget may not hold; else return how much more."""
        figures = self.figures
        shapes = {name: v.shape for name, v in values.items() if isinstance(v, Tensor)}
        extra = self._extra_bytes(shapes)
        if extra > figures.budget_bytes - figures.peak_bytes:
            needed = figures.peak_bytes + extra
            raise InfeasibleBudgetError(
                f"the inputs are larger than the model was planned for, and may need "
                f"{format_size(needed)} instead of {format_size(figures.budget_bytes)}",
                needed_bytes=needed,
                budget_bytes=figures.budget_bytes,
                hint="Open with more memory, or seal with --dim or --input for these shapes.",
            )
        return extra

    def _give(self, value: Exported) -> object:
        if not self._as_numpy:
            return value
        from inferonnx.app.host.arrays import to_numpy

        return to_numpy(value)


def _kind_of(value: object) -> str:
    """Return what a caller has given, for a sentence; never its content."""
    return "None" if value is None else f"of type {type(value).__name__}"


class Inputs(Mapping[str, "Value"]):
    """A call's inputs, made for onnxruntime when they are looked up: some are copied then."""

    def __init__(
        self,
        environment: Environment,
        values: Mapping[str, Exported],
        declared: Sequence[ValueInfo],
    ) -> None:
        """Hold what they are made of."""
        self._environment, self._values = environment, values
        self._types = {value.name: value.type for value in declared}

    def __getitem__(self, name: str) -> Value:
        return load(self._environment, self._values[name], self._types[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


class Kind(NamedTuple):
    """What the memory of a call depends on."""

    sizes: tuple[object, ...]
    extra_bytes: int


def _sizes(value: Exported) -> object:
    """Return the shape of a tensor, or those of a list's or dict's parts."""
    if isinstance(value, Tensor):
        return value.shape
    return tuple(map(_sizes, value.values() if isinstance(value, dict) else value or ()))


def _room_maker(environment: Environment, figures: Figures) -> Callable[[Kind], None]:
    """Return what trims the arena when a call of another kind might not fit beside what it keeps.

    An arena gives nothing back by itself: what inputs of each size have left in it would
    add up (docs/memory.md).
    """

    def make_room(kind: Kind) -> None:
        held = process.resident_bytes()
        needed = figures.pass_bytes + kind.extra_bytes
        if held is None or held + needed + GROWTH_MARGIN_BYTES > figures.budget_bytes:
            environment.trim()

    return make_room


def _output_judge(
    environment: Environment, limit_bytes: int
) -> Callable[[Sequence[Value]], InfeasibleBudgetError | None]:
    """Return what tells why outputs can't be copied, if they are beyond the limit."""

    def judge(values: Sequence[Value]) -> InfeasibleBudgetError | None:
        held = sum(tensor_bytes(environment, value) for value in values)
        if held <= limit_bytes:
            return None
        return InfeasibleBudgetError(
            f"the outputs take {format_size(held)}, and passes of this model may take "
            f"{format_size(limit_bytes)}",
            needed_bytes=held,
            budget_bytes=limit_bytes,
            hint="Open with more memory, or ask for smaller outputs.",
        )

    return judge
