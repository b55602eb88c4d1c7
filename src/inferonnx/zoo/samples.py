"""The input that belongs to a model: made up, but of the kind that the published one is."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.zoo.catalogue import Kind, Sample, ZooModel

_Array = NDArray[Any]
SEED = 20_250_101


def sample_arrays(model: ZooModel, seed: int) -> dict[str, _Array]:
    """Return the arrays of a model's test data set by the name of their graph input.

    Another seed gives other arrays of the same kind, where the kind has a choice.
    """
    return {sample.input: _values(sample, seed) for sample in model.samples}


def sample_files(model: ZooModel) -> dict[str, bytes]:
    """Return the content of `test_data_set_0` by file name: `input_0.pb` and on."""
    files = {}
    for number, sample in enumerate(model.samples):
        tensor: TensorProto = numpy_helper.from_array(
            _values(sample, SEED), sample.input if sample.is_named else None
        )
        files[f"input_{number}.pb"] = tensor.SerializeToString()
    return files


def _values(sample: Sample, seed: int) -> _Array:
    """Return one sample's values; equal shapes and kinds share them, as the published do."""
    key = zlib.crc32(repr((sample.kind, sample.shape, sample.limit)).encode())
    return _MAKERS[sample.kind](np.random.default_rng((seed, key)), sample)


def _normal(generator: np.random.Generator, sample: Sample) -> _Array:
    return generator.standard_normal(sample.shape, dtype=np.float32) * np.float32(10.0)


def _pixels(generator: np.random.Generator, sample: Sample) -> _Array:
    return generator.integers(0, 256, sample.shape).astype(np.float32)


def _photo(generator: np.random.Generator, sample: Sample) -> _Array:
    """Return a picture: waves, the finer the weaker as in photographs, and grain."""
    channels_first = sample.shape[1] == 3
    height, width = sample.shape[2:] if channels_first else sample.shape[1:3]
    n_channels = 3
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    picture = np.zeros((height, width, n_channels))
    for frequency in (1, 2, 4, 8, 16, 32):
        angle, phase = generator.uniform(0.0, 2 * np.pi, (2, n_channels))
        wave = x[..., None] * np.cos(angle) + y[..., None] * np.sin(angle)
        picture += np.sin(2 * np.pi * frequency * wave + phase) / frequency
    picture += generator.normal(0.0, 0.05, picture.shape)
    low, high = picture.min(), picture.max()
    pixels = np.rint((picture - low) / (high - low) * 255)
    scaled: _Array = ((pixels - 127) / 128).astype(np.float32)[None]  # (1, height, width, 3)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)) if channels_first else scaled


def _ones(_generator: np.random.Generator, sample: Sample) -> _Array:
    return np.ones(sample.shape, dtype=np.float32)


def _tokens(generator: np.random.Generator, sample: Sample) -> _Array:
    return generator.integers(0, sample.limit, sample.shape)


def _mask(_generator: np.random.Generator, sample: Sample) -> _Array:
    """Return ones, and zeros for a last eighth that is padding."""
    values = np.ones(sample.shape, dtype=np.int64)
    values[..., sample.shape[-1] * 7 // 8 :] = 0
    return values


def _segments(_generator: np.random.Generator, sample: Sample) -> _Array:
    """Return zeros for a first sentence and ones for a second of the same length."""
    values = np.zeros(sample.shape, dtype=np.int64)
    values[..., sample.shape[-1] // 2 :] = 1
    return values


def _cache(generator: np.random.Generator, sample: Sample) -> _Array:
    return generator.standard_normal(sample.shape, dtype=np.float32)


_MAKERS: dict[Kind, Callable[[np.random.Generator, Sample], _Array]] = {
    "normal": _normal,
    "pixels": _pixels,
    "photo": _photo,
    "ones": _ones,
    "tokens": _tokens,
    "mask": _mask,
    "segments": _segments,
    "cache": _cache,
}
