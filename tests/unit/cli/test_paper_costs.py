"""`paper memory-intensive-ops` and `paper cache-stats`: what they print, refuse and leave."""

import subprocess
import sys
from pathlib import Path

import pytest

from inferonnx.bench import limiting
from inferonnx.cli import main
from inferonnx.errors import ExitCode, UnavailableError
from inferonnx.paper import cache_stats, counters
from inferonnx.paper.counters import Counter, Counts
from inferonnx.zoo import build

NAME = "squeezenet1.0-7"
SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    build(NAME, str(folder))
    return folder


@pytest.fixture
def no_rights(monkeypatch):
    refused = UnavailableError("no right to make memory cgroups here", hint="Run it as root.")
    monkeypatch.setattr(limiting, "obstacle", lambda **_: refused)


def operators(zoo, folder, *more):
    words = ["--models", NAME, "--runs", "1", "--zoo", str(zoo), "-o", str(folder)]
    return main(["paper", "memory-intensive-ops", *words, *more])


def test_operators_are_timed_without_rights_too_and_the_label_says_so(
    zoo, tmp_path, capsys, no_rights
):
    assert operators(zoo, tmp_path / "ops") == ExitCode.DONE
    told = capsys.readouterr()
    assert "measuring without a limit: no right to make memory cgroups here." in told.err
    (row,) = [line for line in told.out.splitlines() if line.startswith(NAME + "  ")]
    assert row.endswith("no limit enforced")
    assert row.split()[1] == "66"
    assert told.out.endswith(f"wrote {tmp_path}/ops/operator_overhead.txt\n")


def test_an_empty_list_is_said(zoo, tmp_path, capsys, no_rights, monkeypatch):
    from inferonnx.paper import memory_intensive

    spent = dict.fromkeys(range(66), memory_intensive.Spent(1.0, 0.0))
    monkeypatch.setattr(memory_intensive, "time_operators", lambda *_, **__: spent)
    assert operators(zoo, tmp_path / "ops") == ExitCode.DONE
    assert "no operator has an overhead above 12: the list is empty" in capsys.readouterr().out
    assert (tmp_path / "ops" / "operator_overhead.txt").read_text() == ""


def test_stale_times_are_one_line_and_an_exit_code(zoo, tmp_path, capsys):
    times = tmp_path / f"{NAME}_operator_times.txt"
    times.write_text(
        f"# inferonnx.operator-times/1\n# model {'ab' * 32}\n# inside: -\n"
        "index\tname\ttype\toutside_ms\tinside_ms\tlabel\n"
    )
    assert operators(zoo, tmp_path) == ExitCode.BAD_INPUT
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"inferonnx: error: {str(times)!r} is of another model: the SHA-256 differs"
    assert hint == "hint: Move it elsewhere; nothing was changed."
    assert times.read_text().startswith("# inferonnx.operator-times/1")


@pytest.mark.parametrize("command", [("memory-intensive-ops",), ("cache-stats", "1")])
def test_a_model_folder_with_two_models_is_refused_and_stays(tmp_path, capsys, command, no_rights):
    folder = tmp_path / "models" / NAME
    folder.mkdir(parents=True)
    for name in ("a.onnx", "b.onnx"):
        (folder / name).write_bytes(b"")
    words = ["--models", NAME, "--zoo", str(tmp_path / "models"), "-o", str(tmp_path / "out")]
    assert main(["paper", *command, *words]) in (ExitCode.BAD_INPUT, ExitCode.UNAVAILABLE)
    assert "error: " in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["a.onnx", "b.onnx"]


@pytest.mark.parametrize("words", [("memory-intensive-ops",), ("cache-stats", "1")])
def test_a_misspelt_model_is_told_before_anything_is_made(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert main(["paper", *words, "--models", "nosuch"]) == ExitCode.BAD_INPUT
    assert "the zoo has no model 'nosuch'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def counter(monkeypatch):
    counts = iter([Counts(1000, 500, 50, 5)])
    chosen = Counter("counted by perf", False, lambda *_: next(counts))
    monkeypatch.setattr(counters, "choose_counter", lambda: chosen)


def stats(zoo, folder, *more):
    words = ["--models", NAME, "--zoo", str(zoo), "-o", str(folder)]
    return main(["paper", "cache-stats", "2", *words, *more])


def test_counts_are_shown_and_kept(zoo, tmp_path, capsys, counter):
    assert stats(zoo, tmp_path) == ExitCode.DONE
    told = capsys.readouterr()
    assert told.out.startswith("counted by perf; figures of one inference on one thread\n")
    (row,) = [line for line in told.out.splitlines() if line.startswith(NAME)]
    assert row.split() == [NAME, "1000", "2.00", "50", "5", "0.100"]
    assert stats(zoo, tmp_path) == ExitCode.DONE  # counting again would have no counts left
    assert f"{NAME}: unchanged" in capsys.readouterr().err


def test_what_was_not_counted_in_time_is_said(zoo, tmp_path, capsys, counter, monkeypatch):
    times = iter([0.0, 61.0])
    monkeypatch.setattr(cache_stats.time, "monotonic", lambda: next(times))
    assert stats(zoo, tmp_path, "--minutes", "1") == ExitCode.DONE
    assert f"not counted within 1 minutes: {NAME}; run again to go on" in capsys.readouterr().err


@pytest.mark.parametrize(
    "script",
    [
        "partitioning/determine_memory_intensive_ops.py",
        "benchmarks/generate_cache_stats.py",
    ],
)
def test_the_artifacts_names_lead_to_the_commands(script):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--models NAME" in done.stdout
