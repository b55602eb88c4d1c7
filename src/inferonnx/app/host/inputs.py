"""Inputs from files: .npz, .npy, TensorProto .pb, a folder of them, and back to files.

A `.npz` names its tensors. A `.npy` has no name and a `.pb` may have an empty
one: those bind by position, in the model's order of inputs. A name that the model
does not have is an error, never a position. The files of a folder are taken in
the order of the number in their name (`input_0.pb`).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from inferonnx.errors import TensorError, UsageError
from inferonnx.runtime.files import read_file, translate
from inferonnx.runtime.whole_files import whole_file
from inferonnx.tensors import (
    npy_pieces,
    npz_pieces,
    parse_npy,
    parse_npz,
    parse_tensor_pb,
    tensor_pb_pieces,
)

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
    for files in find_samples(path):
        yield read_sample(files, input_names)


def find_samples(path: str) -> list[tuple[str, ...]]:
    """Return the files of each sample at `path`; none is read.

    Raises:
        UsageError: Nothing is there, or nothing that can be read.
    """
    if not os.path.isdir(path):
        _check_file(path)
        return [(path,)]
    entries = sorted(_listed(path), key=_by_number)
    inputs = [e for e in entries if e.startswith("input") and e.endswith((".pb", ".npy"))]
    if inputs:
        return [tuple(os.path.join(path, entry) for entry in inputs)]
    samples = [e for e in entries if e.endswith(_SUFFIXES) or os.path.isdir(os.path.join(path, e))]
    if not samples:
        raise UsageError(
            f"no inputs in folder {path!r}",
            hint="It needs input_0.pb, input_0.npy, ..., or .npz files, or folders of those.",
        )
    return [files for entry in samples for files in find_samples(os.path.join(path, entry))]


def sample_files(path: str | None) -> list[str]:
    """Return every file of `find_samples` at `path`, of all samples; none without a path.

    Raises:
        UsageError: As `find_samples`.
    """
    return [file for sample in find_samples(path) for file in sample] if path else []


def read_sample(files: Sequence[str], input_names: Sequence[str]) -> dict[str, Tensor]:
    """Return one of `find_samples`: input name to tensor.

    Raises:
        UsageError: A file is not there any more.
        TensorError: A file is broken, or names an input that the model has not.
    """
    return _bind([(path, *named) for path in files for named in _read(path)], input_names)


def check_destination(path: str, *, n_samples: int, output_types: Sequence[str]) -> None:
    """Refuse a destination that can't hold the outputs, before they are computed.

    Args:
        path: A `.npz`, `.npy` or `.pb` for one sample, a folder to be made for several.
        n_samples: How many there are.
        output_types: Of the model's outputs, such as "tensor(float)"; empty when not
            known yet.

    Raises:
        UsageError: It can't.
    """
    if n_samples > 1:
        if path.endswith(_SUFFIXES):
            raise UsageError(
                f"{path!r} holds the outputs of one sample, and there are {n_samples}",
                hint="Give the name of a folder: 0.npz, 1.npz, ... are written into it.",
            )
    elif not path.endswith(_SUFFIXES):
        raise UsageError(
            f"{path!r} is neither .npz nor .npy nor .pb", hint="Give it one of these endings."
        )
    elif not path.endswith(".npz") and len(output_types) > 1:
        raise UsageError(
            f"{path!r} holds one tensor, and there are {len(output_types)}", hint="Write an .npz."
        )
    other = [kind for kind in output_types if not kind.startswith("tensor(")]
    if other:
        raise UsageError(
            f"an output of the model is a {other[0]}, which no such file can hold",
            hint="Use the Python API for this model.",
        )


def save_outputs(path: str, outputs: Mapping[str, Tensor], *, inputs: Sequence[str] = ()) -> None:
    """Write tensors to `path`: `.npz`, or `.npy` or TensorProto `.pb` when there is one of them.

    They are written from where they lie: no second copy is made.

    Args:
        path: The file.
        outputs: By name.
        inputs: Files that must not be overwritten.

    Raises:
        UsageError: Another kind of file, or an input.
        TensorError: The file can't hold such a name, type or size.
        UnavailableError: The disk is full or refuses.
    """
    check_destination(path, n_samples=1, output_types=["tensor("] * len(outputs))
    with whole_file(path, inputs=inputs) as file:
        if path.endswith(".npz"):
            file.writelines(npz_pieces(outputs))
            return
        ((name, tensor),) = outputs.items()
        as_pb = path.endswith(".pb")
        file.writelines(tensor_pb_pieces(name, tensor) if as_pb else npy_pieces(tensor))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise translate(error, folder, "reading") from error


def _check_file(path: str) -> None:
    if not path.endswith(_SUFFIXES):
        raise UsageError(
            f"{path!r} is no input file", hint="Inputs are .npz, .npy or TensorProto .pb files."
        )
    try:
        os.stat(path)
    except OSError as error:
        raise translate(error, path, "reading") from error


def _read(path: str) -> list[tuple[str, Tensor]]:
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
    tensors: Sequence[tuple[str, str, Tensor]], input_names: Sequence[str]
) -> dict[str, Tensor]:
    """Give unnamed tensors the names of the inputs that are still free, in order."""
    named: dict[str, Tensor] = {}
    for path, name, tensor in tensors:
        if name and name not in input_names:
            raise TensorError(
                f"{path!r}: the model has no input {name!r}",
                hint=f"Its inputs are: {', '.join(input_names) or 'none'}.",
            )
        if name and name in named:
            raise TensorError(f"{path!r}: input {name!r} is given twice", hint="Remove one.")
        if name:
            named[name] = tensor
    free = iter([name for name in input_names if name not in named])
    for path, name, tensor in tensors:
        if not name:
            place = next(free, None)
            if place is None:
                raise TensorError(
                    f"{path!r}: more tensors than the model has inputs",
                    hint=f"Its inputs are: {', '.join(input_names) or 'none'}.",
                )
            named[place] = tensor
    return named


def _by_number(name: str) -> tuple[object, ...]:
    """Sort `input_10` after `input_9`."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name)
    )
