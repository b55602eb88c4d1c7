"""Triton's load generator, unmodified, in an environment of its own: `pytest -m slow`.

Its last release that runs on Debian 12 is inside an old wheel of tritonclient. It wants
two libraries: CUDA's runtime, which PyPI has, and libb64, which Debian has.
"""

import os
import re
import subprocess
from ctypes.util import find_library

import pytest

from served import PATIENCE_S
from serving.environments import environment

pytestmark = pytest.mark.slow

VERSION = "2.51.0"

STEADY = ("-s", "900", "-r", "10")
"""Three of ten windows that are within ten of each other: it is to end, also beside others."""


@pytest.fixture(scope="module")
def perf_analyzer():
    """Return a function that measures a model, and gives rates by concurrency."""
    if find_library("b64") is None:
        pytest.skip("no libb64 here; on Debian: apt install libb64-0d")
    folder = environment(
        f"perf-analyzer-{VERSION}", f"tritonclient=={VERSION}", "nvidia-cuda-runtime-cu12"
    )
    (cuda,) = folder.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib")

    def measure(*options):
        usual = ["-m", "cnn", "--shape", "image:1,3,16,16", "--concurrency-range", "1:3:2"]
        done = subprocess.run(
            [folder / "bin" / "perf_analyzer", *usual, "-p", "1000", *STEADY]
            + [str(option) for option in options],
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
            env={**os.environ, "LD_LIBRARY_PATH": str(cuda)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^Concurrency: (\d+), throughput: ([\d.]+)", done.stdout, re.MULTILINE)

    return measure


@pytest.fixture(scope="module")
def served(start):
    server = start("cnn", options=("--allow-anonymous-infer", "--grpc", "127.0.0.1:0"))
    yield server
    assert server.end() == 0


@pytest.mark.parametrize("options", [(), ("--async",), ("--streaming",)], ids=str)
def test_grpc(perf_analyzer, served, options):
    address = "localhost:" + served.facts["grpc_addresses"][0].rpartition(":")[2]
    tls = ("--ssl-grpc-use-ssl", "true", "--ssl-grpc-root-certifications-file", served.ca)
    rates = perf_analyzer("-i", "grpc", "-u", address, *tls, *options)
    assert [int(n) for n, _ in rates] == [1, 3]
    assert all(float(rate) > 1 for _, rate in rates)


def test_rest(perf_analyzer, served):
    tls = ("--ssl-https-ca-certificates-file", served.ca)
    rates = perf_analyzer("-u", f"https://localhost:{served.port}", *tls)
    assert [int(n) for n, _ in rates] == [1, 3]
    assert all(float(rate) > 1 for _, rate in rates)
