"""Results as values: what is found, filled in and refused."""

from __future__ import annotations

import pytest

from inferonnx.errors import UsageError
from inferonnx.report.results import checked_peers, checked_results, limit_text, middle
from paper_samples import LABEL, LIMIT, paper_peers, paper_results

MIB72 = 72 * 2**20


def test_a_row_is_found_under_the_limit_of_the_whole_and_under_another():
    results = checked_results(paper_results())
    usual = results.row("resnet152-v2-7", "stream-tee")
    other = results.row("resnet152-v2-7", "stream-tee", limit_bytes=MIB72)
    assert usual is not None
    assert other is not None
    assert (usual.limit_bytes, other.limit_bytes) == (LIMIT, MIB72)
    free = results.row("resnet152-v2-7", "stream-free", limit_bytes=MIB72)
    assert free is results.row("resnet152-v2-7", "stream-free")
    assert results.row("squeezenet1.0-7", "stream-tee", limit_bytes=MIB72) is None
    assert results.row("nobody", "stream-tee") is None


def test_the_middle_of_the_runs_counts():
    row = checked_results(paper_results()).row("squeezenet1.0-7", "entire-disk-tee")
    assert row is not None
    assert row.ms == 60.0
    assert middle(None) is None
    assert middle(()) is None


def test_what_may_be_missing_is_filled_in():
    least = {"schema": "inferonnx.paper/1", "label": LABEL, "rows": [{"model": "m"}]}
    least["rows"][0]["configuration"] = "stream-tee"
    results = checked_results(least)
    assert (results.limit_bytes, results.runs, results.fault) == (None, 0, None)
    assert results.rows[0].ms is None
    assert checked_results(least | {"rows": []}).rows == ()


def test_machine_facts_become_text_and_others_go():
    machine = {"cpu": "x", "cores": 2, "memory_bytes": 2**31, "vector": ["a", "b"], "odd": {"y": 1}}
    results = checked_results(paper_results(machine=machine))
    assert results.machine == {
        "cpu": "x",
        "cores": "2",
        "memory_bytes": "2.0 GiB",
        "vector": "a, b",
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": "inferonnx.paper/2"}, "schema 'inferonnx.paper/1'"),
        ({"label": None}, "label is 'None', but must be text"),
        ({"limit_bytes": -1}, "limit_bytes is '-1', but must be a whole number"),
        ({"rows": {}}, "rows is not a list"),
        ({"rows": [1]}, r"rows\[0\] is not an object"),
        ({"rows": [{"model": "m"}]}, r"has no rows\[0\].configuration"),
        ({"fault": 1}, "fault is not an object"),
    ],
)
def test_wrong_results_are_refused_with_the_place(change, sentence):
    with pytest.raises(UsageError, match=sentence):
        checked_results(paper_results(**change))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("total_ms", [1.0, float("nan")]),
        ("total_ms", [-1.0]),
        ("total_ms", 3.0),
        ("total_ms", None),
        ("partition_ms", [1.0]),
        ("partition_ms", [[1.0], ["x"]]),
        ("peak_bytes", 1.5),
        ("error", 7),
        ("cold", 0),
    ],
)
def test_a_wrong_value_in_a_row_is_refused_with_the_place(key, value):
    data = paper_results()
    data["rows"][3][key] = value
    with pytest.raises(UsageError, match=rf"rows\[3\].{key} is"):
        checked_results(data)


def test_peers_are_read_and_refused_alike():
    peers = checked_peers(paper_peers())
    assert peers.rows[0].engine == "tract"
    with pytest.raises(UsageError, match="the peers file is not an object"):
        checked_peers({})
    with pytest.raises(UsageError, match=r"rows\[0\].latency_ms"):
        checked_peers(paper_peers(rows=[{"model": "m", "engine": "e", "latency_ms": "1"}]))


def test_a_limit_is_told_with_how_it_was_held():
    assert limit_text("SGX", 85 * 2**20) == "SGX, 85 MiB"
    assert limit_text("l", 85_000_000) == "l, 81.1 MiB"
    assert limit_text("no limit enforced", None) == "no limit enforced"
