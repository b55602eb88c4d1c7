"""What a model takes and gives, in the protocol's words."""

from __future__ import annotations

from dataclasses import dataclass

from inferonnx.errors import TensorError
from inferonnx.oip.datatypes import datatype_of
from inferonnx.oip.errors import UnsupportedError
from inferonnx.tensors import DType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Protocol

    class Value(Protocol):
        """An input or output as a session describes it."""

        @property
        def name(self) -> str:
            """Its name."""

        @property
        def type(self) -> str:
            """Its type as onnxruntime spells it: "tensor(float)"."""

        @property
        def shape(self) -> Sequence[int | str | None] | None:
            """Its sizes; a symbol or None is any size, None instead of all any shape."""


_KINDS = {
    "seq": "a sequence",
    "map": "a map",
    "optional": "an optional value",
    "sparse_tensor": "a sparse tensor",
}
"""What is no tensor, in words, by the beginning of its type."""

ANY_SIZE = -1
"""How the protocol writes the size of an axis that is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or an output of a model.

    Attributes:
        name: Its name.
        dtype: Type of its elements; the protocol has a name for it.
        shape: Its sizes, `ANY_SIZE` where free; None when even the rank is.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...] | None

    @property
    def datatype(self) -> str:
        """The protocol's name of the element type."""
        return datatype_of(self.dtype)

    @property
    def shown_shape(self) -> tuple[int, ...]:
        """The shape for those who must be shown one."""
        return (ANY_SIZE,) if self.shape is None else self.shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSignature:
    """Inputs and outputs of a model.

    Attributes:
        inputs: In the model's order.
        outputs: Likewise.
        max_batch_size: Rows along the first axis that one request may have, in all of
            inputs and outputs; 0 when the model is not batched (Triton's meaning).
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int = 0

    @property
    def has_free_batch(self) -> bool:
        """Whether every input and output has a free first axis, so that rows can be joined."""
        specs = (*self.inputs, *self.outputs)
        return bool(specs) and all(spec.shape and spec.shape[0] == ANY_SIZE for spec in specs)


def make_signature(
    inputs: Iterable[Value], outputs: Iterable[Value], *, max_batch_size: int = 0
) -> ModelSignature:
    """Return the signature of a model whose inputs and outputs a session describes.

    Args:
        inputs: What it takes.
        outputs: What it gives.
        max_batch_size: See `ModelSignature`.

    Raises:
        UnsupportedError: One is no tensor, or of a type that the protocol does not have.
    """
    return ModelSignature(
        inputs=tuple(_spec(value, "input") for value in inputs),
        outputs=tuple(_spec(value, "output") for value in outputs),
        max_batch_size=max_batch_size,
    )


def _spec(value: Value, role: str) -> TensorSpec:
    try:
        dtype = DType.of_type(value.type)
        datatype_of(dtype)
    except (TensorError, UnsupportedError) as error:
        kind = _KINDS.get(value.type.partition("(")[0], f"a {value.type}")
        raise UnsupportedError(
            f"the model has an {role} that is {kind}, which the protocol can't carry",
            hint="Run it with `inferonnx run`, or export it with tensors that it can carry.",
        ) from error
    shape = value.shape
    if shape is not None:
        shape = tuple(n if isinstance(n, int) and n >= 0 else ANY_SIZE for n in shape)
    return TensorSpec(name=value.name, dtype=dtype, shape=shape)
