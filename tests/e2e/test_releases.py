"""The sealed files of every release, read by this one."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import inferonnx
from golden.release import RELEASES, WARNING
from inferonnx.cli import main
from inferonnx.errors import ExitCode
from reader import sealed_reader

MAX_BYTES = 100_000

FILES = pytest.mark.parametrize(
    "sealed",
    sorted(RELEASES.glob("*/*.sealed")),
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)


@pytest.fixture
def key(sealed, tmp_path):
    """The key of a release: a copy that nobody else may read, as key files have to be."""
    copy = tmp_path / "test.key"
    copy.write_bytes((sealed.parent / "test.key").read_bytes())
    copy.chmod(0o600)
    return str(copy)


def report(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == ExitCode.DONE, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_this_version_has_left_its_files():
    folder = RELEASES / inferonnx.__version__
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    assert names == {"optimal.sealed", "paper.sealed", "test.key"}, "see CONTRIBUTING.md"


@FILES
def test_a_file_is_small_and_its_key_says_what_it_is(sealed):
    assert sealed.stat().st_size < MAX_BYTES
    assert (sealed.parent / "test.key").read_text().startswith(WARNING)


@FILES
def test_it_is_inspected(sealed, key, capsys):
    public = report(capsys, "inspect", sealed)
    facts = report(capsys, "inspect", sealed, "--key", key)
    assert facts.items() >= public.items()
    assert (facts["name"], facts["release"]) == ("release", 7)
    assert facts["producer"] == f"inferonnx {sealed.parent.name}"
    assert facts["metadata"] == {"alphabet": "äöü 😀"}
    assert [value["name"] for value in facts["inputs"]] == ["image", "scale"]
    assert len(facts["partitions"]) == {"optimal": 1, "paper": 2}[sealed.stem]


@FILES
def test_it_is_checked(sealed, key, capsys):
    assert report(capsys, "check", sealed)["segments_opened"] is None
    assert report(capsys, "check", sealed, "--key", key)["segments_opened"] >= 1


@FILES
def test_it_is_rewrapped(sealed, key, tmp_path, capsys):
    copy, new = tmp_path / "copy.sealed", str(tmp_path / "new.key")
    copy.write_bytes(sealed.read_bytes())
    assert main(["keygen", "-o", new, "--from", key]) == ExitCode.DONE
    assert main(["rewrap", str(copy), "--key", key, "--new-key", new]) == ExitCode.DONE
    capsys.readouterr()
    assert main(["check", str(copy), "--key", key]) == ExitCode.NOT_AUTHENTIC
    capsys.readouterr()
    again = report(capsys, "check", copy, "--key", new)
    assert again["model_id"] == report(capsys, "inspect", sealed)["model_id"]


@FILES
def test_it_runs_on_the_onnxruntime_that_it_was_sealed_for_and_no_other(
    sealed, key, tmp_path, capsys
):
    target = report(capsys, "inspect", sealed, "--key", key)["target"]
    image = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "in.npz", image=image, scale=np.ones(1, np.float32))
    run = ["run", str(sealed), "--key", key, "--input", str(tmp_path / "in.npz")]
    run += ["--memory", "64GiB"]  # the tests' own process may hold much
    if target["onnxruntime"] != onnxruntime.__version__:
        assert main(run) == ExitCode.REFUSED
        assert "inferonnx seal" in capsys.readouterr().err
        return
    assert main([*run, "-o", str(tmp_path / "out.npz")]) == ExitCode.DONE
    with np.load(tmp_path / "out.npz") as outputs:
        assert outputs["best"] == outputs["scores"].argmax(axis=1)
    capsys.readouterr()
    assert report(capsys, "check", sealed, "--key", key, "--run")["check_vector"] == "agrees"


@FILES
def test_the_second_reader_opens_it(sealed, key):
    parsed = sealed_reader.parse_key(Path(key).read_bytes())
    file = sealed_reader.Opened(sealed.read_bytes(), parsed)
    file.open_all()
    assert file.segments
