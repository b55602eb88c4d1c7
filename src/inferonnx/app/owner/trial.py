"""Run a sealed model in a process of its own and measure what it needs.

Plans promise a peak of memory; this is where their figures come from. The child
is the real engine on the real (provisionally sealed) file, with nothing resident.
Key and sample go in through its standard input, figures and outputs come back
through its standard output: nothing in the clear touches a disk.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.app.owner.sample_codec import decode_values, encode_values
from inferonnx.errors import InferonnxError, UnavailableError
from inferonnx.runtime import children

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inferonnx.app.host.session import Session
    from inferonnx.engine import PassEvent
    from inferonnx.runtime.ort_values import Exported

RUNS = 5
"""Passes of a trial; times are the least of them, memory the most."""

SHARING = (2, 4, 8)
"""Callers that share passes, to measure what they take beside one."""

SHARED_RUNS = 3
"""Runs of each of them."""


class Trial(NamedTuple):
    """What a pass of the model was measured to need.

    Attributes:
        open_peak_bytes: Peak while the model was opened.
        floor_bytes: Resident once everything but weights and activations is there.
        session_bytes: Of it, the sessions of all partitions.
        pass_bytes: What a pass adds to floor and buffer: activations in the arena,
            workspace, the library's code, inputs and outputs.
        call_bytes: What a call adds to that whose pass it shares; None where that was not
            measured.
        latency_s: Of a warm pass with nothing resident.
        compute_s: Of it, spent computing, by partition.
        stream_bytes_per_s: Rate of reading and opening blocks over all cores.
        outputs: The model's outputs on the sample.
    """

    open_peak_bytes: int
    floor_bytes: int
    session_bytes: int
    pass_bytes: int
    call_bytes: int | None
    latency_s: float
    compute_s: tuple[float, ...]
    stream_bytes_per_s: float
    outputs: dict[str, Exported]


def run_trial(
    path: str,
    key_text: bytes,
    sample: Mapping[str, Exported],
    *,
    arena_strategy: int,
    arena_bytes: int,
    share: bool = True,
) -> Trial:
    """Measure a sealed file in a child process.

    Args:
        path: The sealed file.
        key_text: Its owner's key file.
        sample: Inputs by name.
        arena_strategy: How onnxruntime's arena grows.
        arena_bytes: What the arena holds from the start.
        share: Measure calls that share a pass too.

    Raises:
        EngineError: onnxruntime refuses or fails a partition, which it names.
        UnavailableError: The child died, or was killed.
        InferonnxError: Whatever else the child met.
    """
    import subprocess

    config = {
        "path": path,
        "key": key_text.decode("ascii"),
        "arena": [arena_strategy, arena_bytes],
        "share": share,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from inferonnx.app.owner.trial import child; child()"],
        input=json.dumps(config).encode() + b"\n" + encode_values(sample),
        stdout=subprocess.PIPE,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        check=False,
        start_new_session=True,  # Ctrl-C is for the parent, which ends its child
    )
    head, _, body = done.stdout.partition(b"\n")
    if done.returncode or not head:
        raise children.ended("the trial run of the model", done.returncode)
    figures = json.loads(head)
    if "error" in figures:
        raise children.met(figures["error"])
    figures["compute_s"] = tuple(figures["compute_s"])
    return Trial(**figures, outputs=decode_values(body))


def child() -> None:
    """Measure what standard input names, and answer on standard output."""
    from inferonnx.runtime import process

    process.end_with_parent()  # a trial of a slow model goes on for minutes
    config = json.loads(sys.stdin.buffer.readline())
    try:
        answer, outputs = _measure(config)
    except InferonnxError as error:
        answer, outputs = {"error": children.told(error)}, {}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + encode_values(outputs))


def _measure(config: dict[str, Any]) -> tuple[dict[str, object], dict[str, Exported]]:
    from inferonnx.app.host.keys import Key
    from inferonnx.app.host.opening import open_unplanned
    from inferonnx.runtime import process
    from inferonnx.sealed import parse_owner_key

    key = Key(parse_owner_key(str(config["key"]).encode("ascii")))
    session = open_unplanned(
        str(config["path"]), key=key, arena=tuple(config["arena"]), concurrency=max(SHARING)
    )
    open_peak = process.peak_resident_bytes()
    if open_peak is None or not session.figures.measured:
        raise UnavailableError(
            "this system does not tell how much memory a process takes, so nothing can be planned",
            hint="Seal where /proc/self/status has VmRSS and VmHWM.",
        )
    # As the host measures it. What Python brings back right behind the page drop, some
    # 1.5 MiB, is part of a pass: measured later, the floor would hide it.
    floor = session.figures.floor_bytes
    process.forget_peak()
    sample = decode_values(sys.stdin.buffer.read())  # reading inputs is part of what a run needs
    passes: list[list[PassEvent]] = []

    def keep(event: PassEvent) -> None:
        if event.segment is None:  # events of all segments would be measured as memory of a pass
            passes[-1].append(event)

    session.trace(keep)
    for _ in range(RUNS):
        passes.append([])
        outputs = session.run(None, sample)
    peak = process.peak_resident_bytes() or floor
    session.trace(None)
    figures = session.figures
    call_bytes = _call_bytes(session, sample, peak) if config["share"] else None
    answer: dict[str, object] = {
        "open_peak_bytes": open_peak,
        "floor_bytes": floor,
        "session_bytes": figures.session_bytes,
        "pass_bytes": max(0, peak - floor - figures.buffer_bytes),
        "call_bytes": call_bytes,
        **_times(passes, figures.streamed_bytes),
    }
    names = [value.name for value in session.get_outputs()]
    return answer, dict(zip(names, outputs, strict=True))  # type: ignore[arg-type]  # not numpy


def _times(passes: list[list[PassEvent]], streamed_bytes: int) -> dict[str, object]:
    """Return the least of several: whatever else the machine does only ever adds time."""
    opening_s = min(_seconds(events, "load") for events in passes)
    computing = ([_span(e) for e in events if e.what == "compute"] for events in passes)
    return {
        "latency_s": min(_latency(events) for events in passes),
        "compute_s": [min(times) for times in zip(*computing, strict=True)],
        "stream_bytes_per_s": streamed_bytes / opening_s if opening_s else 0.0,
    }


def _call_bytes(session: Session, sample: Mapping[str, Exported], peak_bytes: int) -> int:
    """Return what a call takes at most beside others, above a peak of one alone."""
    from inferonnx.runtime import process

    most = 0
    for n_callers in SHARING:
        _share(session, sample, n_callers)
        more = (process.peak_resident_bytes() or 0) - peak_bytes
        most = max(most, -(-more // (n_callers - 1)))
    return most


def _share(session: Session, sample: Mapping[str, Exported], n_callers: int) -> None:
    """Have callers run at once: the first leads a pass alone, what comes then is shared."""
    import threading

    failures: list[BaseException] = []

    def call() -> None:
        try:
            for _ in range(SHARED_RUNS):
                session.run(None, sample)
        except BaseException as error:
            failures.append(error)

    callers = [threading.Thread(target=call) for _ in range(n_callers)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    if failures:
        raise failures[0]


def _latency(events: list[PassEvent]) -> float:
    first = min((event.start_ns for event in events), default=0)
    return (max((event.stop_ns for event in events), default=0) - first) / 1e9


def _span(event: PassEvent) -> float:
    return (event.stop_ns - event.start_ns) / 1e9


def _seconds(events: list[PassEvent], what: str) -> float:
    return sum(_span(event) for event in events if event.what == what)
