"""The promise on real sizes: models of the zoo keep the budget that they were sealed for.

Two minutes on two cores, and as much again where the models have to be built: in
`models`, or in the folder that INFERONNX_MODELS names. With `-rP` the figures are shown.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inferonnx import zoo
from inferonnx.sizes import MIB
from machine import MODELS

BUDGETS_MIB = {
    "squeezenet1.0-7": 72,
    "mobilenetv2-7": 72,
    "densenet-7": 72,
    "efficientnet-lite4-11": 72,
    "inception-v3-12": 72,
    "resnet101-v2-7": 72,
    "resnet152-v2-7": 72,
    "efficientnet-v2-l-18": 72,
    "vgg16-7": 72,  # input and output of its second convolution alone are 25 MiB
    "minilm-l6": 72,
    "bert-base": 72,
}
REPEAT = 5

pytestmark = pytest.mark.slow


def inferonnx(*arguments):
    """Run a command with --json in a process of its own; return its object."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "inferonnx", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module", params=BUDGETS_MIB)
def model(request, tmp_path_factory, key_path):
    """Paths of an ONNX file and of its sealed file, which takes room only while it is tested."""
    plain = Path(zoo.build(request.param, MODELS).path)
    sealed = tmp_path_factory.mktemp("zoo") / f"{request.param}.sealed"
    inferonnx(
        *("seal", plain, "-o", sealed, "--key", key_path, "--input", sample_of(plain)),
        *("--memory", f"{BUDGETS_MIB[request.param]}MiB"),
    )
    yield plain, sealed
    sealed.unlink()


def sample_of(plain):
    return plain.parent / "test_data_set_0"


@pytest.fixture(scope="module")
def run(model, key_path):
    """What `run --json` says of the model, in the budget that it was sealed for."""
    plain, sealed = model
    where = ("--key", key_path, "--input", sample_of(plain), "--repeat", REPEAT)
    facts = inferonnx("run", sealed, *where)
    mib = {
        key.removesuffix("_bytes"): round(facts[key] / MIB, 2)
        for key in ("predicted_peak_bytes", "peak_rss_bytes", "floor_bytes")
    }
    print(json.dumps({"model": plain.stem, "mib": mib, "probe_ms": facts["probe_ms"]}))
    return facts


def test_the_peak_is_within_the_budget(run, model):
    assert run["budget_bytes"] == BUDGETS_MIB[model[0].stem] * MIB
    assert run["floor_bytes"] < run["peak_rss_bytes"] <= run["budget_bytes"]


def test_the_peak_is_as_predicted(run):
    above_floor = run["peak_rss_bytes"] - run["floor_bytes"]
    off = abs(run["predicted_peak_bytes"] - run["peak_rss_bytes"])
    assert off <= max(above_floor / 10, 4 * MIB)


def test_the_sealed_model_computes_what_the_onnx_file_does(model, key_path):
    plain, sealed = model
    facts = inferonnx("verify", plain, sealed, "--key", key_path)
    print(json.dumps({"model": plain.stem} | facts))
    assert facts["within"]
    assert facts["n_values"] > 0
