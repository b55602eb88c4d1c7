"""What the planner needs to know of every value and node, measured on a sample.

A first walk returns every value and counts its bytes; a second one profiles. Both
run the draft in pieces with weights as inputs, as the engine will (`walk`).
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from inferonnx.model.scratch import place_for
from inferonnx.model.values import content_bytes, fetch, shape_of, tensor_value, weight_value
from inferonnx.model.walk import Measured, Walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.model.draft import Draft

# The first walk holds all values of a piece at once, so its pieces are short.
COUNTED_NODES = 8

# The second one holds what crosses its cuts; long pieces run as the engine's do.
TIMED_NODES = 128


def count(
    draft: Draft, sample: Mapping[str, Any], *, uncuttable: frozenset[int], distrust: bool = False
) -> Measured:
    """Run the draft on the sample and count the bytes of all its values.

    Args:
        draft: Its types are known.
        sample: The model's input.
        uncuttable: Cuts that must not be made.
        distrust: Compare each node with its weights as constants, and pin those with
            which it computes something else. Slow.

    Raises:
        ModelError: onnxruntime runs the model as a whole, but not a part of it.
    """
    measured = Measured()
    for name, value in sample.items():
        measured.value_bytes[name] = content_bytes(value)
        shape = shape_of(value)
        if shape is not None:
            measured.shapes[name] = shape
    for declared in draft.inputs:
        measured.value_bytes.setdefault(declared.name, 0)
    walk = Walk(draft, sample, measured, uncuttable=uncuttable)
    for start, stop in walk.pieces(1 if distrust else COUNTED_NODES):
        if distrust:
            walk.distrust(start, stop)
        else:
            walk.count(start, stop)
    measured.outputs = walk.outputs()
    return measured


def time_nodes(
    draft: Draft, sample: Mapping[str, Any], measured: Measured, *, uncuttable: frozenset[int]
) -> None:
    """Fill in the seconds that each node takes on the sample, with two threads."""
    walk = Walk(draft, sample, measured, uncuttable=uncuttable)
    with tempfile.TemporaryDirectory(
        prefix=f"inferonnx-{os.getpid()}-", dir=place_for(2**24)
    ) as folder:
        for start, stop in walk.pieces(TIMED_NODES):
            walk.time(start, stop, folder)


def seen_shapes(
    draft: Draft, session: Any, sample: Mapping[str, Any], uncuttable: frozenset[int]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes that first operands of products take on the sample.

    Args:
        draft: Not yet rewritten.
        session: Of the whole draft, every value an output, weights as inputs.
        sample: The model's input.
        uncuttable: Cuts that must not be made.
    """
    wanted = list(
        dict.fromkeys(
            name
            for node in draft.nodes
            if len(node.input) > 1 and node.input[1] in draft.weights
            for name in node.input[:1]
            if name in draft.types
        )
    )
    given = {name: shape_of(value) for name, value in sample.items()}
    inner = [name for name in wanted if name not in given]
    feeds = {name: tensor_value(value) for name, value in sample.items()}
    feeds |= {name: weight_value(weight) for name, weight in draft.weights.items()}
    try:
        found = {n: shape_of(v) for n, v in fetch(session, inner, feeds).items()} if inner else {}
    except Exception:  # an operator that refuses weights as inputs: piece by piece, then
        found = dict(count(draft, sample, uncuttable=uncuttable).shapes)
    return {name: shape for name, shape in (given | found).items() if shape is not None}
