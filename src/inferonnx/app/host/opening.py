"""Open a sealed model inside a memory budget.

What runs in the enclave begins here: nothing in this file's imports reaches
`onnx`, `numpy` or the onnxruntime Python package.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from inferonnx.app.host.needs import parallel_bytes, sharing_bytes, sharing_calls
from inferonnx.app.host.session import Figures, Session
from inferonnx.app.host.target import check_target
from inferonnx.engine import BlockLoader, Stream
from inferonnx.errors import InfeasibleBudgetError
from inferonnx.plan import choose_resident
from inferonnx.runtime import process
from inferonnx.runtime.engine_runtime import OrtRuntime
from inferonnx.runtime.files import FileSource
from inferonnx.runtime.ort import Environment
from inferonnx.sealed import (
    HEADER_BYTES,
    SegmentOpener,
    check_pin,
    check_pinned_name,
    file_keys,
    open_manifest,
    parse_header,
    parse_pin,
    verify_header,
)
from inferonnx.sizes import MIB, format_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inferonnx.app.host.keys import DataKey, Key
    from inferonnx.app.host.target import Later
    from inferonnx.runtime.ort import Value
    from inferonnx.runtime.process import PrivateBuffer
    from inferonnx.sealed import Manifest, Pin, VerifiedHeader

SPIN_BELOW_US = 30_000
"""A pass shorter than this gains more from workers that spin than it loses (docs/memory.md)."""

DROP_EVERY = 8
"""Sessions made between two drops of library pages, so that opening has no peak of its own."""

NO_BUDGET_BYTES = 1 << 62
"""Stands for a budget where none was given: nothing exceeds it."""


class OpenedFile(NamedTuple):
    """A sealed file whose header and manifest are authentic.

    Attributes:
        source: The file.
        verified: Its header.
        manifest: Opened; blobs of it are views of its bytes.
        opener: Opens its segments, and holds the last key that is left: close or wipe it.
    """

    source: FileSource
    verified: VerifiedHeader
    manifest: Manifest
    opener: SegmentOpener

    def close(self) -> None:
        """Close the file and forget its key."""
        self.source.close()
        self.opener.wipe()


def open_file(path: str, *, key: Key | DataKey, pin: Pin | None = None) -> OpenedFile:
    """Verify the header of a sealed file and open its manifest; no weight is read.

    (1) The header is well formed. (2) Its owner signed it. (3) It is the model that
    was pinned, as far as the header tells. (4) The key fits, and opens the data key
    that the header commits to. (5) The manifest is authentic. (6) Its name is the
    one that was pinned.

    Raises:
        SealedFormatError, SignatureError, PinError, KeyMismatchError,
        AuthenticationError: In the order of the steps.
    """
    source = FileSource(path)
    try:
        header = parse_header(source.read(0, min(HEADER_BYTES, source.size)))  # (1)
        verified = verify_header(header)  # (2)
        if pin is not None:
            check_pin(pin, verified)  # (3)
        data_key = key.data_key(verified)
        try:
            keys = file_keys(verified, data_key)  # (4)
        finally:
            data_key.wipe()
        try:
            offset = header.manifest_offset(source.size)
            sealed = source.read(offset, header.manifest_bytes)
            manifest = open_manifest(keys, sealed, file_bytes=source.size)  # (5)
            if pin is not None:
                check_pinned_name(pin, manifest)  # (6)
            return OpenedFile(source, verified, manifest, SegmentOpener(keys, manifest))
        finally:
            keys.wipe()
    except BaseException:
        source.close()
        raise


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
        budget_of=lambda manifest: manifest.memory.budget_bytes if budget is None else budget,
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
        budget_of=lambda _: None,
        concurrency=concurrency,
        start_s=start,
        peak_before=0,
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
        budget_of=lambda manifest: _whole_budget(manifest, share_bytes),
        share_bytes=share_bytes,
        concurrency=concurrency,
        start_s=start,
        peak_before=0,
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
    budget_of: Callable[[Manifest], int | None],
    concurrency: int,
    start_s: float,
    peak_before: int,
    share_bytes: int | None = None,
    resident: bool = True,
    arena_limit_bytes: int = 0,
    later: Later | None = None,
) -> Session:
    """Make a session of an open file; whatever fails, nothing stays open.

    Library pages are dropped whenever a step has brought in pages that the next
    one does not need: of the interpreter's start, of onnxruntime's, of the probe. The
    opened manifest goes once sessions are made of it: no caller may hold `opened`.
    """
    manifest, source, opener = opened.manifest, opened.source, opened.opener
    budget = budget_of(manifest)
    sealed = manifest.arena
    strategy, arena_bytes = arena or (sealed.strategy, sealed.initial_bytes)
    drop = process.drop_clean_file_pages if page_drop else keep_pages

    def after_session(count: int) -> None:
        if count % DROP_EVERY == 0:
            drop()

    loader = stream = None
    try:
        process.forbid_core_dumps()
        drop()
        environment = Environment.acquire(
            n_threads=n_threads,
            spin=(
                _spins(manifest, budget, concurrency, resident=resident) if spin is None else spin
            ),
            arena_strategy=strategy,
            arena_bytes=arena_bytes,
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
        figures = _place(
            stream,
            manifest,
            budget,
            concurrency=concurrency,
            session_bytes=max(0, (process.resident_bytes() or 0) - before),
            start_s=start_s,
            probe_ms=probe_ms,
            peak_before=peak_before,
            share_bytes=share_bytes,
            may_stay=resident,
        )
        return Session(
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


def _place(
    stream: Stream[Value, PrivateBuffer],
    manifest: Manifest,
    budget: int | None,
    *,
    concurrency: int,
    session_bytes: int,
    start_s: float,
    probe_ms: float | None,
    peak_before: int,
    share_bytes: int | None,
    may_stay: bool,
) -> Figures:
    """Divide the budget: what is left beside floor, a pass and waiting calls holds weights.

    Args:
        stream: Gets its residency.
        manifest: Blocks and measured figures.
        budget: Bytes; None streams everything and promises nothing.
        concurrency: Calls that may share a pass, or run at once: as many as there is room for.
        session_bytes: What making the sessions took.
        start_s: When opening began, by the performance counter.
        probe_ms: What the probe took; None where the file has none.
        peak_before: VmHWM when opening began, in bytes.
        share_bytes: The model's part of `budget`, where others run beside it.
        may_stay: Whether weights may stay decrypted between passes.

    Raises:
        InfeasibleBudgetError: The budget does not hold floor, pass and largest block,
            or opening itself took more.
    """
    memory = manifest.memory
    peak_now, floor = process.peak_resident_bytes(), process.resident_bytes()
    measured = peak_now is not None and floor is not None
    # Where there are no such figures, those that were measured while sealing count: the
    # least budget is never below what opening took.
    if floor is None:
        floor, session_bytes = memory.floor_bytes, memory.session_bytes
    opening_peak = memory.least_bytes if peak_now is None else peak_now
    if peak_now is not None and peak_now <= peak_before:
        opening_peak = 0  # it is older than `open`
    if share_bytes is not None:
        # Others come, go and run: neither is this model's what came since it began to
        # open, nor has it reached the peak alone.
        budget, opening_peak = floor - memory.session_bytes + share_bytes, 0
    blocks = [partition.block_bytes for partition in manifest.partitions]
    wanted = concurrency
    if budget is not None:
        alone = floor + sharing_bytes(manifest, 1) + max(blocks, default=0)
        concurrency = sharing_calls(manifest, budget - alone, wanted)
    sharing = sharing_bytes(manifest, concurrency)
    if budget is None:
        resident, buffer_bytes = frozenset[int](), max(blocks, default=0)
        budget = NO_BUDGET_BYTES
    else:
        resident, buffer_bytes = _residency(
            blocks, budget, floor + sharing, opening_peak, may_stay=may_stay
        )
    used = buffer_bytes + sum(blocks[i] for i in resident)
    n_parallel = 1
    if not buffer_bytes:
        fits = budget - floor - used
        for more in range(2, wanted + 1):
            n_parallel = more if parallel_bytes(manifest, more) <= fits else n_parallel
    pass_bytes = max(sharing, parallel_bytes(manifest, n_parallel))
    stream.place(resident, slots=concurrency, n_parallel=n_parallel)
    return Figures(
        **stream.figures._asdict(),
        floor_bytes=floor,
        session_bytes=session_bytes,
        pass_bytes=pass_bytes,
        peak_bytes=max(floor + used + pass_bytes, opening_peak),
        budget_bytes=budget,
        concurrency=concurrency,
        n_parallel=n_parallel,
        open_ms=(time.perf_counter() - start_s) * 1e3,
        probe_ms=probe_ms,
        measured=measured,
    )


def _residency(
    blocks: Sequence[int], budget: int, held: int, opening_peak: int, *, may_stay: bool
) -> tuple[frozenset[int], int]:
    """Return what stays resident, and the size of the buffer for the rest."""
    least = max(held + max(blocks, default=0), opening_peak)
    if least > budget:
        raise InfeasibleBudgetError(
            f"this model needs at least {format_size(least)} here, the budget is "
            f"{format_size(budget)}",
            needed_bytes=least,
            budget_bytes=budget,
            hint=f"Give it --memory {-(-least // MIB)}MiB, or seal it for a smaller budget.",
        )
    if not may_stay:
        return frozenset(), max(blocks, default=0)
    return choose_resident(blocks, available_bytes=budget - held)


def _without_bytes(manifest: Manifest) -> Manifest:
    """Return a manifest that holds no view of the opened bytes."""
    return replace(
        manifest,
        partitions=tuple(replace(p, skeleton=b"") for p in manifest.partitions),
        probe=None,
        check=None,
        tags=b"",
    )


def _spins(manifest: Manifest, budget: int | None, concurrency: int, *, resident: bool) -> bool:
    """Tell whether idle workers should spin: passes are short, or nobody wants their cores.

    Opening wants them, and so do other calls where several run at once. The environment
    is made before residency is known, so that what was measured when sealing stands in
    for the floor here.
    """
    memory = manifest.memory
    all_resident = (
        memory.floor_bytes
        + sharing_bytes(manifest, concurrency)
        + sum(partition.block_bytes for partition in manifest.partitions)
    )
    if resident and budget is not None and all_resident <= budget:
        return concurrency == 1
    return sum(partition.time_us for partition in manifest.partitions) < SPIN_BELOW_US


def _whole_budget(manifest: Manifest, share_bytes: int) -> int:
    """Return the budget of the process that gave the model its share when it was sealed."""
    return manifest.memory.floor_bytes - manifest.memory.session_bytes + share_bytes


def keep_pages() -> None:
    """Stand in for the page drop where it is not wanted."""


def _has_numpy() -> bool:
    try:
        import numpy  # noqa: F401, ICN001 - only whether it is there
    except ImportError:
        return False
    return True
