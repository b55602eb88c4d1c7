"""Profiles of a real model: exact memory, times, and what is said where no limit is enforced."""

from __future__ import annotations

import json

import pytest

from inferonnx.bench.profile import _spent, profile_model
from inferonnx.cli import main
from inferonnx.epc import unlimited
from inferonnx.errors import InferonnxError
from inferonnx.report import profile_page

EPC = 85 * 2**20


@pytest.fixture(scope="module")
def facts(cnn):
    return profile_model(str(cnn), epc_bytes=EPC)


def test_memory_adds_up(facts):
    for one in facts["operators"]:
        assert one["peak_bytes"] == one["weights_bytes"] + one["activation_bytes"]
        assert one["alive_bytes"] <= facts["activation_bytes"]
    assert max(one["alive_bytes"] for one in facts["operators"]) == facts["activation_bytes"]
    entire = facts["weights_bytes"] + facts["activation_bytes"]
    assert facts["entire_peak_bytes"] == entire
    assert facts["weights_bytes"] <= sum(one["weights_bytes"] for one in facts["operators"])


def test_every_operator_of_the_original_graph_is_there(facts, cnn):
    import onnx

    nodes = [node for node in onnx.load(cnn).graph.node if node.op_type != "Constant"]
    assert [one["type"] for one in facts["operators"]] == [node.op_type for node in nodes]
    assert [one["index"] for one in facts["operators"]] == list(range(len(nodes)))


def test_without_a_limit_inside_is_unknown_and_none_is_claimed(facts):
    assert (facts["limit_bytes"], facts["label"]) == (None, "no limit enforced")
    assert {one["inside_ms"] for one in facts["operators"]} == {None}
    assert all(one["outside_ms"] >= 0 for one in facts["operators"])
    assert facts["model"] in profile_page(facts)


def test_a_process_of_its_own_times_each_operator_and_counts_its_faults(cnn, tmp_path):
    import numpy as np

    from inferonnx.app.owner.partitioning import partition
    from inferonnx.model.chain import choose_sample, read_original

    original = read_original(str(cnn))
    np.savez(tmp_path / "sample.npz", **choose_sample(original, sample=None))
    chain = partition(str(cnn), str(tmp_path / "ops"), strategy="operators").chain
    n_operators = len(original.operators)
    spent = _spent(chain, str(tmp_path / "sample.npz"), unlimited(), n_operators)
    assert len(spent) == n_operators
    assert all(one.ms > 0 for one in spent)
    assert all(one.faults == 0 for one in spent)  # nothing was paged out


def test_an_error_in_that_process_comes_back(cnn, tmp_path):
    from inferonnx.app.owner.partitioning import partition

    chain = partition(str(cnn), str(tmp_path / "ops"), strategy="operators").chain
    with (tmp_path / "ops" / chain.links[0].file).open("ab") as file:
        file.write(b"x")
    with pytest.raises(InferonnxError, match="is damaged"):
        _spent(chain, "nowhere.npz", unlimited(), 1)


def test_the_command_prints_a_table_and_writes_a_page(cnn, tmp_path, capsys):
    page = tmp_path / "profile.html"
    assert main(["profile", str(cnn), "--html", str(page)]) == 0
    out, err = capsys.readouterr()
    assert "entire model at once" in out
    assert "no limit enforced" in out
    assert f"wrote {page}" in err
    assert "InferONNX profile" in page.read_text()


def test_the_command_prints_its_schema(cnn, capsys):
    assert main(["profile", str(cnn), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "inferonnx.profile/1"


@pytest.mark.parametrize("words", [["nowhere.onnx"], ["nowhere.onnx", "--input", "no.npz"]])
def test_what_is_not_there_is_one_line_and_exit_code_2(words, capsys):
    assert main(["profile", *words]) == 2
    assert capsys.readouterr().err.startswith("inferonnx: error: ")


def test_the_model_is_never_overwritten(cnn, capsys):
    before = cnn.read_bytes()
    assert main(["profile", str(cnn), "--html", str(cnn)]) == 2
    assert cnn.read_bytes() == before
