"""paper.cache_stats and its counters: the real perf and the real simulator where they are."""

from __future__ import annotations

import csv
import subprocess
import sys
import time

import pytest

from inferonnx.errors import UnavailableError, UsageError
from inferonnx.paper import cache_stats, counters
from inferonnx.paper.cache_stats import TABLE, read_table
from inferonnx.paper.counters import Counter, Counts, parse_cachegrind, parse_perf
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


def test_the_simulator_counts_a_loop_by_its_length():
    tool("valgrind")

    def counted(n):
        return counters.cachegrind([tool("dd"), "if=/dev/zero", "of=/dev/null", f"count={n}"], say)

    def say(text):
        assert text.endswith(" s")

    one, two, three = counted(1000), counted(2000), counted(3000)
    first, second = two.less(one, 1000), three.less(two, 1000)
    assert first.cycles is None
    assert 10 < first.instructions < 10_000  # of a copy of 512 bytes
    assert abs(first.instructions - second.instructions) < 0.1 * first.instructions


def test_a_command_that_fails_is_told_with_what_it_said():
    with pytest.raises(UnavailableError, match="ended with code 3: no such model"):
        counters._run(
            [sys.executable, "-c", "import sys; print('no such model'); sys.exit(3)"],
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


@pytest.mark.parametrize("text", ["", "events: Ir\n", "events: Ir Dr\nsummary: 1\n"])
def test_a_simulator_without_totals_is_told(text):
    with pytest.raises(UnavailableError, match="no totals"):
        parse_cachegrind(text)


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
    assert counter.label.startswith("simulated by cachegrind (valgrind-3")
    assert counter.repeats


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    build(NAME, str(folder))
    return folder


def counting(*, label="counted by perf", repeats=False):
    """A counter that knows what processes it was given, and runs them for real."""
    asked = []

    def measure(argv, progress):
        progress("0 s")
        asked.append(int(argv[-1]))
        subprocess.run(argv, check=True)
        n = asked[-1]
        return Counts(1000 + 100 * n, 500 + 40 * n, 100 + 10 * n, 50 + 2 * n)

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
    assert asked == [1, 5]
    assert (row.instructions, row.cycles, row.instructions_per_cycle) == (100, 40, 2.5)
    assert (row.cache_references, row.cache_misses, row.miss_rate) == (10, 2, 0.2)
    with (tmp_path / "results" / TABLE).open() as file:
        (line,) = csv.DictReader(file)
    assert line["model"] == NAME
    assert line["method"] == "counted by perf"
    assert rows(zoo, tmp_path / "results", counter) == [(row, False)]
    assert asked == [1, 5]
    simulator, asked = counting(label="simulated", repeats=True)
    ((row, is_new),) = rows(zoo, tmp_path / "results", simulator)
    assert is_new
    assert asked == [1, 2]  # its counts repeat: one inference is enough
    assert read_table(str(tmp_path / "results" / TABLE)) == [row]


def test_no_model_is_begun_after_the_time(zoo, tmp_path):
    counter, asked = counting()
    assert rows(zoo, tmp_path, counter, limit_s=-1) == []
    assert asked == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "", "model,method\n"])
def test_a_table_of_someone_else_is_refused_and_stays(zoo, tmp_path, text):
    (tmp_path / TABLE).write_text(text)
    counter, asked = counting()
    with pytest.raises(UsageError, match="is no table of this command"):
        rows(zoo, tmp_path, counter)
    assert asked == []
    assert (tmp_path / TABLE).read_text() == text
