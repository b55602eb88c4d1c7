"""What the server needs of the engine, and what its parts need of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from inferonnx.crypto import Secret
    from inferonnx.oip import ModelSignature
    from inferonnx.runtime.stop import Stop
    from inferonnx.tensors import Tensor


class ModelFacts(NamedTuple):
    """What the manifest of an unlocked model says, as far as serving needs it.

    Attributes:
        name: Sealed name.
        signature: What it takes and gives.
        least_bytes: Least share of memory in which it runs, for one call at a time.
        full_bytes: Share at which it streams nothing, all calls that may share a pass do,
            and the most rows of a batch or request have room; more has no use.
        pass_bytes: What its passes take in any share, one call at a time.
        is_batchable: The first axis of all inputs and outputs is a batch, whose rows do
            not change each other: requests may be joined.
        model_id: Of the file that was read.
    """

    name: str
    signature: ModelSignature
    least_bytes: int
    full_bytes: int
    pass_bytes: int
    is_batchable: bool
    model_id: bytes = b""


class Residency(NamedTuple):
    """What an open model holds and does each pass, in bytes and partitions.

    Attributes:
        n_partitions: All of them.
        n_resident: Those whose weights stay in memory.
        resident_bytes: Weights that stay in memory.
        streamed_bytes: Weights that each pass reads.
        pass_bytes: Part of its share that its passes may take. It comes from an arena that
            all open models have in common, which never shrinks while one of them is open.
    """

    n_partitions: int
    n_resident: int
    resident_bytes: int
    streamed_bytes: int
    pass_bytes: int


class OpenModel(Protocol):
    """A model that is ready to run; `run` blocks and may be called from many threads."""

    @property
    def residency(self) -> Residency:
        """What stays in memory, and what a pass reads."""

    @property
    def opened_bytes(self) -> int:
        """Bytes of weights that its passes have read and opened until now."""

    def run(self, inputs: Mapping[str, Tensor], stop: Stop) -> list[Tensor]:
        """Return all outputs in declared order.

        Raises:
            InferonnxError: The inputs do not fit, the file is not what was sealed, or
                `stop` was set.
        """

    def fits(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Tell whether inputs of these shapes keep to the model's share of memory."""

    def close(self) -> None:
        """Wipe the weights and give the memory back, after the passes under way."""


class Opener(Protocol):
    """Opens sealed files; both functions block."""

    def facts(self, path: str, data_key: Secret, *, concurrency: int, n_rows: int) -> ModelFacts:
        """Open the manifest alone.

        Args:
            path: The sealed file.
            data_key: Opens it.
            concurrency: Calls at a time that shares are told for.
            n_rows: Rows of a batch, or of one request, that the full share is told for.

        Raises:
            InferonnxError: The key is another model's, the file is not authentic, it
                was sealed for another machine.
            UnsupportedError: It takes or gives what the protocol can't carry: it never
                can be served.
        """

    def open(
        self,
        path: str,
        data_key: Secret,
        *,
        share_bytes: int,
        concurrency: int,
        model_id: bytes,
    ) -> OpenModel:
        """Make a model ready to run within a share of the process's memory.

        As many calls share its passes as the share holds, up to `concurrency`.

        Raises:
            InferonnxError: As `facts`, or the file is another model than `model_id` by
                now, or the share does not hold it.
        """


class Reservation(Protocol):
    """Bytes of the memory budget that are somebody's until they are released.

    Attributes:
        n_bytes: What it holds.
        missing_bytes: What it was promised beyond that.
    """

    n_bytes: int
    missing_bytes: int

    async def grow(self, n_bytes: int) -> None:
        """Wait for so much of what was promised."""

    def try_grow(self, n_bytes: int) -> bool:
        """Take more than was promised if it is free now; tell whether it worked."""

    def could_grow(self, n_bytes: int) -> bool:
        """Tell whether it would work if nobody else held anything."""

    def try_hold(self, n_bytes: int) -> bool:
        """As `hold`, if there is room for that now; tell whether there is."""

    async def hold(self, n_bytes: int, *, before: asyncio.Task[None] | None = None) -> None:
        """See to it that a reply of `n_bytes` may stay until it is sent; BusyError if not."""

    def shrink(self, n_bytes: int) -> None:
        """Give some of it back."""

    def release(self) -> None:
        """Give all of it back; again does nothing."""


class Ledger(Protocol):
    """The bytes that requests may hold at once."""

    async def reserve(self, n_bytes: int, *, at_once: int | None = None) -> Reservation:
        """Wait until so much can be promised, and `at_once` (or all) of it is held.

        Who holds something already must not.

        Raises:
            UsageError: It never will be.
        """
