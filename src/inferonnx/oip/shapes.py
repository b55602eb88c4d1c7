"""Shapes that a caller sent: checked before anything is computed or allocated from them."""

from __future__ import annotations

from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.tensors import MAX_ELEMENTS, MAX_RANK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inferonnx.tensors import DType


def check_shape(name: str, shape: tuple[int, ...], dtype: DType) -> int:
    """Return the number of elements of an input, 1 for a scalar.

    Raises:
        InvalidRequestError: A size, their product or the bytes are beyond what can be.
    """
    where = f"input '{shown(name)}'"
    if len(shape) > MAX_RANK:
        raise InvalidRequestError(f"invalid shape for {where}: it has more than {MAX_RANK} axes")
    text = f"invalid shape for {where}: shape {show_shape(shape)}"
    if any(not 0 <= size <= MAX_ELEMENTS for size in shape):
        raise InvalidRequestError(f"{text} contains one or more invalid dimensions")
    count = 1
    for size in shape:
        count *= size
    if count > MAX_ELEMENTS:
        raise InvalidRequestError(
            f"{text} causes total element count to exceed maximum size of {MAX_ELEMENTS}"
        )
    if count * dtype.item_bytes > MAX_ELEMENTS:
        raise InvalidRequestError(
            f"byte size overflow for {where}: element count ({count}) * data type size "
            f"({dtype.item_bytes}) exceeds maximum allowed size ({MAX_ELEMENTS})"
        )
    return count


def show_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as Triton writes it: [1,-1,4]."""
    return f"[{','.join(map(str, shape))}]"
