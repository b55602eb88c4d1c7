"""check-accuracy, split-operators, generate-partitions, clean-operators on a model of the zoo."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest

from inferonnx.cli import main
from inferonnx.paper.accuracy import check_accuracy
from inferonnx.paper.overheads import parse_operator_times
from inferonnx.zoo import build

NAME = "squeezenet1.0-7"
N_OPERATORS = 66


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Squeezenet, built once."""
    folder = tmp_path_factory.mktemp("zoo")
    build(NAME, str(folder))
    return folder


@pytest.fixture
def home(built, tmp_path, monkeypatch):
    """The model's folder in `models/` of an empty working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(built, tmp_path / "models")
    return tmp_path / "models" / NAME


@pytest.fixture
def paper(capsys):
    """`inferonnx paper`, for this model alone: exit code, stdout, stderr."""

    def run(*words, only=NAME):
        code = main(["paper", *words, "--models", only])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_partitions_are_made_where_they_are_missing_and_compared(home, paper):
    code, out, err = paper("check-accuracy", "partitions/")
    assert code == 0
    assert f"{NAME}: 2 partitions made in models/{NAME}/partitions" in err
    assert f"{NAME}           2       3  same" in out
    assert "tolerated: within 0.001 of the largest value" in out
    made = files(home)
    code, out, err = paper("check-accuracy", "partitions", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts["schema"] == "inferonnx.accuracy/1"
    assert facts["models"][0]["same_category"]
    assert files(home) == made


def test_a_missing_model_is_built_first(tmp_path, monkeypatch, paper):
    monkeypatch.chdir(tmp_path)
    code, _, err = paper("check-accuracy", "partitions/")
    assert code == 0
    assert "building it with seeded weights; a trained file belongs at" in err
    assert (tmp_path / "models" / NAME / "partitions" / "index.json").exists()


def test_partitions_that_differ_are_exit_code_4(home, paper):
    paper("check-accuracy", "partitions/")
    folder = home / "partitions"
    index = json.loads((folder / "index.json").read_bytes())
    path = folder / index["partitions"][1]["file"]
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        zeros = onnx.numpy_helper.to_array(tensor) * 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    onnx.save(proto, path)
    from inferonnx.model.chain import file_sha256

    index["partitions"][1]["sha256"] = file_sha256(str(path))
    (folder / "index.json").write_text(json.dumps(index))
    code, out, err = paper("check-accuracy", "partitions/")
    assert code == 4
    assert "another" in out
    assert NAME in err


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("new_partitions/", "there is no folder"),
        ("a/b", "is no name of a folder"),
        ("..", "is no name of a folder"),
        ("test_data_set_0", "has no index.json"),
    ],
)
def test_folders_that_hold_no_partitions(home, paper, folder, said):
    before = files(home)
    code, _, err = paper("check-accuracy", folder)
    assert code == 2
    assert said in err
    assert files(home) == before


def test_partitions_that_were_interrupted_are_gone_on_with(home, paper):
    """An empty folder, then one with a file and the journal."""
    folder = home / "partitions"
    folder.mkdir()
    code, _, err = paper("check-accuracy", "partitions/")
    assert (code, "2 partitions made" in err) == (0, True)
    whole = files(folder)

    def stop(text):
        if text.endswith("writing file 2 of 2"):
            raise KeyboardInterrupt

    shutil.rmtree(folder)
    with pytest.raises(KeyboardInterrupt):
        list(check_accuracy("partitions", [NAME], progress=stop))
    assert "index.json" not in {path.name for path in folder.iterdir()}
    assert list(folder.glob("*_split0.onnx"))
    code, _, err = paper("check-accuracy", "partitions/")
    assert (code, "2 partitions made" in err) == (0, True)
    assert files(folder) == whole
    (folder / "index.json").unlink()  # files that nothing says are ours
    code, _, err = paper("check-accuracy", "partitions/")
    assert code == 2
    assert "has no index.json" in err


def test_an_empty_folder_of_partitions_another_models_and_a_damaged_file(home, paper):
    (home / "mine").mkdir()
    code, _, err = paper("check-accuracy", "mine/")
    assert code == 2
    assert "is empty" in err
    paper("generate-partitions")
    folder = home / "new_partitions"
    file = folder / f"{NAME}_split0.onnx"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?")
    code, _, err = paper("check-accuracy", "new_partitions/")
    assert code == 2
    assert "is damaged" in err
    before = files(home)
    code, _, err = paper("generate-partitions")
    assert code == 2
    assert "has changed since it was cut" in err
    assert files(home) == before
    file.write_bytes(good)
    index = json.loads((folder / "index.json").read_bytes())
    (folder / "index.json").write_text(json.dumps(index | {"model_sha256": "00" * 32}))
    code, _, err = paper("check-accuracy", "new_partitions/")
    assert code == 2
    assert "of another model" in err


def test_two_models_in_one_folder(home, paper):
    (home / "mine.onnx").write_bytes(b"mine")
    before = files(home)
    for words in (
        ("check-accuracy", "partitions/"),
        ("split-operators",),
        ("generate-partitions",),
    ):
        code, _, err = paper(*words)
        assert code == 2
        assert "should have one model" in err
    assert files(home) == before


def test_a_model_that_the_zoo_does_not_have(tmp_path, monkeypatch, paper):
    monkeypatch.chdir(tmp_path)
    for words in (("check-accuracy", "partitions/"), ("clean-operators",)):
        code, _, err = paper(*words, only="resnet9000")
        assert code == 2
        assert "the zoo has no model 'resnet9000'" in err


def test_operators_are_split_timed_once_and_cleaned(home, paper, tmp_path):
    code, out, err = paper("split-operators")
    assert code == 0
    assert f"{NAME}         {N_OPERATORS}  same" in out
    assert "operator times stored in" in err
    assert len(list((home / "operators").glob("*_op*.onnx"))) == N_OPERATORS
    path = tmp_path / "memory_intensive_ops" / f"{NAME}_operator_times.txt"
    times = parse_operator_times(path.read_text())
    assert len(times.operators) == N_OPERATORS
    assert all(one.outside_ms and one.inside_ms is None for one in times.operators)
    stored = path.read_bytes()
    code, _, err = paper("split-operators")
    assert (code, err) == (0, "")
    assert path.read_bytes() == stored
    (home / "operators" / "notes.txt").write_text("mine")
    before = {k: v for k, v in files(home).items() if "_op" not in k and "index" not in k}
    code, out, _ = paper("clean-operators")
    assert code == 0
    assert f"{N_OPERATORS + 1} files removed" in out
    assert "kept, since not made here or changed since: notes.txt" in out
    assert files(home) == before
    (home / "operators" / "notes.txt").unlink()
    code, out, _ = paper("clean-operators")
    assert (code, out) == (0, f"{NAME}: 0 files removed\n")
    (home / "operators").rmdir()
    assert paper("clean-operators")[1] == f"{NAME}: nothing to remove\n"


def test_operator_times_of_another_model_are_stale_and_kept(home, paper, tmp_path):
    paper("split-operators")
    path = tmp_path / "memory_intensive_ops" / f"{NAME}_operator_times.txt"
    lines = path.read_text().splitlines()
    for changed, said in (
        ([*lines[:1], "# model " + "00" * 32, *lines[2:]], "is of another model"),
        (lines[:-1], "lists 65 operators, and the model has 66"),
        (["other"], "is none of such a file"),
    ):
        path.write_text("\n".join(changed) + "\n")
        before = path.read_bytes()
        code, _, err = paper("split-operators")
        assert code == 2
        assert said in err
        assert path.read_bytes() == before


def test_new_partitions_stand_beside_the_artifacts_count(home, paper, tmp_path):
    code, out, err = paper("generate-partitions")
    assert code == 0
    assert "so no operator stands alone" in err
    row = next(line.split() for line in out.splitlines() if line.startswith(NAME))
    assert row[1:6] == [str(N_OPERATORS), "0", "63.0", "2", "2"]
    code, out, err = paper("generate-partitions")
    assert code == 0
    assert f"{NAME}: unchanged" in err
    code, out, _ = paper("generate-partitions", "--epc", "20MiB")
    row = next(line.split() for line in out.splitlines() if line.startswith(NAME))
    assert code == 0
    assert int(row[4]) > 2
    (tmp_path / "memory_intensive_ops").mkdir()
    listing = tmp_path / "memory_intensive_ops" / "operator_overhead.txt"
    listing.write_text(f"Heaviest operators for {NAME}:\n#3: 14.00x\n\n")
    code, out, _ = paper("generate-partitions")
    row = next(line.split() for line in out.splitlines() if line.startswith(NAME))
    assert (code, row[2], row[4]) == (0, "1", "4")
    index = json.loads((home / "new_partitions" / "index.json").read_bytes())
    assert [3, 4] in [entry["operators"] for entry in index["partitions"]]
    listing.write_text(f"Heaviest operators for {NAME}:\nnone_such: 14.00x\n\n")
    before = files(home)
    code, _, err = paper("generate-partitions")
    assert code == 2
    assert "is stale: it lists 'none_such'" in err
    assert files(home) == before


def test_the_zoo_makes_partitions_once(tmp_path, built, capsys):
    shutil.copytree(built, tmp_path / "zoo")
    for state in ("written", "unchanged"):
        assert main(["zoo", "build", NAME, "-o", str(tmp_path / "zoo"), "--partitions"]) == 0
        assert f"2 partitions, {state}" in capsys.readouterr().out
