import json
import os
import signal
import subprocess
import sys
import time

import pytest

from inferonnx import errors
from inferonnx.errors import (
    AuthenticationError,
    EngineError,
    ExitCode,
    InfeasibleBudgetError,
    InferonnxError,
    UnavailableError,
)
from inferonnx.runtime.children import cpu_s, ended, met, status, told


def refusal():
    error = EngineError("onnxruntime could not run a partition (its code 1)")
    error.partition, error.private_text = 3, "node 'secret'"
    return error


def every_kind():
    yield AuthenticationError()
    yield refusal()
    yield InfeasibleBudgetError(
        "too little", needed_bytes=2, budget_bytes=1, node="conv", hint="Give more."
    )
    for kind in vars(errors).values():
        own_form = (AuthenticationError, InfeasibleBudgetError)
        if isinstance(kind, type) and issubclass(kind, InferonnxError) and kind not in own_form:
            yield kind("a sentence ü", where="here", hint="Do this.")


@pytest.mark.parametrize("error", [*every_kind()], ids=lambda error: type(error).__name__)
def test_an_error_comes_back_as_it_was(error):
    again = met(json.loads(json.dumps(told(error))))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert (str(again), again.exit_code) == (str(error), error.exit_code)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "it was killed, most likely because the system"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", f"it died of signal {signal.SIGSEGV.value}"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", f"it died of signal {signal.SIGRTMIN + 3}"),
        ("sys.exit(3)", "it ended with code 3"),
    ],
)
def test_an_end_is_told(end, said):
    done = subprocess.run([sys.executable, "-c", f"import os, signal, sys; {end}"], check=False)
    error = ended("it", done.returncode)
    assert isinstance(error, UnavailableError)
    assert error.exit_code == ExitCode.UNAVAILABLE
    assert error.message.startswith(said)
    assert error.hint


def test_the_kernel_tells_what_a_process_takes():
    me = os.getpid()
    assert status(me, "VmHWM") >= status(me, "VmRSS") > 10 << 20
    assert status(me, "Tgid") == me  # no kB
    assert status(me, "NoSuchField") == 0
    assert cpu_s(me) == pytest.approx(time.process_time(), abs=1)
