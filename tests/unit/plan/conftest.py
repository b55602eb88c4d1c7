"""Small graphs and round figures for the planner's tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from inferonnx.graph import Graph, Node
from inferonnx.plan import MemoryModel, Rates

ChainMaker = Callable[..., Graph]


@pytest.fixture
def make_chain() -> ChainMaker:
    """A maker of chains: node k reads value k (and weights) and writes value k + 1."""

    def make(
        weights: Sequence[int | dict[str, int]],
        *,
        values: Sequence[int] | None = None,
        times_s: float = 1e-3,
        workspace: Sequence[int] | None = None,
    ) -> Graph:
        n_nodes = len(weights)
        named = [
            w if isinstance(w, dict) else ({f"w{k}": w} if w else {}) for k, w in enumerate(weights)
        ]
        return Graph(
            nodes=tuple(
                Node(
                    name=f"n{k}",
                    op_type="Conv",
                    inputs=(f"v{k}",),
                    outputs=(f"v{k + 1}",),
                    weights=tuple(named[k]),
                )
                for k in range(n_nodes)
            ),
            inputs=("v0",),
            outputs=(f"v{n_nodes}",),
            weight_bytes={name: size for entry in named for name, size in entry.items()},
            value_bytes={f"v{k}": (values[k] if values else 0) for k in range(n_nodes + 1)},
            times_s=(times_s,) * n_nodes,
            workspace_bytes=tuple(workspace or (0,) * n_nodes),
        )

    return make


@pytest.fixture
def memory() -> MemoryModel:
    """A floor of 1000 and sessions of 10 + 1 a node + 2 a weight."""
    return MemoryModel(floor_bytes=1000, session_bytes=10, node_bytes=1, weight_input_bytes=2)


@pytest.fixture
def rates() -> Rates:
    """64 bytes take 64 us; a partition 1 us; a streamed one 10 us more."""
    return Rates(stream_bytes_per_s=1e6, partition_overhead_s=1e-6, stream_overhead_s=1e-5)
