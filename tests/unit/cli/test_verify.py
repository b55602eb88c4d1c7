import json

import numpy as np
import onnx
from onnx import numpy_helper

from inferonnx.cli import main
from inferonnx.errors import ExitCode


def test_verify_says_how_far_apart_they_are(cnn, sealed_cnn, key_path, capsys):
    assert main(["verify", str(cnn), str(sealed_cnn), "--key", str(key_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["relative"] < facts["relative_tolerance"]
    assert facts["n_values"] == 30
    assert facts["within"]
    assert facts["same_largest"]


def test_another_model_is_refused_after_the_figures(cnn, sealed_cnn, key_path, tmp_path, capsys):
    model = onnx.load(cnn)
    (dense,) = (tensor for tensor in model.graph.initializer if tensor.name == "dense")
    other = numpy_helper.from_array(numpy_helper.to_array(dense) * np.float32(1.1), "dense")
    dense.CopyFrom(other)
    onnx.save(model, tmp_path / "other.onnx")
    arguments = ["verify", str(tmp_path / "other.onnx"), str(sealed_cnn), "--key", str(key_path)]
    assert main(arguments) == ExitCode.REFUSED
    shown = capsys.readouterr()
    assert "bit for bit equal   no" in shown.out
    first, second = shown.err.splitlines()
    assert "output 'scores'" in first
    assert second.startswith("hint: ")
