"""The sample input that measures: given by the caller, or made up from the signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.errors import ModelError, TensorError, UsageError
from inferonnx.model.types import dims_of, type_text
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import TypeProto, ValueInfoProto

_SEED = 20

# Made-up integers: a one is a mask that lets through, a length, and an index that most
# tables have. Where a model refuses ones, zeros are tried, then a few larger numbers.
_FILL_TRIALS = (1, 0, 2, 16)


def dim_names(inputs: tuple[ValueInfoProto, ...] | list[ValueInfoProto]) -> tuple[str, ...]:
    """Return the names of the inputs' open dims, each once, in order."""
    names: dict[str, None] = {}
    for value in inputs:
        names.update(dict.fromkeys(d for d in dims_of(value.type) or () if isinstance(d, str)))
    return tuple(names)


def check_dims(inputs: list[ValueInfoProto], dims: Mapping[str, int]) -> None:
    """Refuse dims that the model does not have, and sizes that no tensor has.

    Raises:
        UsageError: See above; the names that the model has are listed.
    """
    known = dim_names(inputs)
    for name, size in dims.items():
        if name not in known:
            has = f"It has: {', '.join(known)}." if known else "None of its dims has a name."
            raise UsageError(f"the model has no dim {name!r}", hint=has)
        if size < 0:
            raise UsageError(f"dim {name!r} can't be {size}")


def check_sample(inputs: list[ValueInfoProto], sample: Mapping[str, Any]) -> None:
    """Refuse a given sample that does not fit the signature.

    Raises:
        TensorError: An input is missing, unknown, or of another type, rank or size.
    """
    signature = {value.name: value.type for value in inputs}
    for name in sample:
        if name not in signature:
            raise TensorError(
                f"the model has no input {name!r}",
                hint=f"Its inputs are: {', '.join(signature) or 'none'}.",
            )
    sizes: dict[str, int] = {}
    for name, kind in signature.items():
        if name not in sample:
            if kind.WhichOneof("value") == "optional_type":
                continue
            raise TensorError(f"the sample has no input {name!r}")
        if kind.WhichOneof("value") == "tensor_type":
            _check_tensor(name, kind, sample[name], sizes)


def _check_tensor(name: str, kind: TypeProto, value: Any, sizes: dict[str, int]) -> None:
    if not isinstance(value, np.ndarray):
        raise TensorError(f"input {name!r} is not a tensor but {type(value).__name__}")
    dtype = DType(kind.tensor_type.elem_type)
    fits = (
        value.dtype.kind in "OSU"
        if dtype is DType.STRING
        else dtype.typestr is None or value.dtype == np.dtype(dtype.typestr)
    )
    if not fits:
        raise TensorError(f"input {name!r} has type {value.dtype}, and {type_text(kind)} is wanted")
    declared = dims_of(kind)
    if declared is None:
        return
    if len(declared) != value.ndim:
        raise TensorError(
            f"input {name!r} has rank {value.ndim}, and {len(declared)} is wanted",
            hint=f"Its shape is {list(declared)}.",
        )
    for dim, size in zip(declared, value.shape, strict=True):
        wanted = dim if isinstance(dim, int) else sizes.setdefault(dim, size) if dim else size
        # Two dims of one name may differ: onnxruntime only warns. A number may not.
        if isinstance(dim, int) and size != wanted:
            raise TensorError(
                f"input {name!r} has shape {list(value.shape)}, and {list(declared)} is wanted"
            )


def synthesised(inputs: list[ValueInfoProto], dims: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield samples that fit the signature, the most likely one first.

    Floats are drawn from N(0, 1) with a fixed seed; integers are all 1, then all 0,
    2, 16; open dims are `dims`, else 1, and in later samples 2, 16 and 32.
    """
    for open_dim in (1, 2, 16, 32):
        for fill in _FILL_TRIALS:
            generator = np.random.default_rng(_SEED)
            yield {
                value.name: _made_up(value.type, dims, fill, open_dim, generator)
                for value in inputs
                if value.type.WhichOneof("value") != "optional_type"
            }


def _made_up(
    kind: TypeProto,
    dims: Mapping[str, int],
    fill: int,
    open_dim: int,
    generator: np.random.Generator,
) -> Any:
    match kind.WhichOneof("value"):
        case "tensor_type":
            declared = dims_of(kind)
            # An unknown rank is tried as a vector.
            shape = tuple(
                dim if isinstance(dim, int) else dims.get(dim or "", open_dim)
                for dim in ((None,) if declared is None else declared)
            )
            return _tensor(DType(kind.tensor_type.elem_type), shape, fill, generator)
        case "sequence_type":
            return [_made_up(kind.sequence_type.elem_type, dims, fill, open_dim, generator)]
        case "map_type":
            key: Any = "" if kind.map_type.key_type == DType.STRING else 0
            value = _made_up(kind.map_type.value_type, dims, fill, open_dim, generator)
            # onnxruntime's maps hold numbers or strings, not tensors.
            return {key: value.reshape(-1)[0].item() if value.size else 0}
        case _:
            raise ModelError(
                f"no sample can be made up for an input of type {type_text(kind)}",
                hint="Give one with --input.",
            )


def _tensor(
    dtype: DType, shape: tuple[int, ...], fill: int, generator: np.random.Generator
) -> np.ndarray[Any, Any]:
    if dtype is DType.STRING:
        return np.full(shape, "", object)
    if dtype.typestr is None:
        raise ModelError(
            f"no sample can be made up for elements of type {dtype.onnx_name}",
            hint="Give one with --input.",
        )
    numpy_type = np.dtype(dtype.typestr)
    if numpy_type.kind in "fc":
        # Drawn as float64, so that a rank-0 result stays an array.
        return np.asarray(generator.standard_normal(shape)).astype(numpy_type)
    return np.full(shape, fill, numpy_type)
