"""Chains on disk: gone on with, kept, made anew, removed, and never at the cost of others."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from inferonnx.errors import ModelError, UnavailableError, UsageError
from inferonnx.model.chain import (
    cut_chain,
    infer_value_types,
    load_chain,
    measure_operators,
    read_index,
    read_original,
    remove_chain,
)
from inferonnx.model.chain.making import JOURNAL
from machine import small_disk

node = helper.make_node
FLOAT = TensorProto.FLOAT
N_OPERATORS = 6
CUTS = [2, 4]
FEED = {"x": np.ones((2, 8), np.float32)}


@pytest.fixture
def model(build, save):
    """A chain of six operators with weights; its path."""
    rng = np.random.default_rng(0)
    values = ["x", *(f"v{i}" for i in range(N_OPERATORS))]
    nodes = [node("MatMul", [values[i], f"w{i}"], [values[i + 1]]) for i in range(N_OPERATORS)]
    weights = {f"w{i}": rng.standard_normal((8, 8)).astype(np.float32) for i in range(N_OPERATORS)}
    return save(build(nodes, {"x": (FLOAT, [2, 8])}, [values[-1]], weights))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "parts"


def cut(model, folder, cuts=CUTS, **more):
    return cut_chain(model, folder, cuts, prefix="m_split", strategy="test", **more)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


class Stop(Exception):
    """Raised by a progress that is interrupted."""


def stop_at(n):
    """Return a progress that is interrupted when it is told for the nth time."""
    told = []

    def progress(text):
        told.append(text)
        if len(told) == n:
            raise Stop

    return progress


def test_an_index_says_what_the_folder_holds(model, folder):
    chain = cut(model, folder, limit_bytes=7)
    facts = json.loads((folder / "index.json").read_bytes())
    assert facts["schema"] == "inferonnx.partitions/1"
    assert (facts["model"], facts["strategy"], facts["limit_bytes"]) == ("model.onnx", "test", 7)
    assert facts["partitions"][1] == {
        "file": "m_split1.onnx",
        "operators": [2, 4],
        "inputs": ["v1"],
        "outputs": ["v3"],
        "sha256": chain.links[1].sha256,
    }
    assert chain.cuts == tuple(CUTS)
    assert sorted(content(folder)) == ["index.json", *(f"m_split{i}.onnx" for i in range(3))]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_interrupt_leaves_no_index_and_the_next_run_goes_on(model, folder, n):
    with pytest.raises(Stop):
        cut(model, folder, progress=stop_at(n))
    assert read_index(str(folder)) is None
    with pytest.raises(UsageError, match="so it is not whole"):
        load_chain(folder)
    before = stamps(folder)
    files = [name for name in before if name.endswith(".onnx")]
    assert len(files) == n - 1
    chain = cut(model, folder)
    after = stamps(folder)
    assert all(after[name] == before[name] for name in files)  # they were not written again
    assert load_chain(folder, model_path=model) == chain
    assert JOURNAL not in after


def test_cut_otherwise_the_old_files_of_ours_go_and_others_stay(model, folder):
    cut(model, folder, [1, 2, 3, 4, 5])
    (folder / "notes.txt").write_text("mine")
    cut(model, folder, [3])
    assert sorted(content(folder)) == ["index.json", "m_split0.onnx", "m_split1.onnx", "notes.txt"]
    load_chain(folder)


def test_interrupted_while_cutting_otherwise_nothing_is_forgotten(model, folder):
    cut(model, folder, [1, 2, 3, 4, 5])
    with pytest.raises(Stop):
        cut(model, folder, [3], progress=stop_at(2))
    cut(model, folder, [3])
    assert sorted(content(folder)) == ["index.json", "m_split0.onnx", "m_split1.onnx"]


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_we_have_not_made_is_not_replaced(model, folder, tmp_path, kind):
    folder.mkdir()
    place = folder / "m_split1.onnx"
    if kind == "file":
        place.write_bytes(b"mine")
    elif kind == "link":
        (tmp_path / "mine").write_bytes(b"mine")
        place.symlink_to(tmp_path / "mine")
    else:
        place.mkdir()
    with pytest.raises(UsageError, match=r"m_split1\.onnx' is none of the files that were cut"):
        cut(model, folder)
    assert list(folder.iterdir()) == [place]
    assert kind == "folder" or place.read_bytes() == b"mine"


def test_a_file_that_was_changed_since_is_somebodys(model, folder):
    cut(model, folder)
    place = folder / "m_split1.onnx"
    place.write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"m_split1\.onnx' is damaged"):
        load_chain(folder)
    before = content(folder)
    with pytest.raises(UsageError, match="has changed since it was cut"):
        cut(model, folder)
    assert content(folder) == before


def test_a_file_that_is_missing_is_named_and_written_again(model, folder):
    cut(model, folder)
    (folder / "m_split1.onnx").unlink()
    with pytest.raises(ModelError, match=r"m_split1\.onnx' is missing"):
        load_chain(folder)
    cut(model, folder)
    load_chain(folder)


def test_no_folder_an_empty_one_and_another_models(model, folder, build, save, tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        load_chain(folder)
    folder.mkdir()
    with pytest.raises(UsageError, match="is empty"):
        load_chain(folder)
    cut(model, folder)
    other = save(build([node("Relu", ["x"], ["y"])], {"x": (FLOAT, [1])}, ["y"]), "other.onnx")
    with pytest.raises(UsageError, match=r"are of another model than .*other\.onnx"):
        load_chain(folder, model_path=other)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: "no json",
        lambda facts: [],
        lambda facts: facts | {"schema": "other/1"},
        lambda facts: facts | {"more": 1},
        lambda facts: facts | {"partitions": [{"file": "m_split0.onnx"}]},
        lambda facts: facts | {"partitions": facts["partitions"][1:]},
        lambda facts: facts | {"outputs": ["nothing"]},
        lambda facts: {
            **facts, "partitions": [facts["partitions"][0] | {"file": "../model.onnx"}],
        },
    ],
    ids=["text", "list", "schema", "key", "entry", "first missing", "output", "path"],
)  # fmt: skip
def test_an_index_that_is_none_is_refused_and_kept(model, folder, change):
    cut(model, folder)
    changed = change(json.loads((folder / "index.json").read_bytes()))
    text = changed if isinstance(changed, str) else json.dumps(changed)
    (folder / "index.json").write_text(text)
    before = content(folder)
    for tried in (lambda: load_chain(folder), lambda: cut(model, folder)):
        with pytest.raises(ModelError, match=r"index\.json"):
            tried()
    with pytest.raises(ModelError):
        remove_chain(str(folder))
    assert content(folder) == before


def test_removing_takes_what_we_made_and_the_folder_with_it(model, folder):
    cut(model, folder)
    assert remove_chain(str(folder)) == (4, ())
    assert not folder.exists()


def test_removing_keeps_what_is_not_ours(model, folder):
    cut(model, folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "m_split1.onnx").write_bytes(b"changed")
    removed = remove_chain(str(folder))
    assert removed == (3, ("m_split1.onnx", "notes.txt"))
    assert content(folder) == {"m_split1.onnx": b"changed", "notes.txt": b"mine"}


def test_removing_from_a_folder_of_somebody_else_does_nothing(folder):
    folder.mkdir()
    assert remove_chain(str(folder)) == (0, ())
    assert folder.exists()


def test_removing_what_an_interrupt_left(model, folder):
    with pytest.raises(Stop):
        cut(model, folder, progress=stop_at(3))
    with open(folder / JOURNAL, "ab") as file:
        file.write(b'["m_split2')  # the line of a process that was killed
    assert remove_chain(str(folder)) == (3, ())
    assert not folder.exists()


@pytest.mark.parametrize(
    "text",
    [b"", b"mine\n", b"mine", b"inferonnx.partitions/1, unfinished\nmine\n"],
    ids=["empty", "line", "no end", "second line"],
)
def test_a_journal_that_is_none_is_refused_and_kept(model, folder, text):
    folder.mkdir()
    (folder / JOURNAL).write_bytes(text)
    for tried in (lambda: cut(model, folder), lambda: remove_chain(str(folder))):
        with pytest.raises(ModelError, match="is no journal of partitions"):
            tried()
    assert content(folder) == {JOURNAL: text}


def test_a_disk_without_room_is_told_before_a_file_is_written(model, folder, monkeypatch):
    usage = shutil.disk_usage(os.path.dirname(model))
    original = read_original(model)
    infer_value_types(original)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(UnavailableError, match=r"take about .* has 10 B free"):
        cut(original, folder)
    assert content(folder) == {}


def test_a_disk_that_fills_up_keeps_what_was_done(model, tmp_path):
    page = os.sysconf("SC_PAGESIZE")
    with small_disk(tmp_path / "disk", n_bytes=40 * page, n_inodes=64) as disk:
        (disk / "ballast").write_bytes(bytes(28 * page))
        folder = disk / "parts"
        grown = onnx.load(model)
        grown.metadata_props.add(key="pad", value="p" * 2 * page)  # each file has it
        path = str(tmp_path / "grown.onnx")
        onnx.save(grown, path)
        with pytest.raises(UnavailableError, match="no space left"):
            cut(path, folder, [1, 2, 3, 4, 5])
        assert read_index(str(folder)) is None
        (disk / "ballast").unlink()
        cut(path, folder, [1, 2, 3, 4, 5])
        load_chain(folder, model_path=path)


def test_measuring_goes_on_where_it_was_and_is_done_once(model, tmp_path, monkeypatch):
    from inferonnx.model.chain import measuring

    original = read_original(model)
    infer_value_types(original)
    cache = str(tmp_path / "operators.json")
    with pytest.raises(Stop):
        measure_operators(original, FEED, cache=cache, progress=stop_at(4))
    begun = json.loads((tmp_path / "operators.json").read_bytes())["times_s"]
    assert len(begun) == 3
    figures = measure_operators(original, FEED, cache=cache)
    assert figures.times_s[:3] == tuple(begun)
    assert len(figures.times_s) == N_OPERATORS
    assert set(figures.value_bytes.values()) == {2 * 8 * 4}
    monkeypatch.setattr(measuring, "build_part", None)  # nothing is run a second time
    assert measure_operators(original, FEED, cache=cache) == figures


def test_figures_of_another_sample_or_onnxruntime_are_measured_anew(model, tmp_path):
    original = read_original(model)
    infer_value_types(original)
    path = tmp_path / "operators.json"
    measure_operators(original, FEED, cache=str(path))
    facts = json.loads(path.read_bytes())
    path.write_text(json.dumps(facts | {"onnxruntime": "0.1", "times_s": [9.0] * 6}))
    assert max(measure_operators(original, FEED, cache=str(path)).times_s) < 9


def test_a_file_of_another_kind_is_not_taken_for_figures(model, tmp_path):
    original = read_original(model)
    infer_value_types(original)
    path = tmp_path / "operators.json"
    path.write_text('{"mine": 1}')
    with pytest.raises(UsageError, match="is no file of operator figures"):
        measure_operators(original, FEED, cache=str(path))
    assert path.read_text() == '{"mine": 1}'
