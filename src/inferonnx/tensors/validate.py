"""Hold a tensor against what a model declares, and say in one sentence what does not fit."""

from __future__ import annotations

from inferonnx.errors import TensorError
from inferonnx.tensors.dtype import DType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.tensors.tensor import Tensor


def validate(
    name: str, tensor: Tensor, type_text: str, shape: Sequence[int | str | None] | None
) -> None:
    """Check that `tensor` can be fed to the input `name`.

    Args:
        name: Of the input, for the sentence.
        tensor: What is to be fed.
        type_text: What the model declares, as onnxruntime spells it: "tensor(float)".
        shape: Declared sizes; a string (a symbol) or None stands for any size, and None
            instead of all for any shape.

    Raises:
        TensorError: Type, rank or a size differs.
    """
    _check_type(name, tensor, type_text)
    if shape is None:
        return
    wanted, got = _show(shape), _show(tensor.shape)
    if len(shape) != len(tensor.shape):
        raise TensorError(
            f"input {name!r} must have {_axes(len(shape))} {wanted}, "
            f"but the tensor has {_axes(len(tensor.shape))} {got}",
            where=name,
            hint=f"Reshape it to {wanted}.",
        )
    for axis, (size, found) in enumerate(zip(shape, tensor.shape, strict=True)):
        if isinstance(size, int) and size >= 0 and size != found:
            raise TensorError(
                f"axis {axis} of input {name!r} must have size {size}, not {found}: "
                f"the model wants {wanted}, the tensor is {got}",
                where=name,
                hint=f"Give a tensor of shape {wanted}.",
            )


def _check_type(name: str, tensor: Tensor, type_text: str) -> None:
    if not type_text.startswith("tensor("):
        raise TensorError(
            f"input {name!r} must be {type_text}, not a tensor",
            where=name,
            hint="Give it as a Python list or dict of tensors, through the Python API.",
        )
    if DType.of_type(type_text) is not tensor.dtype:
        wanted = type_text[7:-1]
        raise TensorError(
            f"input {name!r} must hold {wanted}, but the tensor holds {tensor.dtype.onnx_name}",
            where=name,
            hint=f"Convert it to {wanted} before.",
        )


def _show(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _axes(n: int) -> str:
    return "1 axis" if n == 1 else f"{n} axes"
