"""Inputs from files: .npz, .npy, TensorProto .pb, a folder of them, and back to files.

A `.npz` names its tensors. A `.npy` has no name and a `.pb` may have an empty
one: those bind by position, in the model's order of inputs; the files of a
folder are taken in the order of the number in their name (`input_0.pb`).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from inferonnx.errors import TensorError, UsageError
from inferonnx.runtime.files import read_file, whole_file
from inferonnx.tensors import encode_npy, encode_npz, parse_npy, parse_npz, parse_tensor_pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inferonnx.tensors import Tensor

_SUFFIXES = (".npz", ".npy", ".pb")


def load_samples(path: str, input_names: Sequence[str]) -> list[dict[str, Tensor]]:
    """Return all samples at `path`; arguments and errors as for `iter_samples`."""
    return list(iter_samples(path, input_names))


def iter_samples(path: str, input_names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Yield the samples at `path`, one in memory at a time: input name to tensor.

    Args:
        path: A file; a folder with the inputs of one sample (`input_0.pb`, ...);
            or a folder of samples (`.npz` files, or folders like `test_data_set_0`).
        input_names: The model's inputs, in order.

    Raises:
        UsageError: Nothing is there, or nothing that can be read.
        TensorError: A file is broken, or names an input that the model has not.
    """
    if not os.path.isdir(path):
        yield _bind(path, _read(path), input_names)
        return
    entries = sorted(os.listdir(path), key=_by_number)
    inputs = [e for e in entries if e.startswith("input") and e.endswith((".pb", ".npy"))]
    if inputs:
        yield _bind(path, [t for e in inputs for t in _read(os.path.join(path, e))], input_names)
        return
    samples = [e for e in entries if e.endswith(_SUFFIXES) or os.path.isdir(os.path.join(path, e))]
    if not samples:
        raise UsageError(
            f"no inputs in folder {path!r}",
            hint="It needs input_0.pb, input_0.npy, ..., or .npz files, or folders of those.",
        )
    for entry in samples:
        yield from iter_samples(os.path.join(path, entry), input_names)


def save_outputs(path: str, outputs: Mapping[str, Tensor]) -> None:
    """Write tensors to `path`: `.npz`, or `.npy` when there is one of them."""
    if path.endswith(".npy"):
        if len(outputs) != 1:
            raise UsageError(
                f"{path!r} holds one tensor, and there are {len(outputs)}", hint="Write an .npz."
            )
        content = encode_npy(next(iter(outputs.values())))
    elif path.endswith(".npz"):
        content = encode_npz(outputs)
    else:
        raise UsageError(f"{path!r} is neither .npz nor .npy")
    with whole_file(path) as file:
        file.write(content)


def _read(path: str) -> list[tuple[str, Tensor]]:
    if not path.endswith(_SUFFIXES):
        raise UsageError(
            f"{path!r} is no input file", hint="Inputs are .npz, .npy or TensorProto .pb files."
        )
    content = read_file(path)
    try:
        if path.endswith(".npz"):
            return list(parse_npz(content).items())
        if path.endswith(".npy"):
            return [("", parse_npy(content))]
        return [parse_tensor_pb(content)]
    except TensorError as error:
        raise TensorError(f"{path!r}: {error.message}", hint=error.hint) from error


def _bind(
    path: str, tensors: Sequence[tuple[str, Tensor]], input_names: Sequence[str]
) -> dict[str, Tensor]:
    """Give unnamed tensors the names of the inputs that are still free, in order."""
    named = {name: tensor for name, tensor in tensors if name}
    unknown = sorted(set(named) - set(input_names))
    if unknown and len(tensors) == len(input_names) and not set(named) & set(input_names):
        # Files of other tools carry names of their own; all of them unknown means position.
        return dict(zip(input_names, (tensor for _, tensor in tensors), strict=True))
    if unknown:
        raise TensorError(
            f"{path!r}: the model has no input {unknown[0]!r}",
            hint=f"Its inputs are: {', '.join(input_names)}.",
        )
    free = iter([name for name in input_names if name not in named])
    for name, tensor in tensors:
        if not name:
            place = next(free, None)
            if place is None:
                raise TensorError(f"{path!r}: more tensors than the model has inputs")
            named[place] = tensor
    return named


def _by_number(name: str) -> tuple[object, ...]:
    """Sort `input_10` after `input_9`."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)
    )
