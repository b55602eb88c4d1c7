"""The one place of the owner's side that imports onnxruntime, and speaks its dialect.

Rules of this file:

1. `ORT_DISABLE_TELEMETRY=1` is in the environment before onnxruntime is loaded.
   A copy that was loaded without it may have written node names to disk already,
   so it is refused rather than used.
2. No log line of onnxruntime reaches a user: whatever matters arrives as an
   exception, and `refusal` turns its text into one sentence.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from inferonnx.errors import ModelError, UsageError

_TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"
_LOG_FATAL = 4
_PROVIDERS = ("CPUExecutionProvider",)

# Threads of sessions that measure: the planner predicts for two cores.
MEASURING_THREADS = 2

# Longest part of onnxruntime's own text that a message repeats.
_CLIP = 240


def onnxruntime() -> Any:
    """Return the onnxruntime module, loaded with telemetry off.

    Raises:
        UsageError: The process loaded onnxruntime before, with telemetry on.
    """
    if "onnxruntime" in sys.modules and os.environ.get(_TELEMETRY_SWITCH) != "1":
        raise UsageError(
            f"onnxruntime was imported without {_TELEMETRY_SWITCH}=1, so its telemetry is on",
            hint=f"Set {_TELEMETRY_SWITCH}=1 in the environment, or import inferonnx first.",
        )
    os.environ[_TELEMETRY_SWITCH] = "1"
    import onnxruntime as module

    return module


def version() -> str:
    """Return onnxruntime's version."""
    return str(onnxruntime().__version__)


def session_options(*, optimise: str = "off", n_threads: int = 0, spin: bool = True) -> Any:
    """Return options that equal onnxruntime's defaults but for what the arguments say.

    Args:
        optimise: "all" (onnxruntime's default), "extended" (no layout of one CPU), "off".
        n_threads: Threads of the session; zero leaves onnxruntime's default.
        spin: Whether its idle workers spin. Many sessions have as many pools, whose
            spinning workers leave no core to the one that runs.
    """
    ort = onnxruntime()
    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_FATAL
    options.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "off": levels.ORT_DISABLE_ALL,
    }[optimise]
    if n_threads:
        options.intra_op_num_threads = n_threads
    if not spin:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def save_to(options: Any, graph_path: str, data_name: str, *, external_from_bytes: int) -> None:
    """Let the session of these options save its graph, larger initializers in a file of their own.

    Without such a file onnxruntime may save a graph as it was given, and not what it
    inferred about it.
    """
    options.optimized_model_filepath = graph_path
    prefix = "session.optimized_model_external_initializers_"
    options.add_session_config_entry(f"{prefix}file_name", data_name)
    options.add_session_config_entry(f"{prefix}min_size_in_bytes", str(external_from_bytes))


def open_session(model: str | bytes, options: Any) -> Any:
    """Return an inference session on the CPU; onnxruntime's exceptions pass through."""
    return onnxruntime().InferenceSession(
        model, options, providers=list(_PROVIDERS), enable_fallback=0
    )


def reason(error: BaseException) -> str:
    """Return the readable part of an onnxruntime error: one clipped line, no paths, no prefix."""
    text = _readable(error)
    return text if len(text) <= _CLIP else text[:_CLIP] + "..."


def _readable(error: BaseException) -> str:
    text = " ".join(str(error).split())
    for noise in (
        r"^\[ONNXRuntimeError\] : \d+ : \w+ : ",
        r"^Load model from .*? failed: ?",
        r"(?:/[\w.+-]+)+\.(?:cc|h):\d+ ?",
        # A C++ function's signature stands before what it has to say.
        r"^[^.]*?onnxruntime::[^.]*?\) (?=[A-Z*])",
    ):
        text = re.sub(noise, "", text)
    return text


# How onnxruntime fails when it saves initializers, or a graph, onto a full disk.
_SAVING_FAILED = r"ToGraphProtoWithExternalInitializers|Protobuf serialization failed|No space left"

# What onnxruntime says, what we say instead ({0} is the first group), and what to do.
_KNOWN_REFUSALS = (
    (
        re.compile(r"No Op registered for (\S+) with domain_version of (\d+)"),
        "onnxruntime has no operator {0} in opset {1}",
        "Check the operator's name and the model's opset_import, or export the model again.",
    ),
    (
        re.compile(r"Could not find an implementation for (\S+?)\((\d+)\)"),
        "onnxruntime has no implementation of operator {0} (version {1}) on the CPU for its types",
        "Export the model with another opset or with types that onnxruntime runs on the CPU.",
    ),
    (
        re.compile(r"Fatal error: (\S+?) is not a registered function/op"),
        "onnxruntime has no operator {0}",
        "The model needs a custom operator library, or another exporter.",
    ),
    (
        re.compile(r"[Oo]pset (\d+) is under development and support for this is limited"),
        "the model's opset {0} is newer than this onnxruntime supports",
        "Export the model with an older opset.",
    ),
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        "the model's IR version {0} is newer than onnxruntime reads (up to {1})",
        "Export the model with an older version of onnx.",
    ),
    (
        re.compile(r"No opset import for domain '(\S+)'"),
        "the model uses operators of {0!r} and does not import that operator set",
        "Export the model again.",
    ),
    (
        re.compile(r"graph is not acyclic"),
        "the graph has a cycle",
        "An ONNX graph must be acyclic; export the model again.",
    ),
)


def could_not_save(error: BaseException) -> bool:
    """Return whether the error says that a file could not be written whole."""
    return re.search(_SAVING_FAILED, str(error)) is not None


def refusal(error: BaseException, path: str) -> ModelError:
    """Return a ModelError that says in one sentence why onnxruntime refuses the model."""
    text = _readable(error)
    for pattern, sentence, hint in _KNOWN_REFUSALS:
        found = pattern.search(text)
        if found:
            return ModelError(
                f"{path!r}: {sentence.format(*found.groups())}", where=path, hint=hint
            )
    return ModelError(
        f"{path!r}: onnxruntime refuses the model: {reason(error)}",
        where=path,
        hint="Plain onnxruntime can't load this file either; repair or export it again.",
    )
