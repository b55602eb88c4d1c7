"""Paths through the lattice that are cheapest when memory has a price.

A path's *cost* is in picoseconds (partitions and streaming), what it *holds* in
bytes (sessions and resident blocks). The buffer and the activations are no sums but
maxima: they are fixed from outside, as `Caps` that every edge must respect. Given a
`Price` for both quantities one walk from the end finds the cheapest path, in time
proportional to the edges.

That walk also bounds what it can't decide. For any path within the caps that holds
at most `limit`,

    cost >= (cheapest(price) - price.byte * limit) / price.picosecond

(a Lagrangian bound). `Dual` holds the price at which it is sharpest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from inferonnx.plan.lattice import Edge, Lattice

# No sum of costs or bytes reaches this; integers, so that all bounds are exact.
UNREACHABLE = 1 << 200
# One unit of the other quantity is worth less than any difference in the first.
_DOMINANT = 1 << 70


class Caps(NamedTuple):
    """Largest values, in bytes, that an edge may have to be used.

    Attributes:
        buffer: Of a streamed block.
        resident: Of a resident block.
        activation: Of an activation peak.
    """

    buffer: int
    resident: int
    activation: int


class Price(NamedTuple):
    """What a picosecond and a held byte count in a walk; not negative, not both zero."""

    picosecond: int
    byte: int


CHEAPEST = Price(_DOMINANT, 1)
LIGHTEST = Price(1, _DOMINANT)


class Path(NamedTuple):
    """A division into partitions with a decision for each.

    Attributes:
        edges: The partitions in order.
        kept: For each, whether its block is resident; True where it has none.
        cost: Picoseconds.
        held: Bytes of sessions and resident blocks.
    """

    edges: tuple[Edge, ...]
    kept: tuple[bool, ...]
    cost: int
    held: int


class Walk(NamedTuple):
    """The outcome of one walk.

    Attributes:
        price: The price that it used.
        tails: For each point, the price of the cheapest path from there to the end;
            `UNREACHABLE` where the caps allow none.
        path: The cheapest path, None when there is none.
    """

    price: Price
    tails: list[int]
    path: Path | None

    def floor_cost(self, limit: int) -> int:
        """Return a cost that no path within the caps, holding at most `limit`, is below."""
        spare = self.tails[0] - self.price.byte * limit
        return -(-spare // self.price.picosecond)


def walk(lattice: Lattice, caps: Caps, price: Price) -> Walk:
    """Return the cheapest paths from every point to the end.

    Cost: O(edges within the caps).
    """
    per_ps, per_byte = price
    buffer_cap, resident_cap, activation_cap = caps
    widest = max(buffer_cap, resident_cap)
    n_points = len(lattice.edges)
    tails = [UNREACHABLE] * n_points + [0]
    choices: list[tuple[Edge, bool] | None] = [None] * n_points
    for point in range(n_points - 1, -1, -1):
        best = UNREACHABLE
        for edge in lattice.edges[point]:
            head, block, activation, session, stream = edge
            if activation > activation_cap or block > widest:
                break  # both ascend with the head
            total = tails[head] + per_byte * session
            if block:
                keep = per_byte * block if block <= resident_cap else UNREACHABLE
                move = per_ps * stream if block <= buffer_cap else UNREACHABLE
                kept = keep <= move
                total += keep if kept else move
            else:
                kept = True
            if total < best:
                best = total
                choices[point] = (edge, kept)
        if best < UNREACHABLE:
            tails[point] = best + per_ps * lattice.partition_ps
    return Walk(price, tails, _follow(lattice, choices) if tails[0] < UNREACHABLE else None)


def _follow(lattice: Lattice, choices: list[tuple[Edge, bool] | None]) -> Path:
    """Return the path that the choices describe, from the first point on."""
    edges: list[Edge] = []
    kept: list[bool] = []
    point = 0
    while point < len(choices):
        choice = choices[point]
        assert choice is not None  # noqa: S101 - a reachable point has a choice
        edges.append(choice[0])
        kept.append(choice[1])
        point = choice[0].head
    return make_path(lattice, tuple(edges), tuple(kept))


def make_path(lattice: Lattice, edges: tuple[Edge, ...], kept: tuple[bool, ...]) -> Path:
    """Return the path with its cost and what it holds."""
    steps = list(zip(edges, kept, strict=True))
    return Path(
        edges=edges,
        kept=kept,
        cost=len(edges) * lattice.partition_ps + sum(e.stream for e, keep in steps if not keep),
        held=sum(e.session + (e.block if keep else 0) for e, keep in steps),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dual:
    """What walks at several prices tell of the paths that hold at most a limit.

    Attributes:
        walk: The walk whose price gives the sharpest bound.
        floor_cost: The bound: no path within caps and limit costs less.
        is_tight: The walk's own path is within the limit and costs the bound; of all
            such paths it holds least.
        paths: All paths met, for whoever can make a plan of them.
    """

    walk: Walk
    floor_cost: int
    is_tight: bool
    paths: tuple[Path, ...]


def solve_dual(
    lattice: Lattice, caps: Caps, *, limit: int, ceiling: int, hint: Price
) -> Dual | None:
    """Return the sharpest Lagrangian bound, or None when no path holds at most `limit`.

    The bound as a function of the price is concave and made of lines, one a path.
    Two paths, one on each side of the limit, give the price at which they are equally
    good; the walk at that price finds a better one or proves that there is none.

    Args:
        lattice: Points and edges.
        caps: What an edge may have.
        limit: Bytes of sessions and resident blocks.
        ceiling: A bound above this cost is as good as the sharpest.
        hint: A price to begin with, both parts positive: that of a similar question.
    """
    walks: list[Walk] = []
    paths: list[Path] = []

    def step(price: Price) -> Path | None:
        taken = walk(lattice, caps, price)
        if taken.path is not None:
            walks.append(taken)
            paths.append(taken.path)
        return taken.path

    def result(*, is_tight: bool = False) -> Dual:
        best = max(walks, key=lambda taken: taken.floor_cost(limit))
        return Dual(
            walk=walks[-1] if is_tight else best,
            floor_cost=best.floor_cost(limit),
            is_tight=is_tight,
            paths=tuple(paths),
        )

    first = step(hint)
    if first is None or walks[-1].floor_cost(limit) > ceiling:
        return first and result()
    heavy = first if first.held > limit else step(CHEAPEST)
    if heavy is None or heavy.held <= limit:
        return heavy and result(is_tight=True)
    light = first if first.held <= limit else step(LIGHTEST)
    if light is None or light.held > limit:
        return None
    while walks[-1].floor_cost(limit) <= ceiling:
        price = Price(heavy.held - light.held, light.cost - heavy.cost)
        path = step(price)
        taken = walks[-1]
        if (
            path is None
            or taken.tails[0] == price.picosecond * heavy.cost + price.byte * heavy.held
        ):
            break  # no path is below the line through the two
        if path.held <= limit:
            light = path
        else:
            heavy = path
    return result()
