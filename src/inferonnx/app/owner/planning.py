"""From a model to a plan that was measured: prepare, plan, try, plan again.

The first plan rests on estimates of what the engine holds besides weights and
activations; the trial on the real engine gives the figures, and the plan is made
again until it stands on what was measured.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from inferonnx.app.host.keys import Key
from inferonnx.app.host.values import n_bytes
from inferonnx.app.owner.manifests import held_bytes, manifest_of
from inferonnx.app.owner.trial import SHARING, Trial, run_trial
from inferonnx.app.owner.writing import SealDraft, write_sealed
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
from inferonnx.runtime.whole_files import scratch_folder
from inferonnx.sealed import encode_owner_key
from inferonnx.sizes import KIB, MIB, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inferonnx.graph import Graph
    from inferonnx.model import Prepared
    from inferonnx.runtime.ort_values import Exported

    Progress = Callable[[str], None]

ROUNDS = 3
"""Plans made before the last one is taken; the second stands on measured figures already."""

MARGIN_BYTES = MIB // 2
"""Added to what a pass was measured to need, beside the size of its inputs (`margin_bytes`)."""

COMMAND_BYTES = 5 * MIB // 4
"""What `inferonnx run` holds and a trial does not: the command line, readers of input files.
Seen at 1.0 to 1.2 MiB; without it a file would not run at the least budget that is told."""

OPEN_MARGIN_BYTES = 3 * MIB // 4
"""Added where inputs may be of other sizes than those that were measured."""

MOST_SHARED_BYTES = 512 * MIB
"""Calls that hold more than this between them are not tried together."""

LEAST_SESSION_SCALE = 1 / 3
"""Measured against estimated bytes of sessions: less is not believed."""

SMALL_MODEL_BYTES = 100 * 10**6
SMALL_BLOCK_BYTES = 3 * MIB
LARGE_BLOCK_BYTES = 10 * MIB

GIVEN = "partitions"
"""The strategy of a plan whose cuts are the edges of partitions on disk."""

# Estimates for the first plan: two cores, onnxruntime 1.32 (docs/memory.md).
_FLOOR_BYTES = 24 * MIB
_PASS_OVERHEAD_BYTES = 8 * MIB
_SESSION_BYTES = 20 * KIB
_NODE_BYTES = 5 * KIB
_WEIGHT_INPUT_BYTES = 2 * KIB
_RATES = {"aes-256-gcm": 5.0e9, "aegis-256x2": 12.0e9}
_RUN_S = 6e-6
_HANDOVER_S = 6e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """A model, its plan, and what the plan was measured to need. Close `prepared` when done.

    Attributes:
        prepared: The model taken apart.
        draft: What would be sealed.
        plan: Predicted with what the trial of these very cuts measured, the margin
            included; resident is what the engine will keep in the budget.
        trial: What was measured.
        arena: Strategy and initial bytes of the arena that needed the least.
        margin_bytes: Added to what was measured, of a pass and of opening.
    """

    prepared: Prepared
    draft: SealDraft
    plan: Plan
    trial: Trial
    arena: tuple[int, int]
    margin_bytes: int

    @property
    def open_peak_bytes(self) -> int:
        """Predicted peak while the model is opened, whatever stays resident later."""
        return self.trial.open_peak_bytes + self.margin_bytes

    @property
    def peak_bytes(self) -> int:
        """Predicted peak of the process: of a pass, or of opening where that takes more."""
        return max(self.plan.peak_bytes, self.open_peak_bytes)

    @property
    def least_bytes(self) -> int:
        """Least budget at which this division runs: with nothing resident."""
        return max(self.plan.least_bytes, self.open_peak_bytes)

    @property
    def latency_s(self) -> float:
        """Predicted seconds of a pass: computing and opening as the trial measured them."""
        rate = self.trial.stream_bytes_per_s
        return sum(self.trial.compute_s) + (self.plan.streamed_bytes / rate if rate else 0.0)


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
            for models under 100 MB, 10 MiB above.
        enforce: Refuse a plan that does not fit; otherwise it is only shown.
        scratch: Folder for provisional sealed files (encrypted under a key that
            lives only here). Default: the system's temporary folder.
        progress: Told what happens.

    Raises:
        InfeasibleBudgetError: Nothing fits; names the operator and the least budget.
        ModelError: onnxruntime refuses the model's partitions, however they are cut.
    """
    chosen = suite_named(suite)
    total = sum(prepared.graph.weight_bytes.values())
    limit = block_limit_bytes or (
        SMALL_BLOCK_BYTES if total < SMALL_MODEL_BYTES else LARGE_BLOCK_BYTES
    )
    memory, rates = estimates(suite)
    tried: dict[tuple[int, ...], PlannedModel] = {}
    while len(tried) < ROUNDS:
        progress(f"planning, round {len(tried) + 1}")
        try:
            plan = (
                _plan(
                    prepared,
                    strategy,
                    limit=limit,
                    budget=budget_bytes or 0,
                    memory=memory,
                    rates=rates,
                    memory_intensive=memory_intensive,
                    measured=bool(tried),
                )
                if cuts is None
                else _given(prepared, cuts, memory, rates)
            )
        except InfeasibleBudgetError:
            if tried:
                break  # what was measured fits, or tells what would, whatever is reckoned
            raise
        if plan.cuts in tried:
            break
        try:
            found = _try(prepared, plan, chosen, scratch, progress)
        except EngineError as error:
            if error.partition is None:
                raise
            part = plan.partitions[error.partition]
            keep_constant(prepared, part.start, part.stop, error.private_text)
            tried.clear()
            continue
        memory = _measured_memory(memory, found)
        if found.trial.stream_bytes_per_s:
            rates = replace(rates, stream_bytes_per_s=found.trial.stream_bytes_per_s)
        if budget_bytes is None:
            budget_bytes = replace(found, plan=_settled(found, memory, rates, 0)).least_bytes
        tried[plan.cuts] = replace(found, plan=_settled(found, memory, rates, budget_bytes))
    budget_bytes = budget_bytes or 0
    fitting = [found for found in tried.values() if found.least_bytes <= budget_bytes]
    if fitting:
        return min(fitting, key=lambda found: found.latency_s)
    best = min(tried.values(), key=lambda found: found.least_bytes)
    if enforce:
        raise _infeasible(best, budget_bytes)
    return best


