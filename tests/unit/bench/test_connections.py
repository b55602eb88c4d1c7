import sys

from inferonnx.bench import connections


def test_the_table_has_a_figure_for_each_state(capsys, monkeypatch):
    monkeypatch.setattr(connections, "SETTLE_S", 0.05)  # nobody looks at the figures
    monkeypatch.setattr(sys, "argv", ["connections", "8"])
    assert connections.main() == 0
    heads, _, *rows = capsys.readouterr().out.splitlines()
    assert heads == "| 8 connections | KiB each |"
    assert len(rows) == 6
    for row in rows:
        float(row.split("|")[2])
