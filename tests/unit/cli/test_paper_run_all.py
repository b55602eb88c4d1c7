"""`inferonnx paper run-all` on the smallest model of the paper, whole; and what it refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from inferonnx.cli import main
from inferonnx.errors import ExitCode
from inferonnx.paper.configurations import BY_ID
from inferonnx.report.results import checked_results
from inferonnx.zoo import build
from machine import package

ROOT = Path(__file__).parents[3]
NAME = "squeezenet1.0-7"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    build(NAME, str(folder))
    return folder


def words(zoo, results, *more):
    return [
        *(sys.executable, "-P", str(ROOT / "scripts" / "run_all.py"), "partitions/", "1"),
        *("--models", NAME, "--zoo", str(zoo), "-o", str(results), *more),
        *("--operators", str(results.parent / "operators")),
    ]


def processes_with(path):
    """Return the command lines of processes that name a path: servers that were left behind."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = file.read_bytes()
            found += [line] if str(path).encode() in line else []
    return found


def test_without_matplotlib_nothing_is_built_or_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # to the import system: there is none
    monkeypatch.chdir(ROOT)
    code = main(["paper", "run-all", *words(tmp_path / "zoo", tmp_path / "results")[3:]])
    assert code == ExitCode.UNAVAILABLE
    assert capsys.readouterr().err.splitlines() == [
        "inferonnx: error: figures are drawn by matplotlib, which is not installed",
        "hint: Install it with `pip install 'inferonnx[paper]'`.",
    ]
    assert not list(tmp_path.iterdir())


def test_interrupted_it_goes_on_where_it_was_and_leaves_all_files(zoo, tmp_path):
    package("matplotlib")
    results = tmp_path / "results"
    started = subprocess.Popen(
        words(zoo, results), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told = []
    for line in started.stderr:
        told.append(line)
        if re.match(rf"{NAME}: partitions-disk-tee", line):
            started.send_signal(signal.SIGINT)
            break
    out, rest = started.communicate(timeout=60)
    assert started.returncode == ExitCode.INTERRUPTED, (told, rest)
    assert out == ""
    assert not (results / "paper.json").exists()
    lines = (results / "work" / "rows.jsonl").read_text().splitlines()
    kept = [json.loads(line)["rows"] for line in lines]
    n_done = sum(not any(row["error"] for row in rows) for rows in kept)  # others come again
    assert n_done > 1
    assert not processes_with(results)

    again = subprocess.run(
        words(zoo, results, "--json"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert f"{n_done} of 7 jobs are measured already" in again.stderr
    n_lines = len((results / "work" / "rows.jsonl").read_text().splitlines())
    assert n_lines == len(lines) + 7 - n_done
    found = json.loads((results / "paper.json").read_text())
    assert found == json.loads(again.stdout)
    checked = checked_results(found)
    assert {row.configuration for row in checked.rows} == set(BY_ID)
    assert not [row for row in checked.rows if row.error]
    for name in ("figure4_small_models.pdf", "figure5_small_models.pdf", "table2.csv"):
        assert (results / name).stat().st_size > 100
    assert "SqueezeNet" in (results / "table2.csv").read_text()
    assert (zoo / NAME / "partitions" / "index.json").exists()
    times = tmp_path / "operators" / f"{NAME}_operator_times.txt"
    assert times.read_text().count("Conv") > 20
    written = times.stat().st_mtime_ns

    third = subprocess.run(
        words(zoo, results), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert third.returncode == 0
    assert "7 of 7 jobs are measured already" in third.stderr
    assert json.loads((results / "paper.json").read_text())["rows"] == found["rows"]
    assert "on disk against memory only" in third.stdout
    assert times.stat().st_mtime_ns == written


@pytest.fixture
def here(monkeypatch):
    monkeypatch.chdir(ROOT)


def refused(capsys, *arguments):
    code = main(["paper", "run-all", *map(str, arguments)])
    said = capsys.readouterr().err
    assert said.count("inferonnx: error:") == 1
    return code, said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("../other", "1"), "no name of a folder"),
        (("", "1"), "no name of a folder"),
        (("partitions/", "0"), "whole number"),
        (("partitions/", "many"), "whole number"),
        (("partitions/", "1", "--models", "no-such-model"), "the zoo has no model"),
        (("partitions/", "1", "--epc", "much"), "is not a size"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_it_refuses(arguments, message, here, capsys, tmp_path):
    try:
        code, said = refused(capsys, *arguments, "-o", tmp_path / "r", "--zoo", tmp_path / "z")
    except SystemExit as error:  # argparse's own
        code, said = error.code, capsys.readouterr().err
    assert code == ExitCode.BAD_INPUT
    assert message in said
    assert not (tmp_path / "r").exists()


def test_elsewhere_than_at_the_root_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = refused(capsys, "partitions/", "1", "--models", NAME)
    assert code == ExitCode.BAD_INPUT
    assert "root of the repository" in said
    assert os.listdir(tmp_path) == []


@pytest.fixture
def folder(zoo, tmp_path):
    """A zoo of our own to break; it is looked at where there is matplotlib."""
    package("matplotlib")
    shutil.copytree(zoo, tmp_path / "zoo", symlinks=True)
    return tmp_path / "zoo"


def test_a_folder_with_two_models_is_refused(folder, here, tmp_path, capsys):
    shutil.copy(folder / NAME / f"{NAME}.onnx", folder / NAME / "second.onnx")
    code, said = refused(
        capsys, "partitions/", "1", "--models", NAME, "--zoo", folder, "-o", tmp_path / "r"
    )
    assert code == ExitCode.BAD_INPUT
    assert "second.onnx" in said
    assert (folder / NAME / "second.onnx").exists()


def test_partitions_of_another_model_are_refused_and_left(folder, here, tmp_path, capsys):
    shutil.rmtree(folder / NAME / "partitions", ignore_errors=True)
    home = folder / NAME / "partitions"
    from conftest import small_cnn
    from inferonnx.app.owner.partitioning import partition

    other = small_cnn(tmp_path / "other.onnx")
    partition(str(other), str(home), strategy="whole")
    before = sorted(os.listdir(home))
    code, said = refused(
        capsys, "partitions/", "1", "--models", NAME, "--zoo", folder, "-o", tmp_path / "r"
    )
    assert code == ExitCode.BAD_INPUT
    assert "another model" in said
    assert sorted(os.listdir(home)) == before


def test_files_of_somebody_in_the_folder_of_partitions_are_refused_and_left(
    folder, here, tmp_path, capsys
):
    home = folder / NAME / "mine"
    home.mkdir()
    (home / f"{NAME}_split0.onnx").write_text("mine")
    code, said = refused(
        capsys, "mine/", "1", "--models", NAME, "--zoo", folder, "-o", tmp_path / "r"
    )
    assert code == ExitCode.BAD_INPUT
    assert "split0" in said
    assert (home / f"{NAME}_split0.onnx").read_text() == "mine"


def test_a_file_of_rows_that_is_another_is_refused_and_left(folder, here, tmp_path, capsys):
    rows = tmp_path / "r" / "work" / "rows.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text("mine\n")
    code, said = refused(
        capsys, "partitions/", "1", "--models", NAME, "--zoo", folder, "-o", tmp_path / "r"
    )
    assert code == ExitCode.BAD_INPUT
    assert "rows.jsonl" in said
    assert rows.read_text() == "mine\n"
    assert os.listdir(rows.parent) == [rows.name]  # before anything was sealed
