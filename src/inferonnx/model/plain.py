"""The whole model on plain onnxruntime with its defaults: what everything is compared with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.errors import ModelError
from inferonnx.model.load import load_model
from inferonnx.model.onnxruntime_door import open_session, reason, refusal, session_options
from inferonnx.model.values import run_whole
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from collections.abc import Mapping

# Integers of a made-up sample are below the first of these that the model takes: indices
# and classes of most models; kinds of tokens and masks; zeros, which tables always have.
_INTEGER_LIMITS = (4, 2, 1)


class PlainModel:
    """An ONNX model in memory, as onnxruntime runs it for everybody."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Load the model.

        Raises:
            ModelError: It is no valid model, or onnxruntime refuses it.
        """
        name = os.fspath(path)
        load_model(name)  # refuses what is broken in a sentence of ours
        try:
            self._session = open_session(name, session_options(optimise="all"))
        except Exception as error:
            raise refusal(error, name) from error

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(value.name for value in self._session.get_inputs())

    def run(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name.

        Raises:
            ModelError: onnxruntime fails on this sample.
        """
        try:
            return run_whole(self._session, sample)
        except Exception as error:
            raise ModelError(f"onnxruntime fails on the input: {reason(error)}") from error

    def made_up(self, shapes: Mapping[str, tuple[int, ...]], *, seed: int) -> dict[str, Any]:
        """Return a sample of these shapes: floats of N(0, 1), small integers that the model takes.

        Raises:
            ModelError: An input has no shape here, or a type that can't be made up.
        """
        sample: dict[str, Any] = {}
        for limit in _INTEGER_LIMITS:
            generator = np.random.default_rng(seed)
            sample = {
                value.name: _tensor(value.name, value.type, shapes, generator, limit)
                for value in self._session.get_inputs()
            }
            if not any(value.dtype.kind in "iu" for value in sample.values()):
                break
            try:
                self.run(sample)
            except ModelError:
                continue  # an index beyond a table, say
            break
        return sample


def _tensor(
    name: str,
    kind: str,
    shapes: Mapping[str, tuple[int, ...]],
    generator: np.random.Generator,
    limit: int,
) -> np.ndarray[Any, Any]:
    if name not in shapes:
        raise ModelError(
            f"no value can be made up for input {name!r} of type {kind}",
            hint="Verify it from Python, with samples of yours: "
            "inferonnx.verify(model, path, key=key, samples=[...]).",
        )
    dtype = DType.of_type(kind)
    if dtype is DType.STRING:
        return np.full(shapes[name], "", object)
    if dtype.typestr is None:
        raise ModelError(f"no value can be made up for input {name!r} of type {kind}")
    numpy_type = np.dtype(dtype.typestr)
    if numpy_type.kind in "fc":
        return np.asarray(generator.standard_normal(shapes[name])).astype(numpy_type)
    return generator.integers(0, 2 if numpy_type.kind == "b" else limit, shapes[name]).astype(
        numpy_type
    )
