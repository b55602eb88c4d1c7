"""Refuse a sealed file that this onnxruntime or this processor would compute wrongly."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inferonnx.errors import EngineError, TargetError
from inferonnx.runtime.ort import OrtSession
from inferonnx.runtime.ort_values import dump, load
from inferonnx.runtime.stop import Stop
from inferonnx.tensors import DType, Tensor, parse_npy

if TYPE_CHECKING:
    from collections.abc import Callable

    from inferonnx.runtime.ort import Environment, Value
    from inferonnx.runtime.ort_values import Exported
    from inferonnx.sealed import Manifest, Probe

    Later = Callable[[float, Callable[[], None]], object]
    """Calls a function after so many seconds, from another thread."""

PROBE_TOLERANCE = 1e-4
"""Largest difference of the probe; a wrong layout is off by the size of the values."""

PROBE_S = 10.0
"""How long a probe may compute. It takes under 20 ms, and seconds on a machine with more to
do than it can. One that was made never to end would keep all other models from being opened."""


def check_target(manifest: Manifest, environment: Environment, later: Later | None = None) -> None:
    """Refuse a file that was sealed for something else than what is here.

    (1) The same onnxruntime version. (2) The same architecture, where the layout
    depends on it. (3) The probe: one node of each kind of CPU-specific operator in
    the file gives its known answer, in time where there is a `later` to see to it: a
    process that opens one model alone needs no thread for that.

    Raises:
        TargetError: Names both sides and what mends it.
        EngineError: onnxruntime fails on the probe, and not by its layout, or is not
            done with it in time.
    """
    target = manifest.target
    here = os.uname().machine
    if target.onnxruntime != environment.version:  # (1)
        raise TargetError(
            f"sealed for onnxruntime {target.onnxruntime}, this is {environment.version}",
            hint="Seal the model again with this version: inferonnx seal.",
        )
    if target.layout != "generic" and target.arch != here:  # (2)
        raise TargetError(
            f"sealed for {target.arch} ({target.layout}), this is {here}",
            hint="Seal the model for this machine: inferonnx seal --target generic.",
        )
    if manifest.probe is not None and not _agrees(manifest.probe, environment, later):  # (3)
        raise TargetError(
            f"sealed for processors with the {target.layout} layout, this {here} has another",
            hint="Seal the model on a machine like this one, or with --target generic.",
        )


def _agrees(probe: Probe, environment: Environment, later: Later | None) -> bool:
    # Another block size gives other numbers and no error: the probe's channels are whole
    # blocks of either. So what onnxruntime says it can't do has another reason.
    session = OrtSession(environment, probe.skeleton)
    try:
        inputs = [load(environment, parse_npy(data)) for data in probe.inputs]
        results = _in_time(session, inputs, later)
        return len(results) == len(probe.outputs) and all(
            _close(dump(environment, result), parse_npy(data))
            for result, data in zip(results, probe.outputs, strict=True)
        )
    finally:
        session.close()


def _in_time(session: OrtSession, inputs: list[Value], later: Later | None) -> list[Value]:
    if later is None:
        return session.run(inputs)
    stop = Stop()
    later(PROBE_S, stop.set)
    try:
        return session.run(inputs, stop)
    except EngineError as error:
        if not stop.is_set:
            raise
        raise EngineError(
            f"the probe of this file did not end within {PROBE_S:g} s",
            hint="Seal the model again, or try when the machine has less to do.",
        ) from error


def _close(mine: Exported, known: Tensor) -> bool:
    if not isinstance(mine, Tensor) or mine.shape != known.shape or mine.dtype != known.dtype:
        return False
    if known.dtype is not DType.FLOAT:
        return mine == known
    pairs = zip(mine.data.cast("f"), known.data.cast("f"), strict=True)
    return all(abs(a - b) <= PROBE_TOLERANCE * max(1.0, abs(b)) for a, b in pairs)
