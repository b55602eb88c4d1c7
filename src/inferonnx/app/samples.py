"""Samples for the owner's side: files into numpy arrays, by the names of the model's inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inferonnx.app.arrays import to_numpy
from inferonnx.app.inputs import load_samples
from inferonnx.model.plain import PlainModel

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def load_arrays(model: str | os.PathLike[str], path: str) -> list[Mapping[str, Any]]:
    """Return the samples at `path` as numpy arrays by name, for the ONNX file `model`.

    Raises:
        UsageError, TensorError: As `app.inputs.load_samples`.
        ModelError: The model can't be read.
    """
    samples = load_samples(path, PlainModel(model).input_names)
    return [{name: to_numpy(tensor) for name, tensor in sample.items()} for sample in samples]
