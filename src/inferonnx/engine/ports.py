"""What the engine needs of the world outside, declared by the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.sealed import Partition


class Tensors(Protocol):
    """An activation or weight, opaque to the engine; memory is let go with the last reference."""


class Source(Protocol):
    """Where ciphertext comes from."""

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill `view` with the bytes at `offset`, copied once; SealedFormatError at the end."""


class Buffer(Protocol):
    """Memory that nobody else can write."""

    @property
    def view(self) -> memoryview:
        """The memory, writable."""

    def close(self) -> None:
        """Wipe it and give it back."""


class Computation(Protocol):
    """A partition, ready to run."""

    def bind(self, weights: Sequence[Tensors]) -> None:
        """Fix the weight inputs, in the order of the partition's weights."""

    def run(self, inputs: Sequence[Tensors]) -> list[Tensors]:
        """Compute the outputs from the boundary values; one caller at a time."""

    def close(self) -> None:
        """Give back its memory."""


class Runtime(Protocol):
    """What computes, and what holds weights."""

    def computation(self, partition: Partition) -> Computation:
        """Make a partition ready; its weights are bound later."""

    def buffer(self, n_bytes: int) -> Buffer:
        """Reserve memory for opened weights."""

    def weights(self, partition: Partition, buffer: Buffer) -> list[Tensors]:
        """Return the partition's weights as tensors over `buffer`, which is filled later."""
