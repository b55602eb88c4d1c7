"""`inferonnx zoo`: results on stdout, talk on stderr, one line for an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from inferonnx import zoo
from inferonnx.cli import main
from inferonnx.cli.zoo import SCHEMA
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "squeezenet1.0-7"


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "list"]) == ExitCode.DONE
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in [*zoo.MODELS, *zoo.TRAINED])


def test_list_json_is_one_object_of_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "list", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == SCHEMA
    assert [model["name"] for model in found["models"]] == list(zoo.MODELS)
    assert [item["name"] for item in found["trained"]] == list(zoo.TRAINED)
    squeezenet = found["models"][0]
    assert squeezenet["inputs"] == {"data_0": [1, 3, 224, 224]}
    assert squeezenet["size_difference"] == 0
    assert squeezenet["operators"]["Conv"] == 26
    assert found["models"][-1]["size_difference"] is None


def test_build_says_what_became_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["zoo", "build", _NAME, _NAME, "-o", str(tmp_path)]
    assert main(command) == ExitCode.DONE
    path = tmp_path / _NAME / f"{_NAME}.onnx"
    assert capsys.readouterr().out == f"{path}: built, synthetic weights, 4.7 MiB\n"
    assert main(command) == ExitCode.DONE
    assert "kept, built before" in capsys.readouterr().out
    path.write_bytes(b"mine")
    assert main(command) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 2
    assert "inferonnx: error: " in said
    assert "--force" in said
    assert main([*command, "--force"]) == ExitCode.DONE
    assert path.stat().st_size > 1_000_000


@pytest.mark.parametrize(
    "words",
    [
        ["build"],
        ["build", "--all", _NAME],
        ["build", _NAME, "cat"],
        ["fetch"],
        ["fetch", "--all", "magika"],
        ["fetch", "magika", "cat"],
    ],
    ids=" ".join,
)
def test_nonsense_is_refused_before_anything_is_written(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", *words, "-o", str(tmp_path / "out")]) == ExitCode.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("inferonnx: error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", [[], ["list"], ["build"], ["fetch"]], ids=str)
def test_help_teaches(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["zoo", *command, "--help"])
    assert caught.value.code == 0
    assert "examples:\n  inferonnx zoo" in capsys.readouterr().out
