"""Tests of tables as text and of times for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.report import format_duration, markdown_table, table


def test_a_table_puts_numbers_to_the_right() -> None:
    text = table(["model", "peak", "ratio"], [["vgg16-7", "64.0 MiB", 1.5], ["x", "9 B", None]])
    assert text.split("\n") == [
        "model        peak  ratio",
        "───────  ────────  ─────",
        "vgg16-7  64.0 MiB    1.5",
        "x             9 B      –",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert table(["a", "bc"], []) == "a  bc\n─  ──"


def test_words_stay_to_the_left() -> None:
    assert table(["name", "n"], [["a1", "1"], ["12", "two"]]).split("\n")[2:] == [
        "a1    1",
        "12    two",
    ]


def test_wide_characters_take_two_columns() -> None:
    lines = table(["名", "n"], [["日本", 1], ["e\u0301x", 22]]).split("\n")
    assert lines[2:] == ["日本   1", "e\u0301x    22"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = table(["name"], [["\x1b[31mred\n\u202e"]])
    assert text.split("\n")[2] == "\\x1b[31mred\\n\\u202e"


def test_markdown_is_aligned_and_escaped() -> None:
    text = markdown_table(["a|b", "ms"], [["<x>_*`[y]\n&", "1.25 ms"], ["z", "–"]])
    assert text.split("\n") == [
        "| a\\|b | ms |",
        "| --- | ---: |",
        "| \\<x\\>\\_\\*\\`\\[y\\]\\\\n\\& | 1.25 ms |",
        "| z | – |",
    ]


@pytest.mark.parametrize("render", [table, markdown_table])
def test_rows_of_another_length_are_refused(render: object) -> None:
    with pytest.raises(ValueError, match="2 cells, the table 1 columns"):
        render(["a"], [["1", "2"]])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (4.3e-6, "4.30 µs"),
        (4.34e-5, "43.4 µs"),
        (9.994e-4, "999 µs"),
        (9.996e-4, "1.00 ms"),
        (0.0009999, "1.00 ms"),
        (0.138, "138 ms"),
        (0.01238, "12.4 ms"),
        (1.234, "1.23 s"),
        (99.96, "100 s"),
        (1234.5, "1234 s"),
        (-0.5, "-500 ms"),
    ],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.lists(st.lists(st.text(max_size=6), min_size=2, max_size=2), max_size=5))
def test_tables_have_one_line_a_row(rows: list[list[str]]) -> None:
    assert len(table(["a", "b"], rows).split("\n")) == len(rows) + 2
    lines = markdown_table(["a", "b"], rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert all(line.replace("\\\\", "").replace("\\|", "").count("|") == 3 for line in lines)
