"""The report of the paper's results as text; tests/e2e/test_report_page.py opens it."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from base64 import b64encode

import pytest

from inferonnx.errors import UnavailableError
from inferonnx.report import draw_paper
from inferonnx.report.paper_page import paper_page
from inferonnx.report.paper_tables import (
    every_run,
    figure_values,
    peers_sheet,
    spread_text,
    table_2,
    within_limits,
)
from inferonnx.report.results import checked_peers, checked_results
from paper_samples import paper_peers, paper_results

EVIL = "</script><script>alert(1)</script><!--{{style}} \"'& \ud800 \x00"


def page(peers=None, **changes):
    others = None if peers is None else checked_peers(peers)
    return paper_page(checked_results(paper_results(**changes)), others)


def test_the_same_results_give_the_same_page():
    assert page(paper_peers()) == page(paper_peers())


def test_the_page_loads_nothing_and_its_policy_allows_its_own_blocks_alone():
    text = page(paper_peers())
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        block = text.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
        digest = b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert " style=" not in text  # the policy would not let it be


def test_strings_of_the_results_never_become_markup():
    data = paper_results(label=EVIL, started=EVIL, partitions_folder=EVIL, machine={EVIL: EVIL})
    for row in data["rows"][:3]:
        row |= {"error": EVIL, "label": EVIL, "configuration": EVIL}
    data["rows"].append(data["rows"][0] | {"model": EVIL})
    peers = paper_peers(label=EVIL)
    peers["rows"][0] |= {"engine": EVIL, "form": EVIL, "error": EVIL, "latency_ms": []}
    text = paper_page(checked_results(data), checked_peers(peers))
    assert "<script>alert" not in text
    assert text.count("<script") == 2
    assert text.count("{{style}}") > 5  # it was filled in, and never searched for slots
    assert "\x00" not in text
    text.encode()


def test_the_data_is_whole_and_says_what_was_not_measured():
    data = paper_results()
    data["rows"][1] |= {"total_ms": [], "error": "killed"}
    text = paper_page(checked_results(data))
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', text)[1])
    assert [chart["id"] for chart in charts] == [
        f"figure{number}_{panel}_models" for number in (4, 5) for panel in ("small", "large")
    ]
    first = charts[0]["values"][0]  # SqueezeNet, whose base is 10 ms, in memory not measured
    assert [bar and bar["ms"] for bar in first] == [60.0, None, 20.0, 25.0, 15.0]
    assert first[0]["runs"] == [60.0, 57.0, 66.0]
    assert "killed" in text


def test_tables_have_ratios_of_medians():
    results = checked_results(paper_results())
    rows = table_2(results).rows
    assert rows[0] == ("SqueezeNet 1.0", "10.0", "12.0", "1.20×", "18.0", "1.80×")
    assert rows[-1] == ("Median", "", "", "1.20×", "", "1.80×")
    assert len(rows) == 9
    limits = within_limits(results).rows
    assert [row[1] for row in limits] == ["85 MiB"] * 8 + ["72 MiB"] * 2
    squeezenet = ("40.0 ms", "20,000 faults"), ("15.0 ms", "0 faults"), "2.67×", "14.0", "1.07×"
    assert limits[0][2:] == squeezenet
    assert figure_values(results, 5).rows[6] == ("ResNet-152 V2", "1,200", "600", "300")
    assert len(every_run(results).rows) == len(results.rows)


def test_without_an_enforced_limit_rows_are_found_and_none_is_claimed():
    data = paper_results(label="no limit enforced", limit_bytes=None)
    data["rows"] = [row | {"limit_bytes": None, "label": data["label"]} for row in data["rows"]]
    results = checked_results(data)
    assert within_limits(results).rows[0][1] == "none"
    text = paper_page(results)
    assert "In place of a TEE: no limit enforced" in text
    assert "enforced by cgroup" not in text


def test_peers_stand_beside_us_with_their_ratio():
    sheet = peers_sheet(checked_peers(paper_peers()))
    assert sheet.heads[1] == "inferonnx: stream, disk-encrypted"
    cells = dict(zip(sheet.heads, sheet.rows[0], strict=True))
    assert cells["tract: entire, memory"] == ("80.0 ms", "5.33×", "280 MiB")
    assert cells["inferonnx: stream, disk-encrypted"] == ("15.0 ms", "", "84 MiB")
    failed = paper_peers()
    failed["rows"][0] |= {"latency_ms": [], "error": "no such operator"}
    row = peers_sheet(checked_peers(failed)).rows[0]
    assert ("failed", "no such operator") in row


def test_models_beyond_the_paper_have_a_row_and_no_bar():
    data = paper_results()
    data["rows"].append(data["rows"][0] | {"model": "another"})
    results = checked_results(data)
    assert every_run(results).rows[-1][0] == "another"
    assert "another" not in json.dumps(figure_values(results, 4))


def test_empty_results_still_are_a_page():
    text = page(rows=[], fault=None, seconds=None)
    assert "Table 2" not in text
    assert "In place of a TEE" in text


@pytest.mark.parametrize(
    ("values", "text"), [((), "–"), ((1,), "–"), ((0, 0), "–"), ((1, 2, 3), "100%")]
)
def test_a_spread_needs_two_runs(values, text):
    assert spread_text(values) == text


def test_the_report_is_written_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UnavailableError):
        draw_paper(paper_results(), tmp_path, peers=paper_peers())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
