"""The distribution of memory from a real model, its partitions made and found."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from inferonnx.cli import main
from inferonnx.zoo import build

pytest.importorskip("matplotlib", reason="pip install '.[paper]'")

NAME = "squeezenet1.0-7"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    build(NAME, str(folder))
    return folder


def made(zoo, output, folder="partitions/"):
    words = ["paper", "cdf", folder, "--models", NAME, "--zoo", str(zoo), "-o", str(output)]
    return main(words)


def rows(output):
    with (output / "figure3_cdf.csv").open() as file:
        return list(csv.DictReader(file))


def test_partitions_are_made_where_they_are_missing_and_counted(zoo, tmp_path, capsys):
    assert made(zoo, tmp_path) == 0
    said = capsys.readouterr().out
    assert "exact accounting" in said
    for kind in ("csv", "pdf", "png"):
        assert f"wrote {tmp_path / 'figure3_cdf'}.{kind}" in said
        assert (tmp_path / f"figure3_cdf.{kind}").is_file()
    entire, *parts = rows(tmp_path)
    assert (entire["part"], entire["first"]) == ("entire", "0")
    assert len(parts) == 2
    assert sum(int(part["weights_bytes"]) for part in parts) == int(entire["weights_bytes"])
    assert max(int(part["stop"]) for part in parts) == int(entire["stop"])
    assert [part["part_of_partitions"] for part in parts] == ["0.5000", "1.0000"]
    for row in (entire, *parts):
        assert int(row["memory_bytes"]) == int(row["weights_bytes"]) + int(row["activation_bytes"])


def test_operators_are_measured_once_for_all_folders(zoo, tmp_path):
    made(zoo, tmp_path)
    assert (zoo / NAME / "operators.json").is_file()
    assert not (zoo / NAME / "partitions" / "operators.json").exists()


def test_a_folder_that_holds_something_else_is_refused_and_stays(zoo, tmp_path, capsys):
    before = sorted((zoo / NAME / "test_data_set_0").iterdir())
    assert made(zoo, tmp_path, "test_data_set_0") == 2
    assert "has no index.json" in capsys.readouterr().err
    assert sorted((zoo / NAME / "test_data_set_0").iterdir()) == before


def test_a_second_time_changes_nothing(zoo, tmp_path):
    made(zoo, tmp_path / "first")
    before = {p: p.stat().st_mtime_ns for p in (zoo / NAME / "partitions").iterdir()}
    made(zoo, tmp_path / "second")
    assert {p: p.stat().st_mtime_ns for p in (zoo / NAME / "partitions").iterdir()} == before
    for kind in ("csv", "pdf", "png"):
        name = f"figure3_cdf.{kind}"
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_partitions_of_another_model_are_refused_and_stay(zoo, tmp_path, cnn, capsys):
    assert main(["partition", str(cnn), "-o", str(tmp_path / "other")]) == 0
    shutil.copytree(tmp_path / "other", zoo / NAME / "foreign")
    before = sorted(Path(zoo / NAME / "foreign").iterdir())
    assert made(zoo, tmp_path / "out", "foreign") == 2
    assert "of another model" in capsys.readouterr().err
    assert sorted(Path(zoo / NAME / "foreign").iterdir()) == before
    assert not (tmp_path / "out").exists()


def test_a_model_folder_with_two_models_is_refused(zoo, tmp_path, capsys):
    home = tmp_path / "zoo" / NAME
    home.mkdir(parents=True)
    for name in ("one.onnx", "two.onnx"):
        shutil.copy(zoo / NAME / f"{NAME}.onnx", home / name)
    assert made(tmp_path / "zoo", tmp_path / "out") == 2
    assert "one.onnx, two.onnx" in capsys.readouterr().err
    assert len(list(home.iterdir())) == 2
