"""What a sealed model's manifest says, put together from draft and measurements."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inferonnx.app.host.values import n_bytes
from inferonnx.graph import Liveness
from inferonnx.runtime import ort
from inferonnx.sealed import Arena, Check, Manifest, Memory, Partition, Probe, Target, ValueInfo
from inferonnx.sizes import KIB
from inferonnx.tensors import Tensor, as_tensor, encode_npy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.app.owner.writing import SealDraft
    from inferonnx.runtime.ort_values import Exported

MAX_CHECK_BYTES = 1 << 20
"""A check vector larger than this is left out: the manifest is held whole while opening."""

CALL_MARGIN_BYTES = 64 * KIB
"""Added to what a call was measured to take beside others: heaps differ from run to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFigures:
    """Figures of a trial, as the manifest keeps them: bytes, and seconds by partition."""

    arena_strategy: int = 0
    arena_bytes: int = 0
    pass_bytes: int = 0
    floor_bytes: int = 0
    session_bytes: int = 0
    budget_bytes: int = 0
    least_bytes: int = 0
    call_bytes: int | None = None
    compute_s: tuple[float, ...] = ()


def manifest_of(
    draft: SealDraft,
    *,
    name: str,
    measured: ManifestFigures | None = None,
    sample: Mapping[str, Exported] | None = None,
    outputs: Mapping[str, Exported] | None = None,
) -> Manifest:
    """Return the manifest of a draft.

    Args:
        draft: Partitions and model.
        name: The model's name.
        measured: Figures; None before a trial.
        sample: Inputs that were measured with, kept as a check vector.
        outputs: What plain onnxruntime answers to them.
    """
    from inferonnx import __version__

    prepared = draft.prepared
    figures = measured or ManifestFigures()
    shapes = {
        key: value.shape for key, value in (sample or {}).items() if isinstance(value, Tensor)
    }
    return Manifest(
        name=name,
        producer=f"inferonnx {__version__}",
        strategy=draft.plan.strategy,
        metadata=prepared.metadata,
        inputs=tuple(ValueInfo(name=n, type=t, shape=s) for n, t, s in prepared.inputs),
        outputs=tuple(ValueInfo(name=n, type=t, shape=s) for n, t, s in prepared.outputs),
        partitions=_timed(draft.partitions, figures.compute_s),
        target=Target(onnxruntime=ort.version(), layout=prepared.layout, arch=os.uname().machine),
        arena=Arena(
            strategy=figures.arena_strategy,
            initial_bytes=figures.arena_bytes,
            peak_bytes=figures.pass_bytes,
        ),
        memory=Memory(
            budget_bytes=figures.budget_bytes,
            least_bytes=figures.least_bytes,
            floor_bytes=figures.floor_bytes,
            session_bytes=figures.session_bytes,
            call_bytes=_call_bytes(draft, figures.call_bytes, sample or {}, outputs or {}),
        ),
        planned_shapes=shapes,
        rows_independent=prepared.rows_independent,
        notes=prepared.notes,
        probe=_probe(draft),
        check=_check(sample, outputs),
    )


def _timed(
    partitions: tuple[Partition, ...], compute_s: tuple[float, ...]
) -> tuple[Partition, ...]:
    """Return the partitions with measured times, where there are some."""
    if not compute_s:
        return partitions
    return tuple(
        replace(partition, time_us=round(seconds * 1e6))
        for partition, seconds in zip(partitions, compute_s, strict=True)
    )


def _call_bytes(
    draft: SealDraft,
    measured_bytes: int | None,
    sample: Mapping[str, Exported],
    outputs: Mapping[str, Exported],
) -> int:
    """Return what a call takes beside the one that runs: measured, else what it may be."""
    if measured_bytes is not None:  # by callers that hold the same inputs
        inputs = sum(map(n_bytes, sample.values()))
        return measured_bytes + inputs + CALL_MARGIN_BYTES
    lost = max((p.activation_bytes for p in draft.partitions), default=0)
    return held_bytes(draft, sample=sample, outputs=outputs) + lost


def held_bytes(
    draft: SealDraft, *, sample: Mapping[str, Exported], outputs: Mapping[str, Exported]
) -> int:
    """Return what a call holds beside the one that runs.

    Until it is done what crosses the widest cut, then the copy of its outputs.
    """
    in_bytes, out_bytes = (sum(map(n_bytes, v.values())) for v in (sample, outputs))
    return in_bytes + out_bytes + _widest_cut_bytes(draft)


def _widest_cut_bytes(draft: SealDraft) -> int:
    alive = Liveness(draft.prepared.graph)
    return max((alive.boundary_bytes(cut) for cut in draft.plan.cuts), default=0)


def _probe(draft: SealDraft) -> Probe | None:
    probe = draft.prepared.probe
    if probe is None:
        return None
    return Probe(
        skeleton=probe.model,
        inputs=tuple(encode_npy(as_tensor(value)) for value in probe.inputs.values()),
        outputs=tuple(encode_npy(as_tensor(value)) for value in probe.outputs.values()),
    )


def _check(
    sample: Mapping[str, Exported] | None, outputs: Mapping[str, Exported] | None
) -> Check | None:
    """Return a check vector where all of it are tensors that .npy files can hold, and small."""
    if sample is None or outputs is None:
        return None
    known: dict[str, dict[str, bytes]] = {"in": {}, "out": {}}
    for side, values in (("in", sample), ("out", outputs)):
        for name, value in values.items():
            if not isinstance(value, Tensor) or not _fits_npy(value):
                return None
            known[side][name] = encode_npy(value)
    if sum(len(data) for side in known.values() for data in side.values()) > MAX_CHECK_BYTES:
        return None
    return Check(inputs=known["in"], outputs=known["out"])


def _fits_npy(tensor: Tensor) -> bool:
    return tensor.strings is not None or tensor.dtype.typestr is not None
