"""By how much activations may grow when inputs are larger than the plan was measured with.

The host sees shapes, not the graph. So it takes what the declared shapes show, and
where they show nothing the square (docs/memory.md).
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inferonnx.sealed import ValueInfo


class Powers(NamedTuple):
    """With which power of an axis activations may grow."""

    first: int
    others: int


def powers(
    inputs: Sequence[ValueInfo], outputs: Sequence[ValueInfo], *, rows_independent: bool = False
) -> Powers:
    """Return the powers that declared shapes allow, and what sealing found out about rows.

    (1) The square, as of attention scores or of a loop that stacks what it reads; more
    where an output has one axis more often than twice. (2) The first axis counts
    samples, and is linear, where rows were seen to be independent, or (3) every output
    begins with a free axis too and (4) nothing shows that an output has it a second
    time: none of its other axes has that name, and those of new names are no more than
    the inputs' other free axes, of which they may be made.
    """
    others = 2
    for value in outputs:
        others = max(others, *Counter(filter(_is_named, value.shape or ())).values(), 2)  # (1)
    if rows_independent:  # (2)
        return Powers(1, others)
    first_names = {value.shape[0] for value in inputs if value.shape}
    known = {axis for value in inputs for axis in (value.shape or ())[1:] if _is_named(axis)}
    n_unnamed = max(((value.shape or ())[1:].count(None) for value in inputs), default=0)
    for value in outputs:
        if not value.shape or isinstance(value.shape[0], int):  # (3)
            return Powers(others, others)
        free = [axis for axis in value.shape[1:] if not isinstance(axis, int)]
        if any(_is_named(axis) and axis in first_names for axis in free):  # (4)
            return Powers(others, others)
        if sum(axis not in known for axis in free) > len(known) + n_unnamed:
            return Powers(others, others)
    return Powers(1, others)


def growth(
    shapes: Mapping[str, tuple[int, ...]],
    planned_shapes: Mapping[str, tuple[int, ...]],
    allowed: Powers,
) -> float:
    """Return by which factor activations may grow beside the plan; 1 when no input is larger.

    The first axis counts with its own power where it grew by one factor for all inputs
    (a batch); different factors multiply. An input of another rank counts by its
    elements. Sequences and maps have no planned shape and are not counted.
    """
    firsts, others = {1.0}, {1.0}
    for name, shape in shapes.items():
        planned = planned_shapes.get(name)
        if planned is None:
            continue
        if len(planned) != len(shape):
            others.add(max(1.0, prod(shape) / max(1, prod(planned))))
            continue
        for axis, (mine, theirs) in enumerate(zip(shape, planned, strict=True)):
            (others if axis else firsts).add(max(1.0, mine / max(1, theirs)))
    power = allowed.first if len(firsts) <= 2 else allowed.others
    return prod(f**power for f in firsts) * prod(f**allowed.others for f in others)


def _is_named(axis: int | str | None) -> bool:
    return isinstance(axis, str)
