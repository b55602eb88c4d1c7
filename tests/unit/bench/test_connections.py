import subprocess
import sys


def test_the_table_has_a_figure_for_each_state():
    command = [sys.executable, "-m", "inferonnx.bench.connections", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    heads, _, *rows = done.stdout.splitlines()
    assert heads == "| 8 connections | KiB each |"
    assert len(rows) == 6
    for row in rows:
        float(row.split("|")[2])
