"""What the sealed manifest says: typed, immutable, checked when made.

The same checks hold for who seals and for who opens. Messages name fields, never
their values: names and shapes of a model are secrets of its owner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.sealed.constants import MAX_LIST, MAX_NAME_BYTES, MAX_PARTITIONS, MAX_RANK
from inferonnx.sealed.fields import (
    Blob,
    check_blob,
    check_bool,
    check_int,
    check_names,
    check_shape,
    check_text,
    check_tuple,
    refuse,
)
from inferonnx.sealed.weights import Weight, aligned

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueInfo:
    """An input or output of the model.

    Attributes:
        name: Its name.
        type: As onnxruntime writes it: "tensor(float)", "seq(tensor(int64))".
        shape: Axes: a size, a symbol, or None where nothing is known; None for
            what is no tensor or has no known rank.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None

    def __post_init__(self) -> None:
        check_text("value name", self.name)
        check_text("value type", self.type)
        if self.shape is None:
            return
        check_tuple("value shape", self.shape, MAX_RANK)
        for axis in self.shape:
            if isinstance(axis, str):
                check_text("axis", axis)
            elif axis is not None:
                check_int("axis", axis)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Contiguous nodes that run together, as a skeleton.

    Attributes:
        inputs: Boundary values that it reads, in order.
        outputs: Boundary values that it makes, in order.
        weights: Its streamed weights, laid out without gaps by `lay_out_weights`.
        skeleton: An ONNX model; its inputs are named as `inputs`, then `weights`.
        n_nodes: Nodes in it.
        activation_bytes: Peak of live activations while it runs, values that pass
            over it included.
        time_us: Measured time of one run, in microseconds.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[Weight, ...]
    skeleton: Blob
    n_nodes: int
    activation_bytes: int
    time_us: int

    def __post_init__(self) -> None:
        check_names("partition inputs", self.inputs)
        check_names("partition outputs", self.outputs)
        check_tuple("partition weights", self.weights, MAX_LIST)
        check_names("partition weights", tuple(weight.name for weight in self.weights))
        check_blob("skeleton", self.skeleton)
        check_int("n_nodes", self.n_nodes)
        check_int("activation_bytes", self.activation_bytes)
        check_int("time_us", self.time_us)
        # S-34, the part within a partition.
        # An output by the name of a weight would be the weight's memory itself.
        if {*self.inputs, *self.outputs} & {weight.name for weight in self.weights}:
            raise refuse("partition weights", "share a name with a boundary value")
        if self.weights and self.weights[0].offset:
            raise refuse("weight offset", "leaves a gap at the start of the block")
        for left, right in pairwise(self.weights):
            if right.offset != aligned(left.offset + left.n_bytes):
                raise refuse("weight offset", "overlaps or leaves a gap")
        check_int("block size", self.block_bytes)

    @property
    def block_bytes(self) -> int:
        """Bytes of the block of weights, padding included; 0 without weights."""
        if not self.weights:
            return 0
        last = self.weights[-1]
        return aligned(last.offset + last.n_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the skeletons were made for.

    Attributes:
        onnxruntime: Exact version.
        layout: CPU layout of the optimised graph: "generic", "nchwc8", "nchwc16".
        arch: Machine: "x86_64", "aarch64".
    """

    onnxruntime: str
    layout: str
    arch: str

    def __post_init__(self) -> None:
        check_text("target onnxruntime", self.onnxruntime)
        check_text("target layout", self.layout)
        check_text("target arch", self.arch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """Settings of onnxruntime's arena that suited this model best.

    Attributes:
        strategy: Its extension strategy, 0 or 1.
        initial_bytes: Its initial size.
        peak_bytes: What it came to hold, measured.
    """

    strategy: int
    initial_bytes: int
    peak_bytes: int

    def __post_init__(self) -> None:
        check_int("arena strategy", self.strategy)
        check_int("arena initial_bytes", self.initial_bytes)
        check_int("arena peak_bytes", self.peak_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Budget and measured parts of the peak, in bytes.

    Attributes:
        budget_bytes: What the owner planned for; the default at run.
        least_bytes: Least budget that works.
        floor_bytes: Process with everything but weights and activations.
        session_bytes: Of it, the sessions of all partitions.
        call_bytes: What a call takes beside the one that runs: its inputs, the values that
            cross the widest cut or the copy of its outputs, and its part of what the arena
            loses to them (docs/memory.md).
    """

    budget_bytes: int
    least_bytes: int
    floor_bytes: int
    session_bytes: int
    call_bytes: int

    def __post_init__(self) -> None:
        for name in ("budget_bytes", "least_bytes", "floor_bytes", "session_bytes", "call_bytes"):
            check_int(f"memory {name}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One node for each kind of CPU-specific operator, and its answer; run at open.

    Attributes:
        skeleton: An ONNX model.
        inputs: Its inputs in order, as .npy files.
        outputs: Its outputs in order, as .npy files.
    """

    skeleton: Blob
    inputs: tuple[Blob, ...]
    outputs: tuple[Blob, ...]

    def __post_init__(self) -> None:
        check_blob("probe skeleton", self.skeleton)
        for name, blobs in (("probe inputs", self.inputs), ("probe outputs", self.outputs)):
            check_tuple(name, blobs, MAX_LIST)
            for blob in blobs:
                check_blob(name, blob)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check vector: inputs of the whole model and what it must answer.

    Attributes:
        inputs: By name, as .npy files.
        outputs: By name, as .npy files.
    """

    inputs: Mapping[str, Blob]
    outputs: Mapping[str, Blob]

    def __post_init__(self) -> None:
        for name, blobs in (("check inputs", self.inputs), ("check outputs", self.outputs)):
            check_names(name, tuple(blobs))
            for blob in blobs.values():
                check_blob(name, blob)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything about a sealed model but its weights.

    Attributes:
        name: The model's name, which pins and people use.
        producer: What sealed it: "inferonnx 0.1.0".
        strategy: How the plan was made: "optimal", "paper".
        metadata: The model's own metadata.
        inputs: The model's inputs, in order.
        outputs: The model's outputs, in order; one may be listed more than once.
        partitions: In the order of a pass; so are their blocks in the file.
        target: What the skeletons were made for.
        arena: Settings of the arena.
        memory: Budget and measured parts of the peak.
        planned_shapes: Shapes of the inputs that the plan was measured with.
        rows_independent: Whether the first axis of all inputs and outputs is a batch, each row
            of which its owner saw computed as it is alone: requests may be joined.
        notes: What could not be cut or split, for the owner.
        probe: Known answer of CPU-specific operators; None where there are none.
        check: Check vector; None where the owner gave none.
        tags: Tags of all segments, in order; `SealWriter` fills them in.
    """

    name: str
    producer: str
    strategy: str
    metadata: Mapping[str, str]
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    partitions: tuple[Partition, ...]
    target: Target
    arena: Arena
    memory: Memory
    planned_shapes: Mapping[str, tuple[int, ...]]
    rows_independent: bool = False
    notes: tuple[str, ...] = ()
    probe: Probe | None = None
    check: Check | None = None
    tags: Blob = field(default=b"")

    def __post_init__(self) -> None:
        if not is_model_name(self.name):
            raise refuse("name", f"is not 1 to {MAX_NAME_BYTES} bytes without control characters")
        for name in ("producer", "strategy"):
            check_text(name, getattr(self, name))
        check_names("metadata", tuple(self.metadata))
        for text in self.metadata.values():
            check_text("metadata", text)
        check_names("planned_shapes", tuple(self.planned_shapes))
        for shape in self.planned_shapes.values():
            check_shape("planned_shapes", shape)
        check_bool("rows_independent", self.rows_independent)
        check_tuple("notes", self.notes, MAX_LIST)
        for text in self.notes:
            check_text("notes", text)
        check_tuple("inputs", self.inputs, MAX_LIST)
        check_tuple("outputs", self.outputs, MAX_LIST)
        check_tuple("partitions", self.partitions, MAX_PARTITIONS)
        check_blob("tags", self.tags)
        self._check_flow()

    def _check_flow(self) -> None:
        """S-34: every value is made once, and before it is read."""
        check_names("inputs", tuple(value.name for value in self.inputs))
        known = {value.name for value in self.inputs}
        for partition in self.partitions:
            if not known.issuperset(partition.inputs):
                raise refuse("partition inputs", "name a value that nothing has made yet")
            if not known.isdisjoint(partition.outputs):
                raise refuse("partition outputs", "name a value that is already made")
            known.update(partition.outputs)
        if not known.issuperset(value.name for value in self.outputs):
            raise refuse("outputs", "name a value that nothing makes")


def is_model_name(name: object) -> bool:
    """Return whether `name` can name a model: text of 1 to 255 bytes, no control characters."""
    if type(name) is not str or not name:
        return False
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        return False
    # Spelled out rather than str.isprintable, whose answer changes with the version of Unicode.
    controls = any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in name)
    return n_bytes <= MAX_NAME_BYTES and not controls


def check_model_name(name: str) -> None:
    """Raise UsageError unless `name`, which a person gave, can name a model."""
    if not is_model_name(name):
        raise UsageError(
            f"{name[:80]!r} can't be the name of a model",
            hint=f"A name has 1 to {MAX_NAME_BYTES} bytes and no control characters.",
        )
