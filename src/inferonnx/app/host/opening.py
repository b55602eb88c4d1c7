"""Open a sealed model inside a memory budget.

What runs in the enclave begins here: nothing in this file's imports reaches
`onnx`, `numpy` or the onnxruntime Python package.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from inferonnx.app.host.needs import arena_bytes, sharing_bytes
from inferonnx.app.host.opened_file import open_file
from inferonnx.app.host.placing import measure_held, place
from inferonnx.app.host.session import Figures, Session
from inferonnx.app.host.target import check_target
from inferonnx.engine import BlockLoader, Stream
from inferonnx.runtime import process
from inferonnx.runtime.engine_runtime import OrtRuntime
from inferonnx.runtime.ort import Environment
from inferonnx.sealed import parse_pin
from inferonnx.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.app.host.keys import DataKey, Key
    from inferonnx.app.host.opened_file import OpenedFile
    from inferonnx.app.host.target import Later
    from inferonnx.runtime.ort import Withheld
    from inferonnx.sealed import Manifest, Memory, Pin

SPIN_BELOW_US = 30_000
"""A pass shorter than this gains more from workers that spin than it loses (docs/memory.md)."""

DROP_EVERY = 8
"""Sessions made between two drops of library pages, so that opening has no peak of its own."""

NO_BUDGET_BYTES = 1 << 62
"""Stands for a budget where none is kept: nothing exceeds it."""


def open(  # noqa: A001 - the name that users of files and archives know
    path: str | os.PathLike[str],
    *,
    key: Key | DataKey,
    memory: int | str | None = None,
    pin: Pin | str | None = None,
    threads: int | None = None,
    concurrency: int = 1,
    as_numpy: bool = True,
    page_drop: bool = True,
    spin: bool | None = None,
    resident: bool = True,
) -> Session:
    """Open a sealed model so that it runs inside a memory budget.

    Three things in the process change for good: core dumps are switched off,
    onnxruntime's telemetry is refused, clean pages of libraries are let go. The
    first model that is opened shapes the pool and the arena of onnxruntime for all
    that are open beside it: `threads` and `spin` of later ones have no effect.

    Args:
        path: The sealed file.
        key: The owner's key, or the data key of this model.
        memory: Peak of this process's resident memory from here on, in bytes or as
            "85MiB"; what the process held before counts. Default: the budget that
            the model was sealed for. Where the system does not tell what is resident, the
            floor counts as it was measured while sealing (`figures.measured` is False).
        pin: What is acceptable: a model id, or
            "owner=<hex>,release=<least>,name=<name>".
        threads: Threads that open and compute. Default: the cores of the process.
        concurrency: How many waiting calls may share a pass over the weights, or run at
            once where all weights are resident: as many as the budget holds, for whom
            memory is kept (`figures.concurrency`). Others wait for the next pass.
        as_numpy: Return numpy arrays where numpy is installed.
        page_drop: Let go of clean pages of libraries once they have started.
        spin: Whether idle workers spin. Default: for passes of less than 30 ms, and where
            all weights stay in memory and calls come one at a time.
        resident: Whether weights may stay decrypted between passes, where the budget holds
            them. Without it every pass reads all of them again: for measurements.

    Returns:
        A session; use it in `with`, or close it.

    Raises:
        InfeasibleBudgetError: The budget is below what this model needs here.
        TargetError: Sealed for another onnxruntime version or CPU layout.
        Others: As `open_file`.
    """
    start = time.perf_counter()
    if as_numpy:
        as_numpy = _has_numpy()  # before anything is measured: it counts as floor
    peak_before = process.peak_resident_bytes() or 0
    budget = None if memory is None else parse_size(memory)
    pin = parse_pin(pin) if isinstance(pin, str) else pin
    return make_session(
        open_file(os.fspath(path), key=key, pin=pin),
        threads or process.cores(),
        spin=spin,
        arena=None,
        as_numpy=as_numpy,
        page_drop=page_drop,
        budget_of=lambda memory, _floor: memory.budget_bytes if budget is None else budget,
        concurrency=max(1, concurrency),
        start_s=start,
        peak_before=peak_before,
        resident=resident,
    )


def open_unplanned(
    path: str,
    *,
    key: Key,
    pin: Pin | None = None,
    arena: tuple[int, int] | None = None,
    page_drop: bool = True,
    concurrency: int = 1,
) -> Session:
    """Open a model with nothing resident and no budget: to measure its needs, to verify it.

    Args:
        path: The sealed file.
        key: The owner's key.
        pin: What is acceptable.
        arena: Strategy and initial bytes of the arena, other than those sealed.
        page_drop: Let go of clean pages of libraries once they have started.
        concurrency: Calls that may share a pass.
    """
    start = time.perf_counter()
    return make_session(
        open_file(path, key=key, pin=pin),
        process.cores(),
        spin=None,
        arena=arena,
        as_numpy=False,
        page_drop=page_drop,
        budget_of=lambda _memory, _floor: NO_BUDGET_BYTES,
        concurrency=concurrency,
        start_s=start,
        peak_before=0,
        resident=False,
    )


def open_beside(
    path: str,
    *,
    key: Key | DataKey,
    pin: Pin | None = None,
    share_bytes: int,
    concurrency: int,
    threads: int | None = None,
    page_drop: bool = True,
    spin: bool | None = None,
    resident: bool = True,
    arena_limit_bytes: int = 0,
    later: Later | None = None,
) -> Session:
    """Open a model in a share of the process's memory, beside others that run meanwhile.

    What the process holds changes with them and says nothing of this model: its part
    counts as it was measured when sealing. Arguments and errors as `open`.

    Args:
        path: The sealed file.
        key: The owner's key, or the data key of this model.
        pin: What is acceptable.
        share_bytes: What sessions, passes and weights of this model may take.
        concurrency: How many waiting calls may share a pass over the weights.
        threads: Threads that open and compute.
        page_drop: Let go of clean pages of libraries once they have started.
        spin: Whether idle workers spin.
        resident: Whether weights may stay decrypted between passes.
        arena_limit_bytes: Most that passes and sessions of all models may hold together.
        later: Sees to it that a probe ends.
    """
    start = time.perf_counter()
    return make_session(
        open_file(path, key=key, pin=pin),
        threads or process.cores(),
        spin=spin,
        arena=None,
        as_numpy=False,
        page_drop=page_drop,
        # Others come, go and run: what came since this began to open is not all this model's.
        budget_of=lambda memory, floor: floor - memory.session_bytes + share_bytes,
        concurrency=concurrency,
        start_s=start,
        peak_before=None,
        resident=resident,
        arena_limit_bytes=arena_limit_bytes,
        later=later,
    )


def make_session(
    opened: OpenedFile,
    n_threads: int,
    *,
    spin: bool | None,
    arena: tuple[int, int] | None,
    as_numpy: bool,
    page_drop: bool,
    budget_of: Callable[[Memory, int], int],
    concurrency: int,
    start_s: float,
    peak_before: int | None,
    resident: bool = True,
    arena_limit_bytes: int = 0,
    later: Later | None = None,
) -> Session:
    """Make a session of an open file; whatever fails, nothing stays open.

    Library pages are dropped whenever a step has brought in pages that the next
    one does not need: of the interpreter's start, of onnxruntime's, of the probe. The
    opened manifest goes once sessions are made of it: no caller may hold `opened`.

    Args:
        opened: The file.
        n_threads: Threads that open and compute.
        spin: Whether idle workers spin; None as the model is best served.
        arena: Strategy and initial bytes of the arena; None as sealed.
        as_numpy: Return numpy arrays.
        page_drop: Let go of clean pages of libraries once they have started.
        budget_of: Gives the budget, told what was measured while sealing and the floor.
        concurrency: Calls that may share a pass, or run at once.
        start_s: When opening began, by the performance counter.
        peak_before: VmHWM then, in bytes; None where others run beside.
        resident: Whether weights may stay decrypted between passes.
        arena_limit_bytes: Most that passes and sessions of all models may hold together.
        later: Calls a function after so many seconds, for the probe's deadline.
    """
    manifest, source, opener = opened.manifest, opened.source, opened.opener
    memory = manifest.memory
    drop = process.drop_clean_file_pages if page_drop else keep_pages

    def after_session(count: int) -> None:
        if count % DROP_EVERY == 0:
            drop()

    loader = stream = None
    try:
        process.forbid_core_dumps()
        drop()
        if spin is None:  # the floor is not known yet: the one of sealing stands in for it
            whole = budget_of(memory, memory.floor_bytes)
            spin = _spins(manifest, whole, concurrency, resident=resident)
        strategy, initial_bytes = arena or (manifest.arena.strategy, manifest.arena.initial_bytes)
        environment = Environment.acquire(
            n_threads=n_threads,
            spin=spin,
            arena_strategy=strategy,
            arena_bytes=initial_bytes,
            arena_limit_bytes=arena_limit_bytes,
        )
        drop()
        probe_start_s = time.perf_counter()
        check_target(manifest, environment, later)
        probe_ms = (time.perf_counter() - probe_start_s) * 1e3 if manifest.probe else None
        drop()
        before = process.resident_bytes() or 0
        loader = BlockLoader(source, opener, n_threads=n_threads)
        stream = Stream(
            manifest,
            loader,
            OrtRuntime(environment),
            after_session=after_session,
            once_started=drop,
        )
        # The skeletons are views of the opened manifest: with them its memory goes.
        manifest = _without_bytes(manifest)
        model_id = opened.verified.model_id.hex()
        del opened
        drop()
        held = measure_held(memory, before_bytes=before, peak_before=peak_before)
        budget = budget_of(memory, held.floor_bytes)
        placed = place(manifest, held, budget, most_calls=concurrency, may_stay=resident)
        stream.place(placed.resident, slots=placed.concurrency, n_parallel=placed.n_parallel)
        figures = Figures(
            **stream.figures._asdict(),
            floor_bytes=held.floor_bytes,
            session_bytes=held.session_bytes,
            pass_bytes=placed.pass_bytes,
            peak_bytes=placed.peak_bytes,
            budget_bytes=budget,
            concurrency=placed.concurrency,
            n_parallel=placed.n_parallel,
            open_ms=(time.perf_counter() - start_s) * 1e3,
            probe_ms=probe_ms,
            measured=held.measured,
        )
        return Session(
            withheld=_withhold(environment, memory, figures) if environment.is_limited else None,
            source=source,
            environment=environment,
            stream=stream,
            manifest=manifest,
            model_id=model_id,
            figures=figures,
            as_numpy=as_numpy,
        )
    except BaseException:
        if stream is not None:
            stream.close()
        elif loader is not None:
            loader.close()
        opener.wipe()
        source.close()
        raise


def _withhold(environment: Environment, memory: Memory, figures: Figures) -> Withheld:
    """Take from the arena's limit what of a model's share is not its passes'.

    Raises:
        EngineError: Passes of others hold it.
    """
    spare = figures.budget_bytes - figures.floor_bytes
    left = spare - figures.resident_bytes - figures.buffer_bytes
    share = memory.session_bytes + spare  # what sessions took here is others' as well
    return environment.withhold(max(0, share - arena_bytes(figures.pass_bytes, left)))


def _without_bytes(manifest: Manifest) -> Manifest:
    """Return a manifest that holds no view of the opened bytes."""
    return replace(
        manifest,
        partitions=tuple(replace(p, skeleton=b"") for p in manifest.partitions),
        probe=None,
        check=None,
        tags=b"",
    )


def _spins(manifest: Manifest, budget: int, concurrency: int, *, resident: bool) -> bool:
    """Tell whether idle workers should spin: passes are short, or nobody wants their cores.

    Opening wants them, and so do other calls where several run at once. The environment
    is made before it is known what stays resident: this reckons with the floor of sealing.
    """
    memory = manifest.memory
    all_resident = (
        memory.floor_bytes
        + sharing_bytes(manifest, concurrency)
        + sum(partition.block_bytes for partition in manifest.partitions)
    )
    if resident and all_resident <= budget:
        return concurrency == 1
    return sum(partition.time_us for partition in manifest.partitions) < SPIN_BELOW_US


def keep_pages() -> None:
    """Stand in for the page drop where it is not wanted."""


def _has_numpy() -> bool:
    try:
        import numpy  # noqa: F401, ICN001 - only whether it is there
    except ImportError:
        return False
    return True
