import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import inferonnx
from inferonnx.app.host.opening import open_unplanned
from inferonnx.app.owner.plan_report import plan_facts
from inferonnx.app.owner.planning import least_memory, memory_intensive_operators, plan_model
from inferonnx.app.owner.sealing import layout_for
from inferonnx.cli import main
from inferonnx.errors import InfeasibleBudgetError, TargetError, UsageError
from inferonnx.model import prepare
from inferonnx.plan import choose_resident
from inferonnx.runtime.process import forget_peak, peak_resident_bytes
from inferonnx.sizes import MIB


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Six products of 4 MiB each: more than the engine takes to be opened."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((1024, 1024), np.float32) / 32, f"w{i}")
        for i in range(6)
    ]
    nodes = [
        helper.make_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"], name=f"dense{i}")
        for i in range(6)
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("v0", TensorProto.FLOAT, [1, 1024])],
        [helper.make_tensor_value_info("v6", TensorProto.FLOAT, [1, 1024])],
        weights,
    )
    path = tmp_path_factory.mktemp("wide") / "wide.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


SLACK_BYTES = 4 * MIB
SLACK = 0.1


def test_the_predicted_peak_is_the_measured_one(cnn, key_path, image, tmp_path, capsys):
    assert (
        main(["seal", str(cnn), "-o", str(tmp_path / "m"), "--key", str(key_path), "--json"]) == 0
    )
    predicted = json.loads(capsys.readouterr().out)["predicted_peak_bytes"]
    np.savez(tmp_path / "in.npz", image=image)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "inferonnx", "run", str(tmp_path / "m"), "--json"),
            *("--key", str(key_path), "--input", str(tmp_path / "in.npz"), "--repeat", "3"),
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
    )
    facts = json.loads(done.stdout)
    above_floor = facts["peak_rss_bytes"] - facts["floor_bytes"]
    assert abs(facts["peak_rss_bytes"] - predicted) <= max(SLACK_BYTES, SLACK * above_floor)
    assert facts["peak_rss_bytes"] <= facts["budget_bytes"]


@pytest.mark.parametrize("budget", [0, 20 * MIB, 34 * MIB])
def test_a_budget_that_nothing_fits_names_the_operator_and_what_is_enough(cnn, budget):
    with prepare(cnn) as prepared:
        with pytest.raises(InfeasibleBudgetError) as caught:
            plan_model(prepared, budget_bytes=budget)
        assert caught.value.node
        assert budget < caught.value.needed_bytes < 80 * MIB
        enough = plan_model(prepared, budget_bytes=caught.value.needed_bytes + MIB)
    assert enough.peak_bytes <= enough.plan.budget_bytes


def test_the_least_budget_works_and_less_does_not(cnn, key_path, tmp_path):
    with prepare(cnn) as prepared:
        least = least_memory(prepared)
    key = inferonnx.Key.load(key_path)
    inferonnx.seal(cnn, tmp_path / "m", key=key, memory=least + MIB)
    with pytest.raises(InfeasibleBudgetError):
        inferonnx.seal(cnn, tmp_path / "n", key=key, memory=least - 4 * MIB)
    assert not (tmp_path / "n").exists()