def estimates(suite: str = "aes-256-gcm") -> tuple[MemoryModel, Rates]:
    """Return what a process holds and a pass costs, before anything was measured."""
    memory = MemoryModel(
        floor_bytes=_FLOOR_BYTES + _PASS_OVERHEAD_BYTES,
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
    *,
    limit: int,
    budget: int,
    memory: MemoryModel,
    rates: Rates,
    memory_intensive: frozenset[str],
    measured: bool,
) -> Plan:
    """Return a plan; before anything was measured one that does not fit will do for a trial."""
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


def _given(prepared: Prepared, cuts: Sequence[int], memory: MemoryModel, rates: Rates) -> Plan:
    """Return the plan whose cuts are those of files that were partitioned before."""
    return assess(
        prepared.graph, cuts, memory=memory, rates=rates, budget_bytes=None, strategy=GIVEN
    )


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


def _try(
    prepared: Prepared, plan: Plan, suite: Suite, scratch: str | None, progress: Progress
) -> PlannedModel:
    """Seal provisionally and measure ways to run the arena; keep the one of smallest peak.

    Which is best differs by model: a first region that is a little too small makes
    the arena grow by a second one. The first that holds no more than the
    activations and the usual overhead is taken.
    """
    draft = SealDraft.of(prepared, plan)
    key = Key.generate()
    text = encode_owner_key(key.owner)
    planned = plan.activation_bytes
    found: list[PlannedModel] = []
    with scratch_folder(scratch or tempfile.gettempdir()) as folder:
        path = os.path.join(folder, "trial.sealed")
        progress("sealing for a trial")
        unmeasured = manifest_of(draft, name="trial")
        write_sealed(path, draft, unmeasured, key=key.owner, suite=suite, release=0)
        sample = sample_of(prepared, prepared.sample)
        held = held_bytes(draft, sample=sample, outputs=sample_of(prepared, prepared.expected))
        share = held * max(SHARING) <= MOST_SHARED_BYTES
        for arena in ((0, planned + MIB), (1, 0), (0, planned * 5 // 4 + MIB)):
            progress("measuring a pass")
            trial = run_trial(
                path, text, sample, arena_strategy=arena[0], arena_bytes=arena[1], share=share
            )
            trial = trial._replace(
                floor_bytes=trial.floor_bytes + COMMAND_BYTES,
                open_peak_bytes=trial.open_peak_bytes + COMMAND_BYTES,
            )
            found.append(
                PlannedModel(
                    prepared=prepared,
                    draft=draft,
                    plan=plan,
                    trial=trial,
                    arena=arena,
                    margin_bytes=margin_bytes(prepared),
                )
            )
            if trial.pass_bytes <= planned + _PASS_OVERHEAD_BYTES + MIB:
                break
    # By floor and pass together: what an arena holds from the start is part of the floor.
    return min(found, key=lambda one: one.trial.floor_bytes + one.trial.pass_bytes)


def margin_bytes(prepared: Prepared) -> int:
    """Return what is added to the measured need of a pass.

    Heaps and page caches differ from run to run, and a caller may read the next
    inputs while it still holds the last.
    """
    is_open = any(not isinstance(axis, int) for v in prepared.inputs for axis in v.shape or (None,))
    inputs = sum(map(n_bytes, sample_of(prepared, prepared.sample).values()))
    return MARGIN_BYTES + (OPEN_MARGIN_BYTES if is_open else 0) + inputs


def _measured_memory(memory: MemoryModel, found: PlannedModel) -> MemoryModel:
    """Return the memory model in which the plan that was tried holds what was measured.

    What a pass takes beside activations (code, fragmentation, workspace) and the
    margin are floor.
    """
    plan, trial = found.plan, found.trial
    # Sessions are measured as the difference of two resident sizes, between which
    # pages were dropped: a figure far below the estimate says nothing.
    scale = 1.0
    if plan.session_bytes:
        scale = max(trial.session_bytes / plan.session_bytes, LEAST_SESSION_SCALE)
    scaled = replace(
        memory,
        floor_bytes=0,
        session_bytes=int(memory.session_bytes * scale),
        node_bytes=int(memory.node_bytes * scale),
        weight_input_bytes=int(memory.weight_input_bytes * scale),
    )
    sessions = sum(
        scaled.partition_session_bytes(n_nodes=part.n_nodes, n_weights=len(part.weights))
        for part in found.draft.partitions
    )
    measured = trial.floor_bytes + trial.pass_bytes + found.margin_bytes
    return replace(scaled, floor_bytes=max(0, measured - sessions - plan.activation_bytes))


def _settled(found: PlannedModel, memory: MemoryModel, rates: Rates, budget: int) -> Plan:
    """Return the plan that was tried with measured figures, and resident what the engine keeps."""
    tried = found.plan
    assessed = partial(
        assess,
        found.prepared.graph,
        tried.cuts,
        memory=memory,
        rates=rates,
        strategy=tried.strategy,
    )
    plan: Plan = assessed(budget_bytes=None)
    if plan.least_bytes <= budget:
        plan = assessed(budget_bytes=budget)
    return replace(plan, budget_bytes=budget)


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


def sample_of(prepared: Prepared, values: Mapping[str, object]) -> dict[str, Exported]:
    """Return inputs or outputs of a model, arrays as onnxruntime gives them, as tensors."""
    from inferonnx.app.host.values import exported

    kinds = {name: kind for name, kind, _ in (*prepared.inputs, *prepared.outputs)}
    return {name: exported(value, kinds[name]) for name, value in values.items()}
