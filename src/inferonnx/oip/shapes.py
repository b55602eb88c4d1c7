"""Shapes that a caller sent: checked before anything is computed or allocated from them."""

from __future__ import annotations

from inferonnx.oip.errors import InvalidRequestError, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inferonnx.tensors import DType

MAX_RANK = 64
"""Axes of a tensor, as everywhere in this package."""

_MAX_COUNT = 2**63 - 1


def check_shape(name: str, shape: tuple[int, ...], dtype: DType) -> int:
    """Return the number of elements of an input, 1 for a scalar.

    Raises:
        InvalidRequestError: A size, their product or the bytes are beyond what can be.
    """
    where = f"input '{shown(name)}'"
    if len(shape) > MAX_RANK:
        raise InvalidRequestError(f"invalid shape for {where}: it has more than {MAX_RANK} axes")
    text = f"invalid shape for {where}: shape {show_shape(shape)}"
    if any(not 0 <= size <= _MAX_COUNT for size in shape):
        raise InvalidRequestError(f"{text} contains one or more invalid dimensions")
    count = 1
    for size in shape:
        count *= size
    if count > _MAX_COUNT:
        raise InvalidRequestError(
            f"{text} causes total element count to exceed maximum size of {_MAX_COUNT}"
        )
    if count * dtype.item_bytes > _MAX_COUNT:
        raise InvalidRequestError(
            f"byte size overflow for {where}: element count ({count}) * data type size "
            f"({dtype.item_bytes}) exceeds maximum allowed size ({_MAX_COUNT})"
        )
    return count


def show_shape(shape: tuple[int, ...]) -> str:
    """Return a shape as Triton writes it: [1,-1,4]."""
    return f"[{','.join(map(str, shape))}]"
