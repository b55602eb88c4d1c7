import json

import pytest

from inferonnx.bench import models, stream
from inferonnx.cli import main
from inferonnx.errors import ExitCode


def test_an_error_of_a_worker_arrives_with_its_hint_and_its_exit_code(tmp_path, capsys):
    code = main(
        [
            *("bench", "stream", "--models", "squeezenet1.0-7", "--memory", "8MiB"),
            *("--zoo", str(tmp_path / "models"), "-o", str(tmp_path / "results")),
        ]
    )
    assert code == ExitCode.NO_PLAN
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith("inferonnx: error: squeezenet1.0-7: this model needs at least")
    assert second.startswith("hint: Give it --memory ")
    report = json.loads((tmp_path / "results" / "bench-stream.json").read_text())
    assert (report["rows"], len(report["machine"]["failed"])) == ([], 1)


def test_a_model_that_no_plan_fits_does_not_lose_the_others(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(models, "SEALED_FOR", "44MiB")
    monkeypatch.setattr(stream, "PAUSE_S", 0.001)  # nobody looks at the times
    code = main(
        [
            *("bench", "stream", "--models", "mobilenetv2-7", "squeezenet1.0-7", "--rounds", "1"),
            *("--zoo", str(tmp_path / "models"), "-o", str(tmp_path / "results")),
            *("--memory", "72MiB"),
        ]
    )
    assert code == ExitCode.NO_PLAN
    assert "inferonnx: error: mobilenetv2-7: the model needs at least" in capsys.readouterr().err
    report = json.loads((tmp_path / "results" / "bench-stream.json").read_text())
    assert {row["model"] for row in report["rows"]} == {"squeezenet1.0-7"}
    assert report["machine"]["failed"][0].startswith("mobilenetv2-7: ")


@pytest.mark.parametrize(
    "words", [("bench", "stream", "--models"), ("demo", "--large")], ids=lambda words: words[0]
)
def test_a_misspelt_model_is_told_before_anything_is_made(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "nosuch"]) == ExitCode.BAD_INPUT
    assert "the zoo has no model 'nosuch'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
