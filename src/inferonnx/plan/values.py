"""What the planner is told of a machine, and what it answers: plain frozen values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from inferonnx.errors import PlanError


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModel:
    """What a process holds besides weights and activations, in bytes.

    Attributes:
        floor_bytes: Interpreter, libraries, environment; inputs and outputs too,
            where the caller holds them.
        session_bytes: One session, for every partition.
        node_bytes: One node in a session.
        weight_input_bytes: One weight that a session takes as input.
        alignment: Every weight starts at a multiple of this in its block.

    Raises:
        PlanError: A size is negative or the alignment is not positive.
    """

    floor_bytes: int
    session_bytes: int
    node_bytes: int
    weight_input_bytes: int
    alignment: int = 64

    def __post_init__(self) -> None:
        """Refuse what would make memory shrink as the model grows."""
        sizes = (self.floor_bytes, self.session_bytes, self.node_bytes, self.weight_input_bytes)
        if min(sizes) < 0 or self.alignment < 1:
            raise PlanError(f"a memory model holds no negative sizes: {self}")

    def padded(self, n_bytes: int) -> int:
        """Return the bytes that a weight of `n_bytes` takes in a block."""
        return -(-n_bytes // self.alignment) * self.alignment

    def partition_session_bytes(self, *, n_nodes: int, n_weights: int) -> int:
        """Return the bytes of the session of a partition with so many nodes and weights."""
        return self.session_bytes + self.node_bytes * n_nodes + self.weight_input_bytes * n_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a pass costs besides the operators' own times.

    Attributes:
        stream_bytes_per_s: Reading and opening weights, over all cores.
        partition_overhead_s: One more partition: one more `Run`.
        stream_overhead_s: One more streamed partition: handing over to the cores.

    Raises:
        PlanError: The rate is not positive and finite, or an overhead negative.
    """

    stream_bytes_per_s: float
    partition_overhead_s: float
    stream_overhead_s: float

    def __post_init__(self) -> None:
        """Refuse rates that would make a longer pass cheaper."""
        overheads = (self.partition_overhead_s, self.stream_overhead_s)
        if not (
            0 < self.stream_bytes_per_s < math.inf and all(0 <= s < math.inf for s in overheads)
        ):
            raise PlanError(f"rates are positive and finite: {self}")

    def stream_s(self, block_bytes: int) -> float:
        """Return the seconds that streaming a block takes; an empty one is not streamed."""
        if not block_bytes:
            return 0.0
        return block_bytes / self.stream_bytes_per_s + self.stream_overhead_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPartition:
    """A contiguous range of nodes that runs as one session.

    Attributes:
        start: First node.
        stop: Node after the last.
        weight_bytes: Its block: every weight that it reads once, each aligned.
        activation_bytes: Peak of values and workspace while it runs.
        session_bytes: Its session, from the memory model.
        time_s: Sum of its nodes' times, in seconds.
        resident: Its weights stay decrypted. True where it has none.
    """

    start: int
    stop: int
    weight_bytes: int
    activation_bytes: int
    session_bytes: int
    time_s: float
    resident: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The division of a graph into partitions, and what it is predicted to cost.

    Attributes:
        partitions: In order; together they hold every node once.
        strategy: "optimal", "paper", or what `assess` was given.
        budget_bytes: What the peak was to stay within.
        floor_bytes: The memory model's floor.
        session_bytes: All sessions.
        buffer_bytes: The buffer that streamed blocks share: the largest of them.
        activation_bytes: The largest activation peak of a partition.
        resident_bytes: All blocks that stay decrypted.
        streamed_bytes: All blocks that a pass reads and opens.
        peak_bytes: Predicted peak of the whole process: the five sizes above
            `streamed_bytes` added up.
        least_bytes: The peak of the same cuts with nothing resident: the least
            budget that a file sealed with this plan runs within.
        latency_s: Predicted time of a pass, in seconds.
    """

    partitions: tuple[PlannedPartition, ...]
    strategy: str
    budget_bytes: int
    floor_bytes: int
    session_bytes: int
    buffer_bytes: int
    activation_bytes: int
    resident_bytes: int
    streamed_bytes: int
    peak_bytes: int
    least_bytes: int
    latency_s: float

    @property
    def cuts(self) -> tuple[int, ...]:
        """The inner cuts: the first node of every partition but the first."""
        return tuple(partition.start for partition in self.partitions[1:])
