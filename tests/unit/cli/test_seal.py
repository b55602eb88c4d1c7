import json
import subprocess
import sys

import numpy as np
import onnx
import pytest

from inferonnx.cli import main
from inferonnx.errors import ExitCode


def seal(model, output, key, *more):
    return main(["seal", str(model), "-o", str(output), "--key", str(key), *map(str, more)])


@pytest.fixture
def place(cnn, key_path, image, tmp_path):
    """A model with external data, a key and a sample in one folder."""
    onnx.save(onnx.load(cnn), tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    (tmp_path / "owner.key").write_bytes(key_path.read_bytes())
    (tmp_path / "owner.key").chmod(0o600)
    (tmp_path / "samples").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "samples" / "more").symlink_to("../elsewhere")
    np.savez(tmp_path / "elsewhere" / "in.npz", image=image)
    np.savez(tmp_path / "samples" / "in.npz", image=image)
    (tmp_path / "pass").write_text("word")
    return tmp_path


@pytest.mark.parametrize(
    "name", ["m.onnx", "m.data", "owner.key", "samples/in.npz", "elsewhere/in.npz", "pass"]
)
def test_no_input_is_overwritten(name, place, capsys):
    before = (place / name).read_bytes()
    code = seal(
        *(place / "m.onnx", place / name, place / "owner.key"),
        *("--input", place / "samples", "--passphrase-file", place / "pass"),
    )
    assert code == ExitCode.BAD_INPUT
    assert "never overwritten" in capsys.readouterr().err
    assert (place / name).read_bytes() == before


def test_a_missing_folder_is_told_before_the_model_is_read(tmp_path, key_path, capsys):
    assert seal(tmp_path / "none.onnx", tmp_path / "no" / "out", key_path) == ExitCode.BAD_INPUT
    assert "'" + str(tmp_path / "no" / "out") + "'" in capsys.readouterr().err


def test_an_empty_name_is_none_that_was_left_out(cnn, key_path, tmp_path, capsys):
    assert seal(cnn, tmp_path / "a.sealed", key_path, "--name", "") == ExitCode.BAD_INPUT
    assert "'' can't be the name of a model" in capsys.readouterr().err
    assert not (tmp_path / "a.sealed").exists()


def test_the_report_has_the_name_that_was_sealed(cnn, key_path, tmp_path, capsys):
    assert seal(cnn, tmp_path / "a.sealed", key_path, "--name", "bert", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "bert"
    assert main(["inspect", str(tmp_path / "a.sealed"), "--key", str(key_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bert"


@pytest.mark.parametrize(
    "name",
    [
        *("m.onnx", "m.data", "samples/in.npz", "elsewhere/in.npz"),
        "memory_intensive_ops/operator_overhead.txt",
    ],
)
def test_the_plan_page_never_replaces_an_input(name, place, capsys, monkeypatch):
    (place / "memory_intensive_ops").mkdir()
    (place / "memory_intensive_ops" / "operator_overhead.txt").write_text("")
    monkeypatch.chdir(place)  # where the list of operators is looked for
    before = (place / name).read_bytes()
    arguments = ["plan", "m.onnx", "--html", name, "--input", "samples", "--strategy", "paper"]
    assert main(arguments) == ExitCode.BAD_INPUT
    assert "never overwritten" in capsys.readouterr().err
    assert (place / name).read_bytes() == before


def test_without_figures_of_memory_nothing_is_planned(cnn, key_path, tmp_path, in_no_proc):
    done = subprocess.run(
        [
            *(*in_no_proc, sys.executable, "-P", "-m", "inferonnx", "seal", str(cnn)),
            *("-o", str(tmp_path / "m.sealed"), "--key", str(key_path), "--memory", "85MiB"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert "does not tell how much memory a process takes" in done.stderr
    assert not (tmp_path / "m.sealed").exists()


def test_help_says_which_machine_makes_avx2(capsys):
    with pytest.raises(SystemExit):
        main(["seal", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "only a machine with AVX2 and without AVX-512" in shown
