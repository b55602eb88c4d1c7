"""Files of the owner's side: samples as numpy arrays by the model's inputs, and the model's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import onnx

from inferonnx.app.host.arrays import to_numpy
from inferonnx.app.host.inputs import load_samples
from inferonnx.model.chain import load_chain
from inferonnx.model.plain import PlainModel
from inferonnx.model.subgraphs import all_tensors, attribute_tensors
from inferonnx.model.weights import external_fields, is_external

if TYPE_CHECKING:
    from collections.abc import Mapping


def load_arrays(model: str | os.PathLike[str], path: str) -> list[Mapping[str, Any]]:
    """Return the samples at `path` as numpy arrays by name, for the ONNX file `model`.

    Raises:
        UsageError, TensorError: As `app.host.inputs.load_samples`.
        ModelError: The model can't be read.
    """
    samples = load_samples(path, PlainModel(model).input_names)
    return [{name: to_numpy(tensor) for name, tensor in sample.items()} for sample in samples]


def load_chain_arrays(folder: str, path: str) -> list[Mapping[str, Any]]:
    """Return the samples at `path` as numpy arrays by name, for the partitions in `folder`.

    Raises:
        UsageError, TensorError: As `app.host.inputs.load_samples`; no partitions.
        ModelError: They are not whole.
    """
    samples = load_samples(path, load_chain(folder).inputs)
    return [{name: to_numpy(tensor) for name, tensor in sample.items()} for sample in samples]


def model_files(model: str | os.PathLike[str]) -> list[str]:
    """Return the files that a model consists of: the ONNX file, and those of external data.

    A file that is no model has no others; preparing it will say so.
    """
    path = os.fspath(model)
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception:  # protobuf's classes differ between its implementations
        return [path]
    of_functions = (
        tensor
        for function in proto.functions
        for node in function.node
        for tensor in attribute_tensors(node)
    )
    places = {
        external_fields(tensor).get("location", "")
        for tensor in (*all_tensors(proto.graph), *of_functions)
        if is_external(tensor)
    }
    # Beside the name that was given, or beside the file where that is a link.
    folders = dict.fromkeys((os.path.dirname(path), os.path.dirname(os.path.realpath(path))))
    return [path, *(os.path.join(at, place) for at in folders for place in sorted(places))]
