"""`bench peers`: from the zoo's model to the table, and what is refused before anything is made."""

import json
import sys

import pytest

from inferonnx.bench import limiting
from inferonnx.cli import main
from inferonnx.errors import ExitCode, UnavailableError
from machine import package


def words(folder, *more):
    return [
        *("bench", "peers", "--models", "squeezenet1.0-7", "--runs", "1"),
        *("--zoo", str(folder / "models"), "-o", str(folder / "results"), *more),
    ]


def test_every_engine_is_in_the_table_and_in_the_report(tmp_path, capsys, monkeypatch):
    package("tract")
    refused = UnavailableError("no right to make memory cgroups here", hint="Run it as root.")
    monkeypatch.setattr(limiting, "obstacle", lambda **_: refused)
    monkeypatch.chdir(tmp_path)
    listed = tmp_path / "memory_intensive_ops" / "operator_overhead.txt"
    listed.parent.mkdir()
    listed.write_text("Heaviest operators for squeezenet1.0-7:\n#10: 20.00x\n\n")
    assert main(words(tmp_path, "--epc", "85MiB")) == ExitCode.DONE
    told = capsys.readouterr()
    assert (
        "inferonnx: measuring without a limit: no right to make memory cgroups here. "
        "Run it as root." in told.err
    )
    assert told.out.startswith("no limit enforced; budget of the sealed stream 80.0 MiB\n")
    report = json.loads((tmp_path / "results" / "peers.json").read_text())
    assert report["schema"] == "inferonnx.peers/1"
    assert (report["label"], report["limit_bytes"]) == ("no limit enforced", None)
    assert report["machine"]["tract"]
    assert len(report["rows"]) == 8
    assert not [row["error"] for row in report["rows"] if row["error"]]
    # In two halves, as the paper does, and the operator that is listed stands alone.
    assert {row["n_files"] for row in report["rows"] if row["form"] == "partitions"} == {4}
    assert len([line for line in told.out.splitlines() if line.startswith("| squeezenet")]) == 8
    assert (tmp_path / "models/squeezenet1.0-7/partitions/index.json").exists()


def test_partitions_of_another_model_are_told_and_the_rest_is_measured(tmp_path, capsys):
    package("tract")
    assert main(["zoo", "build", "squeezenet1.0-7", "-o", str(tmp_path / "models")]) == 0
    folder = tmp_path / "models/squeezenet1.0-7/partitions"
    folder.mkdir()
    (folder / "index.json").write_text("{}")
    assert main(words(tmp_path)) == ExitCode.DONE
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "is no index of partitions" in line]) == 3
    assert (folder / "index.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("gone", "model", "code", "sentence"),
    [
        (True, "squeezenet1.0-7", ExitCode.UNAVAILABLE, "tract, the engine of the paper, is not"),
        (False, "nosuch", ExitCode.BAD_INPUT, "the zoo has no model 'nosuch'"),
    ],
)
def test_nothing_is_made_before_it_is_refused(
    gone, model, code, sentence, tmp_path, monkeypatch, capsys
):
    if gone:
        monkeypatch.setitem(sys.modules, "tract", None)
    else:
        package("tract")
    assert main([*words(tmp_path), "--models", model]) == code
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
