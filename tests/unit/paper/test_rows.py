import json

import pytest

from inferonnx.errors import UsageError
from inferonnx.paper.configurations import Job
from inferonnx.paper.rows import Kept, RowBook, stamp_of

JOB = Job("net", ("stream-tee", "stream-free"), 100)
ROW = {"model": "net", "error": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


def test_what_is_kept_is_found_again_and_the_last_counts(path):
    book = RowBook(path)
    book.keep(JOB, Kept("a", 1.5, [ROW]))
    book.keep(JOB, Kept("b", 2.5, [ROW, ROW]))
    again = RowBook(path)
    assert again.find(JOB, "b") == Kept("b", 2.5, [ROW, ROW]) == again.last(JOB)
    assert again.find(JOB, "a") is None
    assert again.seconds(JOB) == 2.5


def test_jobs_differ_by_limit_model_and_configurations(path):
    book = RowBook(path)
    book.keep(JOB, Kept("a", 1.5, [ROW]))
    for other in (
        JOB._replace(limit_bytes=99),
        JOB._replace(model="x"),
        JOB._replace(configurations=("stream-tee",)),
    ):
        assert book.find(other, "a") is None
        assert book.seconds(other) is None


def test_what_failed_is_tried_again(path):
    book = RowBook(path)
    book.keep(JOB, Kept("a", 1.5, [ROW, ROW | {"error": "the server was killed"}]))
    assert book.find(JOB, "a") is None
    assert book.last(JOB).rows[1]["error"]


def test_half_a_line_of_a_kill_is_dropped(path):
    RowBook(path).keep(JOB, Kept("a", 1.5, [ROW]))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    book = RowBook(path)
    assert book.find(JOB, "a")
    book.keep(JOB, Kept("b", 1.0, [ROW]))
    assert RowBook(path).find(JOB, "b")


@pytest.mark.parametrize("line", ["nonsense", "[]", json.dumps({"schema": "another/1"})])
def test_another_file_is_refused_and_left_alone(path, line):
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match="none of a measurement") as caught:
        RowBook(path)
    assert caught.value.where == "line 1"
    assert path.read_text() == line + "\n"


def test_a_stamp_changes_with_each_fact():
    stamps = {stamp_of(1, ["a"], {"b": 2}), stamp_of(1, ["a"], {"b": 3}), stamp_of(2, ["a"])}
    assert len(stamps) == 3
    assert stamp_of({"a": 1, "b": 2}) == stamp_of({"b": 2, "a": 1})
