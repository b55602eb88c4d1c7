import os
import subprocess
from pathlib import Path

import pytest

from inferonnx import zoo
from inferonnx.cli import demo, main
from inferonnx.errors import DifferenceError, ExitCode, UnavailableError

FETCHED = Path(
    os.environ.get("INFERONNX_TRAINED") or Path(__file__).parents[3] / "models" / "trained"
)


@pytest.fixture
def models(tmp_path):
    """A folder of models whose trained ones are those that other tests have fetched."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    (tmp_path / "trained").symlink_to(FETCHED)
    return tmp_path


def test_the_demo_shows_what_it_says(models, command, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    file = work / "letter.py"
    file.write_text(Path(demo.__file__).read_text())
    done = command("demo", "--small", "--models", models, "--file", file, cwd=work)
    assert done.returncode == 0, done.stderr
    assert "letter.py is: python" in done.stdout
    assert "plain onnxruntime says: python" in done.stdout
    assert "sealed, --memory 85.0 MiB" in done.stdout
    assert "the sealed file is damaged or was tampered with" in done.stdout
    assert done.stdout.rstrip().endswith("are removed again.")
    assert os.listdir(work) == ["letter.py"]


def stage(tmp_path):
    return demo._Stage(tmp_path, tmp_path / "models", 85 << 20)


def answering(returncode, text):
    return lambda *_: subprocess.CompletedProcess([], returncode, stdout="", stderr=text)


def test_a_forgery_that_runs_is_no_success(sealed_cnn, tmp_path, monkeypatch):
    here = stage(tmp_path)
    monkeypatch.setattr(here, "_command", answering(0, ""))
    with pytest.raises(DifferenceError, match="was not refused: code 0"):
        here._attack(sealed_cnn, tmp_path / "in.npz")


def test_a_model_that_does_not_run_is_told(tmp_path, monkeypatch):
    here = stage(tmp_path)
    for text in ("inferonnx: error: no\nhint: x\n", ""):
        monkeypatch.setattr(here, "_command", answering(5, text))
        with pytest.raises(UnavailableError, match="did not run: "):
            here._run(tmp_path / "m", tmp_path / "in.npz")


def test_what_is_not_to_be_had_is_told_and_a_full_disk_is_not_taken_for_it(
    tmp_path, monkeypatch, capsys
):
    def offline(*_):
        raise UnavailableError("no network")

    arguments = ["demo", "--small", "--models", str(tmp_path)]
    monkeypatch.setattr(zoo, "fetch", offline)
    assert main(arguments) == ExitCode.UNAVAILABLE
    assert "no network" in capsys.readouterr().err

    def full(*_):
        raise UnavailableError("no space left")

    monkeypatch.setattr(zoo, "fetch", lambda *_: None)
    monkeypatch.setattr(demo._Stage, "identify", full)
    assert main(["demo", "--models", str(tmp_path)]) == ExitCode.UNAVAILABLE
    captured = capsys.readouterr()
    assert "no space left" in captured.err
    assert "not to be had" not in captured.out
