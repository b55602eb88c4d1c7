"""Branch and bound over the two maxima of a plan: its buffer and its activation peak.

The peak of a plan is

    held (sessions, resident blocks: sums)  +  buffer (a maximum)  +  activations (a maximum)

Sums suit walks and labels, maxima don't. So plans are divided into boxes: those whose
buffer is in [b0, b1] and whose activation peak is in [a0, a1]. For a box,

- every edge respects the caps b1 and a1, and
- what is held is at most  available - b0 - a0,

and the cheapest path under these two rules is at least as good as any plan of the box.
The box with the best bound is looked at first. If its bound can't beat the best plan
known, neither can any other: done. Otherwise it is cut in two, until buffer and
activations are single values; then labels settle it exactly.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.errors import InfeasibleBudgetError
from inferonnx.plan.grid import Grid
from inferonnx.plan.labels import solve_within
from inferonnx.plan.paths import CHEAPEST, UNREACHABLE, Caps, make_path, solve_dual
from inferonnx.plan.residency import choose_resident

if TYPE_CHECKING:
    from inferonnx.plan.grid import Box
    from inferonnx.plan.lattice import Lattice
    from inferonnx.plan.paths import Dual, Path, Walk

# Edges that are looked at before the best plan known is taken as it is: about 4 s.
# Thinned lattices of real models need up to half of it; a lattice that is searched to
# the end has so few pairs of maxima that it needs no limit.
MAX_EDGES_SEEN = 15_000_000
# Labels kept at a point of a thinned lattice: so few that a box takes under a second.
MAX_LABELS_THINNED = 32
# What an edge costs in a search by labels, in looks of a walk: making and sorting a
# label takes as long as four looks, and each may be made resident and streamed.
LOOKS_PER_LABELLED_EDGE = 2 * 4 * MAX_LABELS_THINNED
# A lattice that is not exact leaves out cuts anyway. Its plan is within this share of
# what cuts decide, partitions and streaming, and of a tenth of the nodes' own times:
# closer than either is measured.
SLACK_SHARE = 1000


class Found(NamedTuple):
    """A plan that fits; the better of two is the lesser by the first three fields.

    Attributes:
        cost: Picoseconds of partitions and streaming.
        peak: Bytes above the floor.
        least: Bytes above the floor with nothing resident.
        path: The plan.
    """

    cost: int
    peak: int
    least: int
    path: Path


class BoxSearch:
    """The search for the best path of a lattice within the bytes available.

    Attributes:
        best: The best plan found so far, None when there is none.
    """

    def __init__(self, lattice: Lattice, *, available_bytes: int, times_ps: int) -> None:
        """Prepare a search; `times_ps` is what the nodes take in any plan."""
        self._lattice = lattice
        self._grid = Grid(lattice, available_bytes=available_bytes)
        self._available = available_bytes
        self._times = times_ps
        self.best: Found | None = None
        self._n_edges = sum(map(len, lattice.edges))
        self._n_seen = 0

    def offer(self, path: Path) -> None:
        """Take the path as the best plan if it is; also with its residency chosen anew."""
        blocks = [edge.block for edge in path.edges]
        fixed = sum(e.session for e in path.edges) + max(e.activation for e in path.edges)
        self._take(path, fixed, blocks)
        try:
            kept, _ = choose_resident(blocks, available_bytes=self._available - fixed)
        except InfeasibleBudgetError:
            return  # with these cuts nothing fits
        flags = tuple(index in kept for index in range(len(blocks)))
        if flags != path.kept:
            self._take(make_path(self._lattice, path.edges, flags), fixed, blocks)

    def _take(self, path: Path, fixed: int, blocks: list[int]) -> None:
        streamed = [block for block, keep in zip(blocks, path.kept, strict=True) if not keep]
        kept_bytes = sum(blocks) - sum(streamed)
        peak = fixed + kept_bytes + max(streamed, default=0)
        found = Found(path.cost, peak, fixed + max(blocks), path)
        if peak <= self._available and (self.best is None or found[:3] < self.best[:3]):
            self.best = found

    def run(self) -> None:
        """Search until the best plan is known to be within the slack of the optimum."""
        order = count()
        if not self._grid.activations:
            return
        heap = [(0, 0, next(order), self._grid.whole(), CHEAPEST)]
        while heap and self._may_go_on():
            cost, peak, _, box, hint = heappop(heap)
            if not self._can_win(cost, peak):
                return  # neither can any other box: this one had the best bound
            dual = solve_dual(
                self._lattice,
                self._caps(box),
                limit=self._limit(box),
                ceiling=self._ceiling(),
                hint=hint,
            )
            if dual is None:
                continue
            self._n_seen += self._n_edges * len(dual.paths)
            for path in dual.paths:
                self.offer(path)
            if not self._can_win(dual.floor_cost, self._low_peak(box, dual)):
                continue
            halves = self._grid.halves(box)
            if not halves:
                self._settle(box, dual.walk)
            for half in halves:
                bound = max(dual.floor_cost, dual.walk.floor_cost(self._limit(half)))
                corner = self._grid.corner_bytes(half)
                heappush(heap, (bound, corner, next(order), half, dual.walk.price))

    def _may_go_on(self) -> bool:
        return self._lattice.is_exact or self._n_seen < MAX_EDGES_SEEN

    def _ceiling(self) -> int:
        """Return the cost above which no plan is wanted, in picoseconds."""
        if self.best is None:
            return UNREACHABLE
        if self._lattice.is_exact:
            return self.best.cost
        return self.best.cost - (self.best.cost + self._times // 10) // SLACK_SHARE

    def _can_win(self, cost: int, peak: int) -> bool:
        """Tell whether a plan of at least this cost and peak could be the better one."""
        if self.best is None:
            return True
        if not self._lattice.is_exact:
            return cost < self._ceiling()
        return (cost, peak) < (self.best.cost, self.best.peak)

    def _limit(self, box: Box) -> int:
        """Return the most that a plan of the box can hold."""
        return self._available - self._grid.corner_bytes(box)

    def _caps(self, box: Box) -> Caps:
        return Caps(
            buffer=self._grid.buffers[box.buffer_high],
            resident=self._limit(box),
            activation=self._grid.activations[box.activation_high],
        )

    def _low_peak(self, box: Box, dual: Dual) -> int:
        """Return a peak that no plan of the box is below, if it costs just the bound."""
        path = dual.walk.path
        held = path.held if dual.is_tight and path is not None else 0
        return self._grid.corner_bytes(box) + held

    def _settle(self, box: Box, guide: Walk) -> None:
        """Find the best plan of a single buffer and activation peak."""
        self._n_seen += self._n_edges * LOOKS_PER_LABELLED_EDGE
        if not self._may_go_on():
            return
        path = solve_within(
            self._lattice,
            self._caps(box),
            limit=self._limit(box),
            guide=guide,
            ceiling=self._ceiling(),
            max_labels=None if self._lattice.is_exact else MAX_LABELS_THINNED,
        )
        if path is not None:
            self.offer(path)
