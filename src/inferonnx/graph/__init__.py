"""An immutable view of an ONNX graph: order, bytes and live ranges; no protobuf.

The owner's side builds a `Graph` from an ONNX model once; the planner and the
reports only ever see this view. Indices are node indices in topological order;
a *cut* c in 0..n lies before node c; a *partition* is the node range
[start, stop) between two cuts.
"""

from __future__ import annotations

from inferonnx.graph.liveness import (
    Liveness,
    LiveRange,
    boundary,
    live_ranges,
    partition_activation_bytes,
)
from inferonnx.graph.partition import PartitionIo, partition_io
from inferonnx.graph.values import Graph, Node

__all__ = [
    "Graph",
    "LiveRange",
    "Liveness",
    "Node",
    "PartitionIo",
    "boundary",
    "live_ranges",
    "partition_activation_bytes",
    "partition_io",
]