def test_a_file_runs_at_the_least_budget_that_it_tells(wide, key_path, tmp_path, capsys):
    path, where = str(tmp_path / "m"), ["--key", str(key_path)]
    assert main(["seal", str(wide), "-o", path, *where, "--memory", "64MiB", "--json"]) == 0
    least = json.loads(capsys.readouterr().out)["least_bytes"]
    np.save(tmp_path / "in.npy", np.ones((1, 1024), np.float32))
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "inferonnx", "run", path, *where, "--json"),
            *("--input", str(tmp_path / "in.npy"), "--memory", str(least), "--repeat", "3"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["peak_rss_bytes"] <= least


PARTS = ("floor", "session", "buffer", "resident", "activation")


def in_a_pass(facts):
    return sum(facts[f"{part}_bytes"] for part in PARTS)


@pytest.mark.parametrize("strategy", ["optimal", "paper"])
def test_of_a_tiny_model_opening_is_the_peak_and_the_least(cnn, strategy, capsys):
    command = ["plan", str(cnn), "--memory", "80MiB", "--strategy", strategy]
    assert main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert in_a_pass(facts) < facts["open_peak_bytes"]
    assert facts["least_bytes"] == facts["peak_bytes"] == facts["open_peak_bytes"]
    assert facts["budget_bytes"] == 80 * MIB
    assert (facts["streamed_bytes"], facts["buffer_bytes"]) == (0, 0)  # as the engine will do
    assert main(command) == 0
    assert "of 80.0 MiB (while it is opened; in a pass " in capsys.readouterr().out


@pytest.mark.parametrize("budget", [1, 50, 64, 200], ids=lambda mib: f"{mib} MiB")
@pytest.mark.parametrize("strategy", ["optimal", "paper"])
def test_a_plan_is_one_with_itself_and_with_the_engine(wide, strategy, budget, key_path, tmp_path):
    with prepare(wide) as prepared:
        planned = plan_model(prepared, budget_bytes=budget * MIB, strategy=strategy, enforce=False)
    facts = plan_facts(planned, model="wide", suite="aes-256-gcm")
    assert facts["peak_bytes"] == max(in_a_pass(facts), facts["open_peak_bytes"])
    assert facts["least_bytes"] <= facts["peak_bytes"]
    assert facts["budget_bytes"] == budget * MIB
    fits = facts["least_bytes"] <= facts["budget_bytes"]
    assert fits == (facts["peak_bytes"] <= facts["budget_bytes"]) == (budget > 1)
    measured = planned.trial.floor_bytes + planned.trial.pass_bytes + planned.margin_bytes
    assert in_a_pass(facts) == measured + facts["buffer_bytes"] + facts["resident_bytes"]
    blocks = [partition.block_bytes for partition in planned.draft.partitions]
    if fits:
        kept, buffer_bytes = choose_resident(blocks, available_bytes=budget * MIB - measured)
        assert (facts["buffer_bytes"], facts["resident_bytes"]) == (
            buffer_bytes,
            sum(blocks[i] for i in kept),
        )
    else:
        assert (facts["buffer_bytes"], facts["resident_bytes"]) == (max(blocks), 0)


def test_the_papers_plan_is_shown_and_sealed(cnn, key_path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", str(cnn), "--strategy", "paper", "--json"]) == 0
    output = capsys.readouterr()
    facts = json.loads(output.out)
    assert facts["strategy"] == "paper"
    assert len(facts["partitions"]) == 2  # its sum is below the limit: split in half
    assert "no operator stands alone" in output.err
    (tmp_path / "memory_intensive_ops").mkdir()
    (tmp_path / "memory_intensive_ops" / "operator_overhead.txt").write_text(
        "Heaviest operators for cnn:\nconv2: 13.50x\nconv1: 12.00x\n\n"
    )
    assert main(["plan", str(cnn), "--strategy", "paper", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)["partitions"]
    assert ["conv2"] in [[op["name"] for op in part["operators"]] for part in alone]
    seal = ["seal", str(cnn), "-o", "p.sealed", "--key", str(key_path), "--strategy", "paper"]
    assert main(seal) == 0
    with open_unplanned("p.sealed", key=inferonnx.Key.load(key_path)) as session:
        assert session.figures.n_partitions == len(alone)


def test_listed_operators_above_the_limit_are_memory_intensive(tmp_path):
    path = tmp_path / "o.txt"
    path.write_text("Heaviest operators for a:\nx: 12.01x\ny: 12.00x\n\n")
    assert memory_intensive_operators(str(path), "a") == {"x"}
    assert memory_intensive_operators(str(path), "b") == frozenset()
    with pytest.raises(UsageError):
        memory_intensive_operators(str(tmp_path / "none"), "a")


def test_a_generic_target_has_no_cpu_layout(cnn, key_path, tmp_path):
    key = inferonnx.Key.load(key_path)
    report = inferonnx.seal(cnn, tmp_path / "m", key=key, memory="85MiB", target="generic")
    assert report.planned.prepared.layout == "generic"
    assert report.planned.prepared.probe is None


def test_an_unknown_target_is_refused():
    with pytest.raises(TargetError, match="no target"):
        layout_for("riscv", "optimal")


def test_forgetting_the_peak_begins_again():
    before = peak_resident_bytes()
    block = bytearray(64 * MIB)
    assert peak_resident_bytes() >= before
    del block
    forget_peak()
    assert peak_resident_bytes() < before + 64 * MIB
