"""The README's session and its Python, run as written, on a small model in a large one's place.

What it shows of serving is in test_serve_documents.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conftest import small_cnn
from machine import tool

TEXT = (Path(__file__).parents[2] / "README.md").read_text()
SHOWN = re.compile(r"\S+: \w+ \[[\d, ]+\], largest [-\d.e]+ at \d+")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def session():
    """Return the session's commands, each with the lines shown behind it."""
    (text,) = (block for block in blocks("console") if block.startswith("$ "))
    steps = []
    for line in text.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps


def model_at(path):
    """Write a small model whose input is called `data`, and a sample, as the zoo lays them out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small_cnn(path, channels=256)  # 7 MB of weights: the session changes byte 5,000,000
    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[0] = "data"
    onnx.save(model, path)
    sample = path.parent / "test_data_set_0" / "input_0.pb"
    sample.parent.mkdir()
    image = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    sample.write_bytes(numpy_helper.from_array(image, "data").SerializeToString())
    return image


@pytest.fixture
def shell(tmp_path):
    """A shell in an empty folder that knows the command `inferonnx`."""
    bash = tool("bash")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "inferonnx"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m inferonnx "$@"\n')
    script.chmod(0o755)
    path = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ORT_DISABLE_TELEMETRY": "1"}

    def run(command):
        return subprocess.run(
            [bash, "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_session_runs_as_written(shell, tmp_path):
    tool("dd")
    codes = []
    for command, shown in session():
        if command.startswith("inferonnx zoo build "):
            name, _, folder = command.split()[3:]
            model_at(tmp_path / folder / name / f"{name}.onnx")
            continue
        sealed = [path.read_bytes() for path in tmp_path.glob("*.sealed")]
        done = shell(command)
        if command.startswith("printf "):
            changed = next(iter(tmp_path.glob("*.sealed")))
            assert len(changed.read_bytes()) == len(sealed[0])
            if changed.read_bytes() == sealed[0]:  # once in 256 times the byte is that one already
                done = shell(command.replace(r"\x01", r"\x02"))
        if shown and not shown[0].startswith("inferonnx: error: "):
            assert SHOWN.fullmatch(shown[0])
            assert SHOWN.fullmatch(done.stdout.strip())
        elif shown:
            assert shown == done.stderr.splitlines()
        codes.append(done.returncode)
    assert codes == [0] * (len(codes) - 1) + [3]


def test_the_python_runs_as_written(shell, tmp_path):
    x = model_at(tmp_path / "resnet.onnx")
    assert shell("inferonnx keygen -o owner.key").returncode == 0
    np.save(tmp_path / "x.npy", x)
    sealing, running = (code for code in blocks("python") if "tritonclient" not in code)
    given = 'import numpy\nx = numpy.load("x.npy")\n'
    wanted = '\nnumpy.save("scores.npy", outputs[0])\n'
    for code in (sealing, given + running + wanted):
        (tmp_path / "code.py").write_text(code)
        done = shell(f"{shlex.quote(sys.executable)} code.py")
        assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "scores.npy").shape == (1, 10)
