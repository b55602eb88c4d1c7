import re
from dataclasses import asdict
from pathlib import Path

from inferonnx.server.limits import (
    BUSY_BYTES,
    IDLE_BYTES,
    ConnectionLimits,
    HttpLimits,
)

TEXT = (Path(__file__).parents[3] / "docs" / "connections.md").read_text()


def test_the_limits_are_those_of_the_documentation():
    section = TEXT.split("\n## Limits\n")[1].split("\n## ")[0]
    said = re.findall(r"^\| `(\w+)` \| (\d+) \|$", section, re.MULTILINE)
    has = asdict(ConnectionLimits()) | asdict(HttpLimits())
    assert said == [(name, str(value)) for name, value in has.items()]


def test_what_a_connection_holds_is_no_less_than_what_was_measured():
    rows = re.findall(r"^\| (idle|stopped|sends)[^|]* \| ([\d.]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 6
    for what, kib in rows:
        assert float(kib) * 1024 <= (IDLE_BYTES if what == "idle" else BUSY_BYTES)


def test_idle_connections_outlive_those_of_usual_clients():
    # The protocol's clients keep connections for a minute or so, and do not repeat a
    # request that meets a close.
    assert HttpLimits().idle_s > 75
