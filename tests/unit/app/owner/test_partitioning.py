"""Partitioning: cuts of each strategy, what is kept, what is compared, what is sealed."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

import inferonnx
from inferonnx.app.host.comparing import Difference
from inferonnx.app.owner import partitioning
from inferonnx.app.owner.partitioning import (
    STRATEGIES,
    check_partitions_agree,
    operator_peaks,
    partition,
    verify_partitions,
)
from inferonnx.cli import main
from inferonnx.errors import DifferenceError, InfeasibleBudgetError, UsageError
from inferonnx.model.chain import ChainSession

N_OPERATORS = 11


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "parts")


def test_own_peaks_are_weights_inputs_and_outputs(cnn):
    peaks = operator_peaks(str(cnn))
    assert [peak.type for peak in peaks][:3] == ["Conv", "Relu", "Conv"]
    image, maps = 3 * 16 * 16 * 4, 32 * 16 * 16 * 4
    assert peaks[0].weight_bytes == (32 * 3 * 3 * 3 + 32) * 4
    assert peaks[0].activation_bytes == image + maps
    assert peaks[0].peak_bytes == peaks[0].weight_bytes + peaks[0].activation_bytes
    assert (peaks[1].weight_bytes, peaks[1].activation_bytes) == (0, 2 * maps)
    assert all(peak.time_ms > 0 for peak in peaks)


def test_the_paper_splits_what_is_below_the_limit_in_half(cnn, folder):
    chain = partition(str(cnn), folder).chain
    assert (chain.strategy, chain.limit_bytes) == ("paper", 85_000_000)
    assert chain.cuts == (5,)
    assert [link.file for link in chain.links] == ["cnn_split0.onnx", "cnn_split1.onnx"]


def test_the_paper_adds_up_from_the_last_operator(cnn, folder):
    peaks = [peak.peak_bytes for peak in operator_peaks(str(cnn))]
    limit = max(peaks) * 2
    chain = partition(str(cnn), folder, limit_bytes=limit).chain
    bounds = [0, *chain.cuts, N_OPERATORS]
    sums = [sum(peaks[a:b]) for a, b in pairwise(bounds)]
    assert len(sums) > 2
    assert max(sums) <= limit
    # Each begins where the one before it, from the end, would have passed the limit.
    assert all(sums[i] + peaks[bounds[i] - 1] > limit for i in range(1, len(sums)))


@pytest.mark.parametrize("alone", [{"conv2"}, {4}, {"conv2", "unknown"}])
def test_memory_intensive_operators_stand_alone(cnn, folder, alone):
    chain = partition(str(cnn), folder, memory_intensive=alone).chain
    assert [4, 5] in [[link.start, link.stop] for link in chain.links]


@pytest.mark.parametrize(
    ("strategy", "n_files"), [("whole", 1), ("operators", N_OPERATORS), ("optimal", 1)]
)
def test_the_other_strategies(cnn, folder, strategy, n_files):
    chain = partition(str(cnn), folder, strategy=strategy).chain
    assert len(chain.links) == n_files
    assert chain.limit_bytes == (85 * 2**20 if strategy == "optimal" else None)
    _, difference = verify_partitions(str(cnn), folder)
    check_partitions_agree(difference)


def test_a_budget_that_nothing_fits_is_refused(cnn, folder):
    with pytest.raises(InfeasibleBudgetError):
        partition(str(cnn), folder, strategy="optimal", limit_bytes=2**20)
    with pytest.raises(UsageError, match="no strategy is called 'best'"):
        partition(str(cnn), folder, strategy="best")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_done_and_unchanged_is_kept_without_measuring(cnn, folder, strategy, monkeypatch):
    first = partition(str(cnn), folder, strategy=strategy)
    assert first.is_new
    monkeypatch.setattr(partitioning, "read_original", None)
    again = partition(str(cnn), folder, strategy=strategy)
    assert not again.is_new
    assert again.chain == first.chain


@pytest.mark.parametrize(
    "change",
    [
        {"limit_bytes": 10**6},
        {"memory_intensive": {"conv2"}},
        {"strategy": "whole"},
        {"sample": {"image": np.zeros((2, 3, 16, 16), np.float32)}},
    ],
    ids=["limit", "intensive", "strategy", "sample"],
)
def test_other_options_cut_anew(cnn, folder, change):
    partition(str(cnn), folder)
    assert partition(str(cnn), folder, **change).is_new
    assert not partition(str(cnn), folder, **change).is_new


def test_another_model_of_the_same_name_is_cut_anew(cnn, folder, tmp_path):
    path = tmp_path / "cnn.onnx"
    path.write_bytes(cnn.read_bytes())
    partition(str(path), folder)
    proto = onnx.load(path)
    proto.metadata_props.add(key="version", value="2")
    onnx.save(proto, path)
    with pytest.raises(UsageError, match="are of another model"):
        verify_partitions(str(path), folder)
    assert partition(str(path), folder).is_new
    verify_partitions(str(path), folder)


def test_a_chain_that_computes_something_else_is_told(cnn, tmp_path, monkeypatch, folder, capsys):
    partition(str(cnn), folder)
    index = json.loads((tmp_path / "parts" / "index.json").read_bytes())
    path = tmp_path / "parts" / index["partitions"][1]["file"]
    proto = onnx.load(path)
    weight = next(t for t in proto.graph.initializer if t.name == "dense")
    weight.raw_data = bytes(len(weight.raw_data))
    onnx.save(proto, path)
    from inferonnx.model.chain import file_sha256

    index["partitions"][1]["sha256"] = file_sha256(str(path))
    (tmp_path / "parts" / "index.json").write_text(json.dumps(index))
    _, difference = verify_partitions(str(cnn), folder)
    with pytest.raises(DifferenceError, match="another category"):
        check_partitions_agree(difference)
    assert main(["verify-partitions", str(cnn), folder]) == 4
    assert "another category than the model" in capsys.readouterr().err


def test_a_category_alone_or_a_value_alone_is_enough_to_refuse():
    check_partitions_agree(Difference())
    with pytest.raises(DifferenceError, match="another category"):
        check_partitions_agree(Difference(same_largest=False))
    with pytest.raises(DifferenceError, match="the results differ in a value"):
        check_partitions_agree(Difference(within=False, problem="a value"))


@pytest.mark.parametrize("strategy", ["whole", "paper", "operators"])
def test_exactly_the_partitions_are_sealed(cnn, folder, key_path, tmp_path, image, strategy):
    chain = partition(str(cnn), folder, strategy=strategy).chain
    key = inferonnx.Key.load(key_path)
    path = tmp_path / "m.sealed"
    report = inferonnx.seal(None, path, key=key, partitions=folder)
    plan = report.planned.plan
    # A file that the optimiser empties, or merges into what is before it, stays one partition.
    assert len(plan.partitions) == len(chain.links)
    assert plan.budget_bytes == report.planned.least_bytes
    with inferonnx.open(path, key=key, memory="8GiB") as session:
        got = session.run(None, {"image": image})[0]
    want = ChainSession(chain).run({"image": image}).outputs["scores"]
    assert np.allclose(got, want, rtol=1e-4, atol=1e-4)
    with inferonnx.seal(cnn, path, key=key, partitions=folder, memory="85MiB").planned.prepared:
        pass
    assert inferonnx.open(path, key=key, memory="8GiB").run(None, {"image": image})


def test_partitions_that_cannot_be_sealed(cnn, folder, key_path, tmp_path, capsys):
    seal = ["seal", "-o", str(tmp_path / "m.sealed"), "--key", str(key_path)]
    assert main(seal) == 2
    assert "there is no model to seal" in capsys.readouterr().err
    assert main([*seal, "--partitions", folder]) == 2
    assert "there is no folder" in capsys.readouterr().err
    partition(str(cnn), folder, strategy="whole")
    other = tmp_path / "other.onnx"
    proto = onnx.load(cnn)
    proto.doc_string = "another"
    onnx.save(proto, other)
    assert main([*seal, str(other), "--partitions", folder]) == 2
    assert "of another model" in capsys.readouterr().err
    assert main([*seal, "--partitions", folder, "--memory", "1MiB"]) == 6
    assert not (tmp_path / "m.sealed").exists()
    file = os.path.join(folder, "cnn_split0.onnx")
    before = Path(file).read_bytes()
    assert main(["seal", "-o", file, "--key", str(key_path), "--partitions", folder]) == 2
    assert Path(file).read_bytes() == before


def test_the_verbs_say_what_they_did(cnn, folder, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["partition", str(cnn), "-o", folder]) == 0
    out, err = capsys.readouterr()
    assert "2 partitions (paper, limit 81.1 MiB), written" in out
    assert "no operator stands alone" in err
    assert main(["partition", str(cnn), "-o", folder]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert main(["verify-partitions", str(cnn), folder, "--samples", "2"]) == 0
    assert "same category       yes" in capsys.readouterr().out
    (tmp_path / "memory_intensive_ops").mkdir()
    listing = tmp_path / "memory_intensive_ops" / "operator_overhead.txt"
    listing.write_text("Heaviest operators for cnn:\nconv2: 13.00x\n\n")
    assert main(["partition", str(cnn), "-o", folder]) == 0
    assert "3 partitions" in capsys.readouterr().out
    assert main(["partition", str(cnn), "-o", str(cnn)]) == 2
    assert "is no folder" in capsys.readouterr().err
