"""Figures drawn again from files of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inferonnx.cli import main
from inferonnx.errors import UsageError
from inferonnx.paper.reporting import redraw
from paper_samples import paper_peers, paper_results

pytest.importorskip("matplotlib", reason="pip install '.[paper]'")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(paper_results()))
    return path


def test_files_go_beside_the_results(results):
    paths = redraw(str(results))
    assert {Path(path).parent for path in paths} == {results.parent}
    assert all(Path(path).is_file() for path in paths)


def test_files_go_where_they_shall(results, tmp_path):
    paths = redraw(str(results), folder=str(tmp_path / "new" / "place"))
    assert {Path(path).parent for path in paths} == {tmp_path / "new" / "place"}


def test_peers_beside_the_results_are_read(results):
    (results.parent / "peers.json").write_text(json.dumps(paper_peers(schema="other")))
    with pytest.raises(UsageError, match="the peers file"):
        redraw(str(results))


@pytest.mark.parametrize(
    ("content", "sentence"), [("{", "is no JSON"), ("[]", "no JSON object"), ("{}", "schema")]
)
def test_a_file_that_is_no_results_is_refused(tmp_path, content, sentence):
    path = tmp_path / "paper.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=sentence):
        redraw(str(path))


def test_the_command_says_what_it_wrote_and_what_is_missing(results, capsys):
    assert main(["paper", "report", str(results)]) == 0
    assert f"wrote {results.parent / 'figure4_small_models.pdf'}" in capsys.readouterr().out
    assert main(["paper", "report", "nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err
