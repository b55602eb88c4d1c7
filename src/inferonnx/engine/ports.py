"""What the engine needs of the world outside, declared by the engine.

`V` is an activation or weight, opaque to the engine: its memory is let go with
the last reference. `B` is memory that nobody else can write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.sealed import Partition


class Source(Protocol):
    """Where ciphertext comes from."""

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`, copied once; SealedFormatError at the end."""


class Buffer(Protocol):
    """Memory that nobody else can write."""

    view: memoryview

    def wipe(self) -> None:
        """Overwrite it with zeros."""

    def close(self) -> None:
        """Wipe it and give it back."""


V = TypeVar("V")
B = TypeVar("B", bound=Buffer)


class Stop(Protocol):
    """Set by whoever gives a call up, from any thread.

    Attributes:
        is_set: Whether nobody wants the call's results any more.
    """

    is_set: bool


class Computation(Protocol[V]):
    """A partition, ready to run."""

    def bind(self, weights: Sequence[V]) -> None:
        """Fix the weight inputs, in the order of the partition's weights."""

    def run(self, inputs: Sequence[V], stop: Any = None) -> list[V]:
        """Compute the outputs from the boundary values, for several callers at once.

        What is under way ends in an error once the call's `stop`, the runtime's own, is set.
        """

    def close(self) -> None:
        """Give back its memory."""


class Runtime(Protocol[V, B]):
    """What computes, and what holds weights."""

    def computation(self, partition: Partition) -> Computation[V]:
        """Make a partition ready; its weights are bound later."""

    def buffer(self, n_bytes: int) -> B:
        """Reserve memory for opened weights."""

    def weights(self, partition: Partition, buffer: B) -> list[V]:
        """Return the partition's weights as tensors over `buffer`, which is filled later."""

    def copy(self, value: V) -> object:
        """Return an output as callers get it, free of the memory that passes compute in."""
