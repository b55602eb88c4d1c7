"""Sealed files on a processor that the model was not sealed for, emulated: no AVX at all."""

import os
import subprocess
import sys

import numpy as np
import pytest

import inferonnx
from machine import module_needs, tool

module_needs("qemu-x86_64-static")


@pytest.fixture(scope="module")
def emulator():
    return tool("qemu-x86_64-static")


def run_on_nehalem(emulator, sealed, key_path, samples, output):
    # The emulator needs the interpreter itself, not the link of a virtual environment,
    # which then has to be told where the environment's packages are.
    return subprocess.run(
        [
            *(emulator, "-cpu", "Nehalem", os.path.realpath(sys.executable)),
            *("-m", "inferonnx", "run", str(sealed), "--key", str(key_path)),
            *("--input", str(samples), "--memory", "1GiB", "-o", str(output)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


@pytest.fixture
def samples(image, tmp_path):
    np.savez(tmp_path / "in.npz", image=image)
    return tmp_path / "in.npz"


def test_a_generic_file_runs_anywhere(emulator, cnn, key_path, samples, image, tmp_path):
    key = inferonnx.Key.load(key_path)
    sealed = tmp_path / "generic.sealed"
    inferonnx.seal(cnn, sealed, key=key, memory="85MiB", target="generic")
    done = run_on_nehalem(emulator, sealed, key_path, samples, tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    with inferonnx.open(sealed, key=key, memory="4GiB") as session:
        here = session.run(None, {"image": image})[0]
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["scores"], here, rtol=1e-4, atol=1e-5)


def test_a_file_for_another_layout_is_refused_and_told_what_mends_it(
    emulator, sealed_cnn, key_path, samples, tmp_path
):
    done = run_on_nehalem(emulator, sealed_cnn, key_path, samples, tmp_path / "out.npz")
    assert done.returncode == 4, done.stderr
    assert "sealed for processors with the nchwc" in done.stderr
    assert "hint: Seal the model on a machine like this one" in done.stderr
    assert not (tmp_path / "out.npz").exists()
