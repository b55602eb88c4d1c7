"""How weights come from a seed: one generator a tensor, so that order does not matter.

A tensor's numbers depend on the seed, its name and its shape alone. A model can
therefore be written tensor by tensor, in any order, holding one in memory.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Raised when the numbers of a seed change; it stands in the metadata of a file.
GENERATOR_VERSION = 1

Shape = tuple[int, ...]
Floats = NDArray[np.float32]
Fill = Callable[[np.random.Generator, Shape], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A float32 tensor that is still to be filled.

    Attributes:
        name: Initializer's name in the graph.
        shape: Its shape; empty for a scalar.
        fill: Draws the numbers.
        trainable: False for numbers that training would not change.
    """

    name: str
    shape: Shape
    fill: Fill
    trainable: bool = True

    @property
    def n_floats(self) -> int:
        """Number of float32 values."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the values alone."""
        return 4 * self.n_floats

    def values(self, seed: int) -> Floats:
        """Return the tensor's values for `seed`: float32, C-contiguous, of `shape`."""
        generator = np.random.default_rng((seed, zlib.crc32(self.name.encode())))
        return self.fill(generator, self.shape)


def normal(variance: float) -> Fill:
    """Fill with a normal distribution around 0."""
    deviation = np.float32(math.sqrt(variance))

    def fill(generator: np.random.Generator, shape: Shape) -> Floats:
        values = generator.standard_normal(shape, dtype=np.float32)
        values *= deviation
        return values

    return fill


def he(fan_in: int, gain: float = 2.0) -> Fill:
    """Fill as He et al. do: variance `gain / fan_in`, 2 being right before a Relu.

    Other gains keep deep residual sums and a final Softmax in range.
    """
    return normal(gain / fan_in)


def uniform(low: float, high: float) -> Fill:
    """Fill evenly between `low` and `high`."""

    def fill(generator: np.random.Generator, shape: Shape) -> Floats:
        values = generator.random(shape, dtype=np.float32)
        values *= np.float32(high - low)
        values += np.float32(low)
        return values

    return fill


def full(value: float) -> Fill:
    """Fill with one value."""

    def fill(_generator: np.random.Generator, shape: Shape) -> Floats:
        return np.full(shape, value, dtype=np.float32)

    return fill
