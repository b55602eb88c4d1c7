"""onnxruntime is loaded without telemetry, and its errors become sentences."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inferonnx.model.onnxruntime_door import reason, refusal, session_options, version


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    env = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | environment
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False
    )


def test_the_switch_is_set_before_onnxruntime_is_loaded():
    program = """
import os
import inferonnx.model.onnxruntime_door as door
door.onnxruntime()
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
    done = run(program)
    assert done.stdout == "1\n", done.stderr


def test_a_copy_with_telemetry_is_refused():
    program = """
import sys, types
sys.modules["onnxruntime"] = types.ModuleType("onnxruntime")
from inferonnx.errors import UsageError
import inferonnx.model.onnxruntime_door as door
try:
    door.onnxruntime()
except UsageError as error:
    print(error.message, "|", error.hint)
"""
    assert "telemetry is on | Set ORT_DISABLE_TELEMETRY=1" in run(program).stdout
    assert run(program, ORT_DISABLE_TELEMETRY="1").stdout == ""


def test_options_are_onnxruntimes_defaults():
    import onnxruntime

    plain, ours = onnxruntime.SessionOptions(), session_options(optimise="all")
    for name in (
        "graph_optimization_level",
        "enable_mem_pattern",
        "enable_cpu_mem_arena",
        "execution_mode",
        "execution_order",
        "intra_op_num_threads",
        "inter_op_num_threads",
        "use_deterministic_compute",
    ):
        assert getattr(plain, name) == getattr(ours, name)
    assert session_options(n_threads=2).intra_op_num_threads == 2
    assert version() == onnxruntime.__version__


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got a\n  problem", "Got a problem"),
        ("[ONNXRuntimeError] : 10 : INVALID_GRAPH : Load model from /a/b.onnx failed:No", "No"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : /src/x.cc:7 onnxruntime::M::M(onnx::P&&) Unsupported.",
            "Unsupported.",
        ),
        ("x" * 1000, "x" * 240 + "..."),
    ],
)
def test_reasons_are_one_clipped_line(text, readable):
    assert reason(RuntimeError(text)) == readable


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "Fatal error: com.foo:Bar(-1) is not a registered function/op",
            "onnxruntime has no operator com.foo:Bar(-1)",
        ),
        (
            "No Op registered for Foo with domain_version of 17",
            "onnxruntime has no operator Foo in opset 17",
        ),
        ("This is an invalid model. Error: the graph is not acyclic.", "the graph has a cycle"),
        ("x " * 300 + "Opset 99 is under development and support for this is limited", "opset 99"),
    ],
)
def test_known_refusals_have_sentences_of_their_own(text, sentence):
    error = refusal(RuntimeError(text), "m.onnx")
    assert sentence in error.message
    assert error.hint
    assert error.where == "m.onnx"
