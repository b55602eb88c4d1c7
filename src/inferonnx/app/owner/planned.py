"""A plan and what a trial on the real engine measured of it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from inferonnx.app.host.keys import Key
from inferonnx.app.host.values import exported, n_bytes
from inferonnx.app.owner.manifests import held_bytes, manifest_of
from inferonnx.app.owner.trial import SHARING, Trial, run_trial
from inferonnx.app.owner.writing import SealDraft, write_sealed
from inferonnx.plan import assess
from inferonnx.runtime.whole_files import scratch_folder
from inferonnx.sealed import encode_owner_key
from inferonnx.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.crypto import Suite
    from inferonnx.model import Prepared
    from inferonnx.plan import MemoryModel, Plan, Rates
    from inferonnx.runtime.ort_values import Exported

    Progress = Callable[[str], None]

MARGIN_BYTES = MIB // 2
"""Added to what a pass was measured to need, beside its inputs (`margin_bytes`)."""

COMMAND_BYTES = 5 * MIB // 4
"""What `inferonnx run` holds and a trial does not: the command line, readers of input files.
Seen at 1.0 to 1.2 MiB; without it a file would not run at the least budget that is told."""

OPEN_MARGIN_BYTES = 3 * MIB // 4
"""Added where inputs may be of other sizes than those that were measured."""

MOST_SHARED_BYTES = 512 * MIB
"""Calls that hold more than this between them are not tried together."""

LEAST_SESSION_SCALE = 1 / 3
"""Measured against estimated bytes of sessions: less is not believed."""

PASS_OVERHEAD_BYTES = 8 * MIB
"""Estimate of what a pass takes beside activations (docs/memory.md)."""


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


def try_plan(
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
            if trial.pass_bytes <= planned + PASS_OVERHEAD_BYTES + MIB:
                break
    # By floor and pass together: what an arena holds from the start is part of the floor.
    return min(found, key=lambda one: one.trial.floor_bytes + one.trial.pass_bytes)


def margin_bytes(prepared: Prepared) -> int:
    """Return what is added to the measured need of a pass.

    Heaps and page caches differ from run to run. A caller may read the next inputs while
    it still holds the last; and those that do not lie where their elements may, as in most
    files, are copied for the pass, which the trial's are not.
    """
    is_open = any(not isinstance(axis, int) for v in prepared.inputs for axis in v.shape or (None,))
    inputs = sum(map(n_bytes, sample_of(prepared, prepared.sample).values()))
    return MARGIN_BYTES + (OPEN_MARGIN_BYTES if is_open else 0) + 2 * inputs


def measured_memory(memory: MemoryModel, found: PlannedModel) -> MemoryModel:
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


def settled(found: PlannedModel, memory: MemoryModel, rates: Rates, budget: int) -> Plan:
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


def sample_of(prepared: Prepared, values: Mapping[str, object]) -> dict[str, Exported]:
    """Return inputs or outputs of a model, arrays as onnxruntime gives them, as tensors."""
    kinds = {name: kind for name, kind, _ in (*prepared.inputs, *prepared.outputs)}
    return {name: exported(value, kinds[name]) for name, value in values.items()}
