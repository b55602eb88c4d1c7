"""paper.cache_stats and its counters: the real perf and the real simulator where they are."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import pytest

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.paper import cache_stats, counters
from inferonnx.paper.cache_stats import TABLE, read_table
from inferonnx.paper.counters import Counter, Counts, parse_callgrind, parse_perf
from inferonnx.zoo import build
from machine import tool

NAME = "squeezenet1.0-7"
PERF = """\
# started on Fri Nov 27 21:00:00 2026

1234567,,cycles:u,1000000,100.00,,
2469134,,instructions:u,1000000,100.00,2.00,insn per cycle
<not supported>,,cache-references:u,0,100.00,,
<not counted>,,cache-misses,0,0.00,,
"""


def test_perfs_lines_are_read_and_what_is_not_supported_is_none():
    assert parse_perf(PERF) == {
        "cycles": 1234567,
        "instructions": 2469134,
        "cache-references": None,
        "cache-misses": None,
    }
    assert parse_perf("") == {}


def test_the_real_perf_is_read():
    """Software events, which every kernel counts, in the same form."""
    command = [tool("perf"), "stat", "-x,", "-e", "page-faults:u", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"perf may not count here: {done.stderr.strip()}")
    assert parse_perf(done.stderr)["page-faults"] > 10


def product(folder, rows):
    """The files of a model that is one product of `rows` x 256 and 256 x 256."""
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [rows, 256])
        for name in "xy"
    ]
    weights = onnx.numpy_helper.from_array(np.ones((256, 256), np.float32), "w")
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(model, folder / f"{rows}.onnx")
    np.savez(folder / f"{rows}.npz", x=np.ones((rows, 256), np.float32))
    return [str(folder / f"{rows}.onnx"), str(folder / f"{rows}.npz")]


def test_the_simulator_counts_inferences_and_no_loading(tmp_path):
    tool("valgrind")
    said = []

    def counted(rows, runs):
        words = [sys.executable, "-m", "inferonnx.bench.counted", *product(tmp_path, rows)]
        return counters.callgrind(words, runs, said.append)

    one, more, two = counted(64, 1), counted(256, 1), counted(64, 2)
    fused = 64 * 256 * 256 / 8  # of eight multiplications and additions each
    assert one.cycles is None
    # To import numpy and onnxruntime takes hundreds of millions.
    assert fused < one.instructions < 4 * fused + 2e6
    assert 3 * fused < more.instructions - one.instructions < 6 * fused
    assert fused < two.instructions < one.instructions
    assert 256 * 256 * 4 / 64 < one.misses <= one.references  # the caches were empty
    assert {text.partition(",")[0] for text in said} == {"loading", "counting"}


def test_a_simulator_that_can_not_be_reached_is_told(monkeypatch):
    tool("valgrind")
    with pytest.raises(UnavailableError, match="can't reach the simulator"):
        counters._switch_on(os.getpid())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match="can't reach the simulator") as caught:
        counters._switch_on(os.getpid())
    assert "callgrind_control -i on" in caught.value.hint


def test_perf_counts_what_more_inferences_take(monkeypatch):
    def whole(argv, _progress):
        n = int(argv[-1])
        return Counts(1000 + 100 * n, 500 + 40 * n, 100 + 10 * n, 50 + 2 * n)

    monkeypatch.setattr(counters, "_perf", whole)
    assert counters.perf(["counted"], 4, lambda _: None) == Counts(100, 40, 10, 2)


def test_a_command_that_fails_is_told_with_what_it_said():
    with pytest.raises(UnavailableError, match="ended with code 1: no such model"):
        counters._run(
            [sys.executable, "-c", "import sys; sys.exit('no such model')"],
            lambda _: None,
        )


def test_an_interrupt_ends_the_command():
    class Enough(Exception):
        pass

    def progress(_):
        if time.monotonic() - began > 1:
            raise Enough

    began = time.monotonic()
    with pytest.raises(Enough):
        counters._run([sys.executable, "-c", "import time; time.sleep(60)"], progress)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("totals", ["", "events: Ir\n", "totals: 1\n", "totals: 0 0\n"])
def test_a_simulator_without_totals_is_told(totals):
    with pytest.raises(UnavailableError, match="no totals"):
        parse_callgrind("events: Ir Dr\n" + totals)


def test_the_difference_of_counts_is_shared_among_runs():
    more, less = Counts(110, 60, 12, 5), Counts(10, 10, 2, 1)
    assert more.less(less, 2) == Counts(50, 25, 5, 2)
    assert more.less(Counts(10, None, 2, 1), 2).cycles is None


def test_perf_is_chosen_where_cycles_are_counted_and_else_the_simulator(monkeypatch):
    monkeypatch.setattr(counters, "_perf_counts_cycles", lambda: True)
    assert counters.choose_counter().label == "counted by perf"
    monkeypatch.setattr(counters, "_perf_counts_cycles", lambda: False)
    monkeypatch.setattr(counters.shutil, "which", lambda _: None)
    with pytest.raises(UnavailableError, match="no simulator") as caught:
        counters.choose_counter()
    assert "valgrind" in caught.value.hint


def test_the_simulator_is_labelled(monkeypatch):
    tool("valgrind")
    monkeypatch.setattr(counters, "_perf_counts_cycles", lambda: False)
    counter = counters.choose_counter()
    assert counter.label.startswith("simulated by callgrind (valgrind-3")
    assert counter.repeats


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    build(NAME, str(folder))
    return folder


def counting(*, label="counted by perf", repeats=False):
    """A counter that knows what it was asked for, and has it run for real."""
    asked = []

    def measure(command, runs, progress):
        progress("0 s")
        asked.append(runs)
        subprocess.run([*command, "1"], check=True, stdin=subprocess.DEVNULL)
        return Counts(100, 40, 10, 2)

    return Counter(label, repeats, measure), asked


def rows(zoo, folder, counter, **changes):
    return list(
        cache_stats.cache_stats(
            [NAME], 4, counter=counter, folder=str(folder), zoo=str(zoo), **changes
        )
    )


def test_a_row_has_the_figures_of_one_inference_and_stays(zoo, tmp_path):
    counter, asked = counting()
    ((row, is_new),) = rows(zoo, tmp_path / "results", counter)
    assert is_new
    assert asked == [4]
    assert (row.instructions, row.cycles, row.instructions_per_cycle) == (100, 40, 2.5)
    assert (row.cache_references, row.cache_misses, row.miss_rate) == (10, 2, 0.2)
    with (tmp_path / "results" / TABLE).open() as file:
        (line,) = csv.DictReader(file)
    assert line["model"] == NAME
    assert line["method"] == "counted by perf"
    assert line["instructions"] == "100"
    assert rows(zoo, tmp_path / "results", counter) == [(row, False)]
    assert asked == [4]
    simulator, asked = counting(label="simulated", repeats=True)
    ((row, is_new),) = rows(zoo, tmp_path / "results", simulator)
    assert is_new
    assert asked == [1]  # its counts repeat: one inference is enough
    assert read_table(str(tmp_path / "results" / TABLE)) == [row]


def test_no_model_is_begun_after_the_time(zoo, tmp_path):
    counter, asked = counting()
    assert rows(zoo, tmp_path, counter, limit_s=-1) == []
    assert asked == []


def test_an_interrupt_ends_what_is_being_counted(zoo, tmp_path):
    class Enough(Exception):
        pass

    ended = []

    def measure(_command, _runs, progress):
        try:
            while True:
                progress("counting")
                time.sleep(0.01)
        finally:
            ended.append(True)

    def progress(text):
        if text:
            assert text == f"{NAME}: counting"
            raise Enough

    for repeats in (False, True):
        with pytest.raises(Enough):
            rows(zoo, tmp_path, Counter("one", repeats, measure), progress=progress)
    assert ended == [True, True]
    assert not (tmp_path / TABLE).exists()


def test_nothing_is_counted_for_a_folder_that_can_not_be_written(zoo, tmp_path, monkeypatch):
    counter, asked = counting()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="Not a directory"):
        rows(zoo, tmp_path / "file" / "results", counter)
    monkeypatch.setattr(cache_stats.os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(UnavailableError, match="Permission denied"):
        rows(zoo, tmp_path, counter)
    assert asked == []


def test_a_counter_that_fails_ends_the_others(zoo, tmp_path, monkeypatch):
    other = "mobilenetv2-7"
    build(other, str(zoo))
    monkeypatch.setattr(cache_stats, "cores", lambda: 2)
    both = threading.Barrier(2, timeout=30)

    def measure(command, _runs, progress):
        both.wait()
        if other in command[-2]:
            raise UnavailableError("no counts")
        while True:
            progress("counting")
            time.sleep(0.01)

    with pytest.raises(UnavailableError, match="no counts"):
        list(
            cache_stats.cache_stats(
                [NAME, other],
                counter=Counter("simulated", True, measure),
                folder=str(tmp_path),
                zoo=str(zoo),
            )
        )


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "model,method\n"])
def test_a_table_of_someone_else_is_refused_and_stays(zoo, tmp_path, text):
    (tmp_path / TABLE).write_text(text)
    counter, asked = counting()
    with pytest.raises(UsageError, match="is no table of this command"):
        rows(zoo, tmp_path, counter)
    assert asked == []
    assert (tmp_path / TABLE).read_text() == text
