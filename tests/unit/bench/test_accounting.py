"""Exact accounting on a graph small enough to count by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferonnx.bench.accounting import Need, alive_bytes, operator_needs, part_need
from inferonnx.graph import Graph, Node


@pytest.fixture
def graph():
    """A residual block: x goes around b and is added behind it; one weight is read twice."""
    return Graph(
        nodes=(
            Node(name="a", op_type="Conv", inputs=("x",), outputs=("y",), weights=("w", "v")),
            Node(name="b", op_type="Conv", inputs=("y",), outputs=("z",), weights=("w",)),
            Node(name="c", op_type="Add", inputs=("z", "x"), outputs=("s",)),
        ),
        inputs=("x",),
        outputs=("s",),
        weight_bytes={"w": 1000, "v": 200},
        value_bytes={"x": 1, "y": 20, "z": 30, "s": 4},
        times_s=(0.0, 0.0, 0.0),
        workspace_bytes=(0, 0, 0),
    )


def test_a_weight_counts_once_and_what_is_alive_at_once_counts_together(graph):
    entire = part_need(graph, 0, 3)
    assert entire == Need(weights_bytes=1200, activation_bytes=1 + 20 + 30)
    assert entire.n_bytes == 1251


def test_a_value_that_passes_over_a_partition_is_there_all_the_same(graph):
    assert part_need(graph, 1, 2) == Need(weights_bytes=1000, activation_bytes=1 + 20 + 30)
    assert part_need(graph, 2, 3) == Need(weights_bytes=0, activation_bytes=1 + 30 + 4)


def test_an_operator_by_itself_has_its_own_inputs_and_outputs(graph):
    assert operator_needs(graph) == [Need(1200, 21), Need(1000, 50), Need(0, 35)]


def test_values_alive_over_a_pass(graph):
    assert alive_bytes(graph) == [21, 51, 35]


def test_an_input_stays_although_nothing_reads_it_any_more(graph):
    early = replace(graph, nodes=(*graph.nodes[:2], replace(graph.nodes[2], inputs=("z",))))
    assert alive_bytes(early) == [21, 51, 35]
    assert max(alive_bytes(early)) == part_need(early, 0, 3).activation_bytes
