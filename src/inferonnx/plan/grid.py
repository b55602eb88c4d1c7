"""The two maxima of a plan, its buffer and its activation peak, as a plane cut into boxes."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inferonnx.plan.lattice import Lattice


class Box(NamedTuple):
    """Plans whose buffer and activation peak lie between these indices of a grid, inclusive."""

    buffer_low: int
    buffer_high: int
    activation_low: int
    activation_high: int


class Grid:
    """The values that the two maxima can take, in bytes, ascending."""

    __slots__ = ("activations", "buffers")

    def __init__(self, lattice: Lattice, *, available_bytes: int | None = None) -> None:
        """Collect the values of all edges that fit into the bytes available."""
        edges = [edge for leaving in lattice.edges for edge in leaving]
        if available_bytes is not None:
            edges = [e for e in edges if e.block + e.activation <= available_bytes]
        self.buffers = sorted({0, *(edge.block for edge in edges)})
        self.activations = sorted({edge.activation for edge in edges})

    def whole(self) -> Box:
        """Return the box of all plans."""
        return Box(0, len(self.buffers) - 1, 0, len(self.activations) - 1)

    def corner_bytes(self, box: Box) -> int:
        """Return the least sum of buffer and activations in the box."""
        return self.buffers[box.buffer_low] + self.activations[box.activation_low]

    def halves(self, box: Box) -> tuple[Box, ...]:
        """Return the box cut in two, by bytes, along its longer side; () for a single pair."""
        b0, b1, a0, a1 = box
        height = self.buffers[b1] - self.buffers[b0]
        width = self.activations[a1] - self.activations[a0]
        if height == width == 0:
            return ()
        if height >= width:
            at = _middle(self.buffers, b0, b1)
            return Box(b0, at, a0, a1), Box(at + 1, b1, a0, a1)
        at = _middle(self.activations, a0, a1)
        return Box(b0, b1, a0, at), Box(b0, b1, at + 1, a1)


def _middle(values: list[int], low: int, high: int) -> int:
    """Return the index, low included and high not, of the last value in the lower half."""
    return bisect_right(values, (values[low] + values[high]) // 2, low, high) - 1
