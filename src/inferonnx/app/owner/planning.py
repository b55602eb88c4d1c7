"""From a model to a plan that was measured: prepare, plan, try, plan again.

The first plan rests on estimates of what the engine holds besides weights and
activations; the trial on the real engine gives the figures, and the plan is made
again until it stands on what was measured.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from inferonnx.app.owner.planned import PASS_OVERHEAD_BYTES, measured_memory, settled, try_plan
from inferonnx.crypto import SUITES, Suite
from inferonnx.errors import (
    EngineError,
    InfeasibleBudgetError,
    ModelError,
    UsageError,
)
from inferonnx.graph import Liveness, partition_activation_bytes
from inferonnx.plan import MemoryModel, Plan, Rates, assess, plan_optimal
from inferonnx.runtime.files import read_file
from inferonnx.sizes import KIB, MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from inferonnx.app.owner.planned import PlannedModel
    from inferonnx.graph import Graph
    from inferonnx.model import Prepared

    Progress = Callable[[str], None]

ROUNDS = 3
"""Plans made before the last one is taken; the second stands on measured figures already."""

SMALL_MODEL_BYTES = 100 * 10**6
SMALL_BLOCK_BYTES = 3 * MIB
LARGE_BLOCK_BYTES = 10 * MIB

GIVEN = "partitions"
"""The strategy of a plan whose cuts are the edges of partitions on disk."""

# Estimates for the first plan: two cores, onnxruntime 1.32 (docs/memory.md).
_FLOOR_BYTES = 24 * MIB
_SESSION_BYTES = 20 * KIB
_NODE_BYTES = 5 * KIB
_WEIGHT_INPUT_BYTES = 2 * KIB
_RATES = {"aes-256-gcm": 5.0e9, "aegis-256x2": 12.0e9}
_RUN_S = 2e-5
_HANDOVER_S = 6e-5


def plan_model(
    prepared: Prepared,
    *,
    budget_bytes: int | None,
    suite: str = "aes-256-gcm",
    strategy: str = "optimal",
    memory_intensive: frozenset[str] = frozenset(),
    cuts: Sequence[int] | None = None,
    block_limit_bytes: int | None = None,
    enforce: bool = True,
    scratch: str | None = None,
    progress: Progress = lambda _: None,
) -> PlannedModel:
    """Return a measured plan for `prepared` whose peak fits the budget.

    Args:
        prepared: The model, from `model.prepare`.
        budget_bytes: Peak resident memory of the process that will run it; None, with
            `cuts`, for the least that these need.
        suite: AEAD that it will be sealed with.
        strategy: "optimal", or "paper" for the paper's greedy walk.
        memory_intensive: For "paper": nodes that stand alone.
        cuts: Nodes at which partitions begin, the first left out; nothing is searched
            then, and no strategy and no limit on blocks apply.
        block_limit_bytes: Most weights in a partition that can be cut. Default: 3 MiB
            for models under 100 MB, 10 MiB above, and what the operator with the most
            weights has: the buffer that streamed blocks share holds those.
        enforce: Refuse a plan that does not fit; otherwise it is only shown.
        scratch: Folder for provisional sealed files (encrypted under a key that
            lives only here). Default: the system's temporary folder.
        progress: Told what happens.

    Raises:
        InfeasibleBudgetError: Nothing fits; names the operator and the least budget.
        ModelError: onnxruntime refuses the model's partitions, however they are cut.
    """
    chosen = suite_named(suite)
    propose = partial(
        _plan,
        prepared,
        strategy,
        cuts,
        limit=block_limit_bytes or _block_limit_bytes(prepared.graph),
        memory_intensive=memory_intensive,
    )
    memory, rates = estimates(suite)
    tried: dict[tuple[int, ...], PlannedModel] = {}
    while len(tried) < ROUNDS:
        progress(f"planning, round {len(tried) + 1}")
        try:
            plan = propose(memory, rates, budget=budget_bytes or 0, measured=bool(tried))
        except InfeasibleBudgetError:
            if tried:
                break  # what was measured fits, or tells what would, whatever is reckoned
            raise
        if plan.cuts in tried:
            break
        try:
            found = try_plan(prepared, plan, chosen, scratch, progress)
        except EngineError as error:
            if error.partition is None:
                raise
            part = plan.partitions[error.partition]
            keep_constant(prepared, part.start, part.stop, error.private_text)
            tried.clear()
            continue
        memory = measured_memory(memory, found)
        if found.trial.stream_bytes_per_s:
            rates = replace(rates, stream_bytes_per_s=found.trial.stream_bytes_per_s)
        if budget_bytes is None:
            budget_bytes = replace(found, plan=settled(found, memory, rates, 0)).least_bytes
        tried[plan.cuts] = replace(found, plan=settled(found, memory, rates, budget_bytes))
    return _best(tried.values(), budget_bytes or 0, enforce=enforce)


def _best(tried: Collection[PlannedModel], budget_bytes: int, *, enforce: bool) -> PlannedModel:
    """Return the fastest plan that fits; without one, the smallest, unless that is refused."""
    fitting = [found for found in tried if found.least_bytes <= budget_bytes]
    if fitting:
        return min(fitting, key=lambda found: found.latency_s)
    best = min(tried, key=lambda found: found.least_bytes)
    if enforce:
        raise _infeasible(best, budget_bytes)
    return best


def estimates(suite: str = "aes-256-gcm") -> tuple[MemoryModel, Rates]:
    """Return what a process holds and a pass costs, before anything was measured."""
    memory = MemoryModel(
        floor_bytes=_FLOOR_BYTES + PASS_OVERHEAD_BYTES,
        session_bytes=_SESSION_BYTES,
        node_bytes=_NODE_BYTES,
        weight_input_bytes=_WEIGHT_INPUT_BYTES,
    )
    rates = Rates(
        stream_bytes_per_s=_RATES[suite], partition_overhead_s=_RUN_S, stream_overhead_s=_HANDOVER_S
    )
    return memory, rates


def memory_intensive_operators(path: str, model: str) -> frozenset[str]:
    """Return the operators of `model` that are listed as slow inside an enclave.

    Args:
        path: The artifact's `operator_overhead.txt`.
        model: The model's name.

    Raises:
        UsageError: The file is not there.
        PlanError: It is not of that form.
    """
    from inferonnx.plan import OVERHEAD_LIMIT, parse_operator_overheads

    listed = parse_operator_overheads(read_file(path).decode("utf-8", "replace")).get(model, {})
    return frozenset(name for name, overhead in listed.items() if overhead > OVERHEAD_LIMIT)


def least_memory(
    prepared: Prepared, *, suite: str = "aes-256-gcm", progress: Progress = lambda _: None
) -> int:
    """Return the least budget in bytes at which a division of the model was measured to run.

    Raises:
        ModelError: onnxruntime refuses the model's partitions.
    """
    return plan_model(
        prepared, budget_bytes=1, suite=suite, enforce=False, progress=progress
    ).least_bytes


def suite_named(name: str) -> Suite:
    """Return the AEAD suite of that name, usable here.

    Raises:
        UsageError: There is none of that name.
        UnavailableError: Its library is not installed.
    """
    if name not in SUITES:
        raise UsageError(f"no suite is called {name!r}", hint=f"There are: {', '.join(SUITES)}.")
    suite = SUITES[name]
    if not suite.is_available():
        from inferonnx.crypto import Secret

        suite.aead(Secret(bytes(suite.key_bytes)))  # says what to install
    return suite


def _plan(
    prepared: Prepared,
    strategy: str,
    cuts: Sequence[int] | None,
    memory: MemoryModel,
    rates: Rates,
    *,
    budget: int,
    limit: int,
    memory_intensive: frozenset[str],
    measured: bool,
) -> Plan:
    """Return a plan; before anything was measured one that does not fit will do for a trial.

    Cuts that are given are those of files that were partitioned before.
    """
    if cuts is not None:
        return assess(
            prepared.graph, cuts, memory=memory, rates=rates, budget_bytes=None, strategy=GIVEN
        )
    if strategy == "paper":
        from inferonnx.plan import plan_paper

        known = {node.name for node in prepared.graph.nodes}
        # The walk asks for no budget; whether its plan fits one is judged afterwards.
        walked: Plan = plan_paper(
            prepared.graph,
            memory=memory,
            rates=rates,
            memory_intensive=memory_intensive & known,
            uncuttable=prepared.uncuttable,
        )
        return walked
    if strategy != "optimal":
        raise UsageError(f"no strategy is called {strategy!r}", hint="There are: optimal, paper.")
    uncuttable = prepared.uncuttable | _wasteful_cuts(prepared.graph)
    optimal = partial(
        plan_optimal,
        prepared.graph,
        memory=memory,
        rates=rates,
        uncuttable=uncuttable,
        block_limit_bytes=limit,
    )
    try:
        return optimal(budget_bytes=budget)
    except InfeasibleBudgetError as error:
        if measured:
            raise
        return optimal(budget_bytes=error.needed_bytes)


def _block_limit_bytes(graph: Graph) -> int:
    is_small = sum(graph.weight_bytes.values()) < SMALL_MODEL_BYTES
    largest = max((sum(graph.weight_bytes[w] for w in n.weights) for n in graph.nodes), default=0)
    return max(SMALL_BLOCK_BYTES if is_small else LARGE_BLOCK_BYTES, largest)


def _wasteful_cuts(graph: Graph) -> frozenset[int]:
    """Return cuts before nodes without weights that would leave less to carry over behind them.

    A pool that shrinks its input belongs to what came before: cut off from it, the
    larger value is held while the next partition runs, and breaks up the arena.
    """
    alive = Liveness(graph)
    return frozenset(
        cut
        for cut in range(1, len(graph.nodes))
        if not graph.nodes[cut].weights
        and alive.boundary_bytes(cut + 1) <= alive.boundary_bytes(cut)
    )


def keep_constant(prepared: Prepared, start: int, stop: int, reason: str) -> None:
    """Leave the weights of a partition that onnxruntime refused inside it, as constants.

    Args:
        prepared: The model.
        start: First node of the partition.
        stop: Node behind its last one.
        reason: onnxruntime's own text, for the owner.

    Raises:
        ModelError: It has no weights, so that is not why.
    """
    nodes = prepared.graph.nodes[start:stop]
    weights = {name for node in nodes for name in node.weights}
    if not weights:
        kinds = ", ".join(sorted({node.op_type for node in nodes}))
        raise ModelError(
            f"onnxruntime can't run these operators by themselves: {kinds}", where=reason[:500]
        )
    prepared.pin_constant(weights)


def _infeasible(planned: PlannedModel, budget: int) -> InfeasibleBudgetError:
    graph, least = planned.prepared.graph, planned.least_bytes
    needs = [
        sum(graph.weight_bytes[name] for name in node.weights)
        + partition_activation_bytes(graph, i, i + 1)
        for i, node in enumerate(graph.nodes)
    ]
    most = max(range(len(needs)), key=needs.__getitem__)
    node = graph.label(most)
    return InfeasibleBudgetError(
        f"the model needs at least {format_size(least)}, the budget is {format_size(budget)}; "
        f"the most is needed by {node!r}: {format_size(needs[most])} of weights and activations",
        needed_bytes=least,
        budget_bytes=budget,
        node=node,
        hint=f"Give it --memory {-(-least // MIB)}MiB.",
    )
