import json

from inferonnx.engine import PassEvent
from inferonnx.server.log import Log
from inferonnx.server.telling import tell_overdue, tell_pass

EVENTS = [
    PassEvent("read", 2, 7, 1, 0, 10),
    PassEvent("open", 2, 7, 1, 10, 20),
    PassEvent("load", 2, None, 1, 0, 2_500_000),
    PassEvent("compute", 2, None, 1, 2_500_000, 4_000_000),
]


def lines(level):
    written = []
    log = Log(level=level, as_json=True, write=written.append)
    for event in EVENTS:
        tell_pass(log, event)
    return [json.loads(line) for line in written]


def test_a_line_for_each_step_of_a_partition_and_none_for_segments():
    told = [(line["step"], line["partition"], line["ms"]) for line in lines("debug")]
    assert told == [("load", 2, 2.5), ("compute", 2, 1.5)]


def test_nothing_above_debug():
    assert lines("info") == []


def test_a_pass_that_does_not_end_is_told():
    written = []
    tell_overdue(Log(as_json=True, write=written.append), "m", 3)
    (line,) = map(json.loads, written)
    assert (line["event"], line["level"], line["model"], line["version"]) == (
        ("pass_overdue", "warning", "m", 3)
    )
    assert line["error"].endswith("until the server is stopped")
