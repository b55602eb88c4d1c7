"""Seal a model: take it apart, plan and measure, compare, write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferonnx.app.host.comparing import Difference, check_agreement, compare
from inferonnx.app.owner.manifests import ManifestFigures, manifest_of
from inferonnx.app.owner.planned import margin_bytes, sample_of
from inferonnx.app.owner.planning import plan_model, suite_named
from inferonnx.app.owner.samples import model_files
from inferonnx.app.owner.writing import write_sealed
from inferonnx.errors import TargetError, UsageError
from inferonnx.model import prepare
from inferonnx.model.chain import INDEX, load_chain, prepare_chain
from inferonnx.model.plain import PlainModel
from inferonnx.runtime.whole_files import check_output
from inferonnx.sealed.manifest import check_model_name
from inferonnx.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.app.host.keys import Key
    from inferonnx.app.owner.planned import PlannedModel
    from inferonnx.model import Prepared
    from inferonnx.model.chain import Chain
    from inferonnx.sealed import Manifest

    Progress = Callable[[str], None]

AVX2_CHANNELS = 8
TARGETS = ("native", "generic", "avx2")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealReport:
    """What was sealed.

    Attributes:
        path: The sealed file.
        model_id: Its identity, 64 hexadecimal digits.
        file_bytes: Its size.
        planned: The plan and its figures.
        difference: Of the trial run against plain onnxruntime; says nothing of a model that
            is not repeatable.
    """

    path: str
    model_id: str
    file_bytes: int
    planned: PlannedModel
    difference: Difference


def seal(
    model: str | os.PathLike[str] | None,
    path: str | os.PathLike[str],
    *,
    key: Key,
    memory: int | str | None = None,
    name: str | None = None,
    release: int = 0,
    suite: str = "aes-256-gcm",
    strategy: str = "optimal",
    memory_intensive: frozenset[str] = frozenset(),
    partitions: str | os.PathLike[str] | None = None,
    target: str = "native",
    dims: Mapping[str, int] | None = None,
    sample: Mapping[str, object] | None = None,
    progress: Progress = lambda _: None,
) -> SealReport:
    """Turn an ONNX model into one encrypted, signed file.

    Args:
        model: The ONNX file; its external data beside it. With `partitions` it may be None;
            given, it must be the model that they are of, and results are compared with it.
        path: The sealed file; replaced only when the new one is complete, and never a
            file that the model consists of.
        key: The owner's key.
        memory: Peak resident memory to plan for, in bytes or as "85MiB"; with
            `partitions` it may be None, for the least that they need.
        name: The model's name. Default: the stem of `path`.
        release: The owner's count of releases, for pins against rollback.
        suite: "aes-256-gcm" or "aegis-256x2".
        strategy: "optimal" or "paper".
        memory_intensive: Nodes that stand alone under "paper".
        partitions: Folder of a model that was partitioned: exactly those partitions are
            sealed, each optimised on its own, and no strategy applies.
        target: "native" for machines like this one, "generic" for any.
        dims: Sizes of dynamic dimensions to plan for.
        sample: Inputs to measure on, numpy arrays by name.
        progress: Told what happens.

    Raises:
        UsageError: `path` is a file of the model; the partitions are another model's.
        ModelError: The model can't be read or run.
        InfeasibleBudgetError: No plan fits.
        DifferenceError: The stream does not compute what plain onnxruntime does.
    """
    if partitions is None and (model is None or memory is None):
        raise UsageError("a model needs a budget to be sealed for", hint="Give --memory.")
    budget = None if memory is None else parse_size(memory)
    name = Path(path).stem if name is None else name
    check_model_name(name)
    chosen = suite_named(suite)
    chain = None if partitions is None else _chain(os.fspath(partitions), model)
    # What is not there yet is no file of the model: most often nothing has to be read for this.
    check_output(os.fspath(path), inputs=_inputs(model, chain) if os.path.lexists(path) else [])
    folder = os.path.dirname(os.fspath(path)) or "."
    layout = layout_for(target, strategy)
    given = {"dims": dims or {}, "sample": sample, "layout": layout, "progress": progress}
    prepared, cuts = _prepared(model, chain, given)
    with prepared:
        planned = plan_model(
            prepared,
            budget_bytes=budget,
            suite=suite,
            strategy=strategy,
            memory_intensive=memory_intensive,
            cuts=cuts,
            scratch=folder,
            progress=progress,
        )
        difference = _difference(planned, None if chain is None else model, progress)
        model_id = write_sealed(
            os.fspath(path),
            planned.draft,
            _manifest(planned, name),
            key=key.owner,
            suite=chosen,
            release=release,
            progress=lambda done, total: progress(f"sealing {done * 100 // max(1, total)} %"),
        )
    return SealReport(
        path=os.fspath(path),
        model_id=model_id.hex(),
        file_bytes=os.path.getsize(path),
        planned=planned,
        difference=difference,
    )


def _chain(folder: str, model: str | os.PathLike[str] | None) -> Chain:
    return load_chain(folder, model_path=None if model is None else os.fspath(model))


def _inputs(model: str | os.PathLike[str] | None, chain: Chain | None) -> list[str]:
    """Return the files that are read, which no output may replace."""
    files = [] if model is None else model_files(model)
    if chain is not None:
        files += [os.path.join(chain.folder, name) for name in (INDEX, *chain.files)]
    return files


def _prepared(
    model: str | os.PathLike[str] | None,
    chain: Chain | None,
    given: dict[str, Any],
) -> tuple[Prepared, tuple[int, ...] | None]:
    """Return what is sealed taken apart, and its cuts where these are given."""
    if chain is None:
        return prepare(os.fspath(model or ""), try_batch=True, **given), None
    return prepare_chain(chain, **given)


def _difference(
    planned: PlannedModel, whole: str | os.PathLike[str] | None, progress: Progress
) -> Difference:
    """Return how the trial's results differ from those of plain onnxruntime.

    Args:
        planned: What was tried.
        whole: The model that partitions are of: compared with it, not with them.
        progress: Told what happens.

    Raises:
        DifferenceError: By too much, of a model that answers twice alike.
    """
    prepared = planned.prepared
    expected = prepared.expected
    if whole is not None:
        progress("running the whole model")
        expected = PlainModel(whole).run(prepared.sample)
    difference = compare(sample_of(prepared, expected), planned.trial.outputs)
    if prepared.repeatable:
        check_agreement(difference)
    return difference


def _manifest(planned: PlannedModel, name: str) -> Manifest:
    prepared = planned.prepared
    return manifest_of(
        planned.draft,
        name=name,
        measured=_measured_by(planned),
        sample=sample_of(prepared, prepared.sample),
        # Else no check vector: the next run would answer something else.
        outputs=sample_of(prepared, prepared.expected) if prepared.repeatable else None,
    )


def layout_for(target: str, strategy: str) -> str:
    """Return the layout to prepare a model in for `target`.

    The paper's walk is over the original graph, which no processor is special to.

    Raises:
        TargetError: This machine can't optimise for that target exactly.
    """
    if target in ("native", "generic"):
        return "original" if strategy == "paper" else target
    if target not in TARGETS:
        raise TargetError(
            f"no target is called {target!r}", hint=f"There are: {', '.join(TARGETS)}."
        )
    from inferonnx.model.layout import block_channels

    if block_channels() != AVX2_CHANNELS:
        raise TargetError(
            f"onnxruntime lays weights out in blocks of {block_channels()} channels here, and "
            f"can't make those of {AVX2_CHANNELS} of AVX2 exactly",
            hint="Seal with --target generic, or on a machine with AVX2 and without AVX-512.",
        )
    return "native"


def _measured_by(planned: PlannedModel) -> ManifestFigures:
    """Return the figures of a plan as the manifest keeps them."""
    trial = planned.trial
    return ManifestFigures(
        arena_strategy=planned.arena[0],
        arena_bytes=planned.arena[1],
        pass_bytes=trial.pass_bytes + margin_bytes(planned.prepared),
        floor_bytes=trial.floor_bytes,
        session_bytes=trial.session_bytes,
        budget_bytes=planned.plan.budget_bytes,
        least_bytes=planned.least_bytes,
        call_bytes=trial.call_bytes,
        compute_s=trial.compute_s,
    )
