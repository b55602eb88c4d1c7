"""The cheapest path that holds at most a given number of bytes: exact, by labels.

A label is a path's beginning: what it holds and what it costs so far. At each point
of the lattice only labels survive that no other one beats in both, and that the
bound of `paths` doesn't exclude: with the tails of a walk, what a label can still
become is known from below, and that must not be above the best plan known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.plan.paths import UNREACHABLE, Path, make_path

if TYPE_CHECKING:
    from inferonnx.plan.lattice import Edge, Lattice
    from inferonnx.plan.paths import Caps, Price, Walk


class Label(NamedTuple):
    """A path from the first point: held bytes, cost, and its last step."""

    held: int
    cost: int
    edge: Edge | None
    kept: bool
    before: Label | None


def solve_within(
    lattice: Lattice, caps: Caps, *, limit: int, guide: Walk, ceiling: int, max_labels: int | None
) -> Path | None:
    """Return the path of least cost within the caps that holds at most `limit` bytes.

    Of equally cheap ones it is the one that holds least. None when every path costs
    more than `ceiling` picoseconds.

    Args:
        lattice: Points and edges.
        caps: What an edge may have.
        limit: Bytes of sessions and resident blocks.
        guide: A walk with the same caps, whose tails bound what is to come.
        ceiling: Cost of the best plan known.
        max_labels: Labels kept at one point, those with the best bound; the answer
            may then not be the optimum. None keeps all.
    """
    per_ps, per_byte = guide.price
    worst = per_ps * ceiling + per_byte * limit
    n_points = len(lattice.edges)
    arrived: list[list[Label]] = [[] for _ in range(n_points + 1)]
    arrived[0].append(Label(0, 0, None, kept=True, before=None))
    for point in range(n_points):
        labels = _frontier(arrived[point], guide.price, max_labels)
        arrived[point] = []
        for edge in lattice.edges[point]:
            if edge.activation > caps.activation or edge.block > max(caps.buffer, caps.resident):
                break
            if guide.tails[edge.head] >= UNREACHABLE:
                continue
            room = worst - guide.tails[edge.head]
            target = arrived[edge.head]
            for kept in (True, False):
                if edge.block > (caps.resident if kept else caps.buffer):
                    continue
                if not kept and not edge.block:
                    continue
                more_held = edge.session + (edge.block if kept else 0)
                more_cost = lattice.partition_ps + (0 if kept else edge.stream)
                for label in labels:
                    held, cost = label.held + more_held, label.cost + more_cost
                    if held <= limit and per_ps * cost + per_byte * held <= room:
                        target.append(Label(held, cost, edge, kept, label))
    ends = [label for label in arrived[n_points] if label.cost <= ceiling]
    if not ends:
        return None
    return _unroll(lattice, min(ends, key=lambda label: (label.cost, label.held)))


def _frontier(labels: list[Label], price: Price, max_labels: int | None) -> list[Label]:
    """Return the labels that no other beats in both cost and bytes held."""
    labels.sort(key=lambda label: (label.held, label.cost))
    best: list[Label] = []
    for label in labels:
        if not best or label.cost < best[-1].cost:
            best.append(label)
    if max_labels is not None and len(best) > max_labels:
        best.sort(key=lambda label: price.picosecond * label.cost + price.byte * label.held)
        del best[max_labels:]
    return best


def _unroll(lattice: Lattice, label: Label) -> Path:
    """Return the path that ends with `label`."""
    edges: list[Edge] = []
    kept: list[bool] = []
    while label.edge is not None and label.before is not None:
        edges.append(label.edge)
        kept.append(label.kept)
        label = label.before
    return make_path(lattice, tuple(reversed(edges)), tuple(reversed(kept)))
