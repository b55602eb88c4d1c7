import json

import pytest

from inferonnx.app.host import checking
from inferonnx.cli import main
from inferonnx.errors import ExitCode


def test_inspect_is_for_people(sealed_cnn, key_path, capsys):
    assert main(["inspect", str(sealed_cnn), "--key", str(key_path)]) == 0
    shown = capsys.readouterr()
    assert main(["inspect", str(sealed_cnn), "--key", str(key_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    lines = shown.out.splitlines()
    assert "input         image: tensor(float) [batch, 3, 16, 16]" in lines
    assert "output        scores: tensor(float) [batch, 10]" in lines
    assert "release       3" in lines
    least = f"{facts['memory']['least_bytes'] / 2**20:.1f} MiB"
    assert f"least         {least}: the least --memory it runs in" in lines
    assert "budget        85.0 MiB: what it was sealed for" in lines
    assert "{" not in shown.out
    rows = [line for line in lines if line.lstrip().split()[0].isdecimal()]
    assert len(rows) == len(facts["partitions"])
    assert "--key" not in shown.err


def test_without_a_key_the_header_is_shown_and_where_more_is(sealed_cnn, capsys):
    assert main(["inspect", str(sealed_cnn)]) == 0
    shown = capsys.readouterr()
    assert "release       3" in shown.out.splitlines()
    assert "least" not in shown.out
    assert "--key shows name" in shown.err


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["people", "json"])
def test_a_check_vector_that_is_not_there_is_no_success(
    more, sealed_cnn, key_path, monkeypatch, capsys
):
    monkeypatch.setattr(checking, "_run_check", lambda *_: checking.NO_VECTOR)
    arguments = ["check", str(sealed_cnn), "--key", str(key_path), "--run", *more]
    assert main(arguments) == ExitCode.REFUSED
    shown = capsys.readouterr()
    assert "none in the file" in shown.out
    assert "holds no check vector" in shown.err


def test_a_check_without_the_key_opens_nothing(sealed_cnn, capsys):
    assert main(["check", str(sealed_cnn), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["segments_opened"] is None
    assert report["file_bytes"] == sealed_cnn.stat().st_size
    assert main(["check", str(sealed_cnn), "--run"]) == ExitCode.BAD_INPUT
