"""The sample input that measures: given by the caller, or made up from the signature."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.errors import ModelError, TensorError, UsageError
from inferonnx.model.types import dims_of, type_text
from inferonnx.model.values import foreign_dtype
from inferonnx.tensors import DType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import TypeProto, ValueInfoProto

_SEED = 20

# Made-up integers: a one is a mask that lets through, a length, and an index that most
# tables have. Where a model refuses ones, zeros are tried, then a few larger numbers.
_FILL_TRIALS = (1, 0, 2, 16)

# Sizes of open dims to try, and whether dims that may be a batch are longer too.
_SIZE_TRIALS = (
    (1, True),
    (16, False),
    (16, True),
    (64, False),
    (64, True),
    (256, False),
    (256, True),
    (1024, False),
    (1024, True),
)

# Trials of more elements than this are left out.
_MOST_ELEMENTS = 2**24


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
    if dtype is DType.STRING:
        fits = value.dtype.kind in "OSU"
    elif dtype.typestr is not None:
        fits = value.dtype == np.dtype(dtype.typestr)
    else:
        fits = value.dtype.kind not in "OSU" and foreign_dtype(value) is dtype
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
    2, 16. Open dims are those of `dims`, else 1; in later samples longer, first only
    those that do not come first (which is where a batch is), then all.
    """
    batch = _leading_dims(inputs)
    for size, all_longer in _SIZE_TRIALS:
        for fill in _FILL_TRIALS:
            maker = _Maker(
                fill=fill,
                sizes={name: 1 if name in batch and not all_longer else size for name in batch}
                | dict(dims),
                lead=size if all_longer else 1,
                size=size,
            )
            wanted = [v for v in inputs if v.type.WhichOneof("value") != "optional_type"]
            if sum(maker.n_elements(value.type) for value in wanted) <= _MOST_ELEMENTS:
                yield {value.name: maker.value(value.type) for value in wanted}


def _leading_dims(inputs: list[ValueInfoProto]) -> set[str]:
    """Return the named dims that are the first open one of some input."""
    leading: set[str] = set()
    for value in inputs:
        is_open = [dim for dim in dims_of(value.type) or () if not isinstance(dim, int)]
        leading.update(dim for dim in is_open[:1] if dim)
    return leading


class _Maker:
    """Makes up values of one kind of trial."""

    def __init__(self, *, fill: int, sizes: Mapping[str, int], lead: int, size: int) -> None:
        self._fill = fill
        self._sizes = sizes
        self._lead = lead  # size of a nameless dim that is the first open one
        self._size = size
        self._generator = np.random.default_rng(_SEED)

    def n_elements(self, kind: TypeProto) -> int:
        """Return how many elements a tensor of this kind would get."""
        return prod(self._shape(kind)) if kind.WhichOneof("value") == "tensor_type" else 1

    def value(self, kind: TypeProto) -> Any:
        """Return a made-up value."""
        match kind.WhichOneof("value"):
            case "tensor_type":
                return self._tensor(DType(kind.tensor_type.elem_type), self._shape(kind))
            case "sequence_type":
                return [self.value(kind.sequence_type.elem_type)]
            case "map_type":
                key: Any = "" if kind.map_type.key_type == DType.STRING else 0
                value = self.value(kind.map_type.value_type)
                # onnxruntime's maps hold numbers or strings, not tensors.
                return {key: value.reshape(-1)[0].item() if value.size else 0}
            case _:
                raise ModelError(
                    f"no sample can be made up for an input of type {type_text(kind)}",
                    hint="Give one with --input.",
                )

    def _shape(self, kind: TypeProto) -> tuple[int, ...]:
        declared = dims_of(kind)
        shape: list[int] = []
        is_first = True
        for dim in (None,) if declared is None else declared:  # an unknown rank: a vector
            if isinstance(dim, int):
                shape.append(dim)
                continue
            nameless = self._lead if is_first else self._size
            shape.append(self._sizes.get(dim, self._size) if dim else nameless)
            is_first = False
        return tuple(shape)

    def _tensor(self, dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        if dtype is DType.STRING:
            return np.full(shape, "", object)
        if dtype.typestr is None:
            raise ModelError(
                f"no sample can be made up for elements of type {dtype.onnx_name}",
                hint="Give one with --input.",
            )
        numpy_type = np.dtype(dtype.typestr)
        if numpy_type.kind in "fc":
            # `asarray` keeps a rank-0 result an array.
            return np.asarray(self._generator.standard_normal(shape)).astype(numpy_type)
        return np.full(shape, self._fill, numpy_type)
