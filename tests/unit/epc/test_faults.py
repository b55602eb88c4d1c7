"""Faults of a process: its threads and children count."""

import os
import resource
import subprocess
import sys

import pytest

from inferonnx.epc import (
    PUBLISHED_SGX_FAULT_CYCLES,
    PUBLISHED_SGX_FAULT_SOURCE,
    fault_cost,
    major_faults,
    unlimited,
)
from inferonnx.errors import UnavailableError


def test_our_own_are_those_of_the_kernel():
    own = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_majflt
    assert major_faults(os.getpid()) >= own + children


def test_a_process_that_is_gone_has_none():
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    assert major_faults(process.pid) == 0


def test_without_a_limit_nothing_can_be_priced():
    with pytest.raises(UnavailableError, match="without a limit"):
        fault_cost(unlimited())


def test_the_published_cost_names_its_source():
    assert PUBLISHED_SGX_FAULT_CYCLES == 40_000
    assert "ASPLOS 2018" in PUBLISHED_SGX_FAULT_SOURCE
