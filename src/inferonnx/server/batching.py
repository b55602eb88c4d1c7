"""Several requests as one: joined along the first axis, computed once, split again.

Pure. A batch is computed by other kernels than a single request may be, so that
the last bits of a result can differ from those of the request alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.tensors import DType, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Inputs = dict[str, Tensor]


def batch_rows(inputs: Mapping[str, Tensor]) -> int | None:
    """Return the size of the first axis, None unless it is one for all inputs and not 0."""
    rows = {tensor.shape[0] if tensor.shape else 0 for tensor in inputs.values()}
    n_rows = rows.pop() if len(rows) == 1 else 0
    return n_rows or None


def batch_kind(inputs: Mapping[str, Tensor]) -> object:
    """Return what two requests must have in common to be joined."""
    return tuple(sorted((name, t.dtype, t.shape[1:]) for name, t in inputs.items()))


def joined_shapes(inputs: Mapping[str, Tensor], n_rows: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a batch of `n_rows` rows of such inputs."""
    return {name: (n_rows, *tensor.shape[1:]) for name, tensor in inputs.items()}


def join(requests: Sequence[Mapping[str, Tensor]]) -> Inputs:
    """Return the inputs of all requests as one; they are of one kind."""
    first = requests[0]
    if len(requests) == 1:
        return dict(first)
    return {name: _joined([request[name] for request in requests]) for name in first}


def _joined(parts: Sequence[Tensor]) -> Tensor:
    n_rows = sum(part.shape[0] for part in parts)
    dtype, shape = parts[0].dtype, (n_rows, *parts[0].shape[1:])
    if dtype is DType.STRING:
        return Tensor(
            dtype=dtype, shape=shape, strings=[s for part in parts for s in part.strings or ()]
        )
    return Tensor(dtype=dtype, shape=shape, data=b"".join(part.data for part in parts))


def can_join(dtype: DType) -> bool:
    """Tell whether rows of this type end at a byte, as joining needs."""
    return dtype is DType.STRING or dtype.item_bytes > 0


def split(outputs: Sequence[Tensor], rows: Sequence[int]) -> list[list[Tensor]] | None:
    """Return the outputs of each request.

    Args:
        outputs: Of the batch.
        rows: Rows of each request, in order.

    Returns:
        A list for each request; None where an output is not by rows.
    """
    total = sum(rows)
    if any(not t.shape or t.shape[0] != total or not can_join(t.dtype) for t in outputs):
        return None
    parts, start = [], 0
    for n_rows in rows:
        parts.append([_rows(tensor, start, n_rows, total) for tensor in outputs])
        start += n_rows
    return parts


def _rows(tensor: Tensor, start: int, n_rows: int, total: int) -> Tensor:
    shape = (n_rows, *tensor.shape[1:])
    if tensor.strings is not None:
        size = len(tensor.strings) // total
        part = tensor.strings[start * size : (start + n_rows) * size]
        return Tensor(dtype=tensor.dtype, shape=shape, strings=part)
    size = len(tensor.data) // total
    data = tensor.data[start * size : (start + n_rows) * size]
    return Tensor(dtype=tensor.dtype, shape=shape, data=data)
