"""The door of `plan`: complete, and light where the enclave uses it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import inferonnx.plan


@pytest.mark.parametrize("name", inferonnx.plan.__all__)
def test_every_public_name_loads(name: str) -> None:
    loaded = getattr(inferonnx.plan, name)
    module = sys.modules[f"inferonnx.plan.{inferonnx.plan._MODULES[name]}"]
    assert loaded is getattr(module, name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'plan_best'"):
        _ = inferonnx.plan.plan_best


def test_choose_resident_brings_no_planner_along() -> None:
    code = (
        "import sys; from inferonnx.plan import choose_resident;"
        "print(*sorted(m for m in sys.modules if m.startswith('inferonnx.')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert loaded.stdout.split() == [
        "inferonnx.errors",
        "inferonnx.plan",
        "inferonnx.plan.residency",
    ]
