"""paper.overheads: the operator times, the list of heavy operators, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import PlanError, UsageError
from inferonnx.paper.overheads import (
    OperatorTime,
    OperatorTimes,
    check_fresh,
    encode_operator_overheads,
    encode_operator_times,
    heaviest,
    operator_names,
    parse_operator_overheads,
    parse_operator_times,
)

LABEL = "EPC limit enforced by cgroup"


def operator(index: int, outside_ms: float | None, inside_ms: float | None) -> OperatorTime:
    return OperatorTime(
        index=index,
        name=f"op{index}",
        type="Conv",
        outside_ms=outside_ms,
        inside_ms=inside_ms,
        label="" if inside_ms is None else LABEL,
    )


TIMES = OperatorTimes(
    model_sha256="ab" * 32,
    limit_bytes=89_128_960,
    operators=(
        operator(0, 1.0, 14.5),
        operator(1, 1.0, 13.0),
        operator(2, 2.0, None),
        operator(3, 0.0, 1.0),
        operator(4, 0.25, 6.0),
    ),
)
TEXT = f"""\
# inferonnx.operator-times/1
# model {"ab" * 32}
# inside: 89128960
index\tname\ttype\toutside_ms\tinside_ms\tlabel
0\top0\tConv\t1.000000\t14.500000\tEPC limit enforced by cgroup
1\top1\tConv\t1.000000\t13.000000\tEPC limit enforced by cgroup
2\top2\tConv\t2.000000\t-\t-
3\top3\tConv\t0.000000\t1.000000\tEPC limit enforced by cgroup
4\top4\tConv\t0.250000\t6.000000\tEPC limit enforced by cgroup
"""


def test_times_are_lines_of_tabs() -> None:
    assert encode_operator_times(TIMES) == TEXT
    assert parse_operator_times(TEXT) == TIMES


def test_times_without_a_limit_come_back() -> None:
    times = OperatorTimes(model_sha256="cd" * 32, limit_bytes=None, operators=())
    assert parse_operator_times(encode_operator_times(times)) == times


def test_heaviest_are_above_the_limit_and_the_highest_comes_first() -> None:
    found = heaviest(TIMES)
    # (13 - 1) / 1 is the limit itself, and not above it; (6 - 0.25) / 0.25 is 23.
    assert list(found) == ["op3", "op4", "op0"]
    assert found["op4"] == 23.0
    assert found["op0"] == 13.5


def test_overheads_are_written_in_the_artifacts_form() -> None:
    models = {"a-7": {"x": 12.5, "y: 1": 31.254}, "none": {}, "b": {"z": 13}}
    assert encode_operator_overheads(models) == (
        "Heaviest operators for a-7:\ny: 1: 31.25x\nx: 12.50x\n\n"
        "Heaviest operators for b:\nz: 13.00x\n\n"
    )


def test_overheads_come_back_from_their_text() -> None:
    models = {"a-7": {"y: 1": 31.25, "x": 12.5}, "b": {"#0": 13.0}}
    assert parse_operator_overheads(encode_operator_overheads(models)) == models
    assert encode_operator_overheads({"a-7": {}}) == ""
    assert parse_operator_overheads("") == {}


NAMES = st.lists(st.text(alphabet="ab#1 \n\té\x85\\n", max_size=3), max_size=8)


@given(names=NAMES)
def test_names_are_unique_and_survive_both_files(names: list[str]) -> None:
    shown = operator_names(names)
    assert len(set(shown)) == len(names)
    times = OperatorTimes(
        model_sha256="ab",
        limit_bytes=1,
        operators=tuple(
            OperatorTime(
                index=i, name=name, type="Add", outside_ms=1.0, inside_ms=100.0, label=LABEL
            )
            for i, name in enumerate(shown)
        ),
    )
    assert parse_operator_times(encode_operator_times(times)) == times
    models = {"m": heaviest(times)} if names else {}
    assert parse_operator_overheads(encode_operator_overheads(models)) == models


def test_names_of_ordinary_models_stay_as_they_are() -> None:
    assert operator_names(["conv1", "fire2/concat: 1", "conv2"]) == (
        "conv1",
        "fire2/concat: 1",
        "conv2",
    )
    assert operator_names(["conv", "", "conv", "a\nb"]) == ("conv", "#1", "conv#2", "a\\nb")


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (1, "times/1", "times/2"),
        (2, "# model", "model"),
        (3, "89128960", "85MiB"),
        (4, "\ttype", ""),
        (5, "14.5", "x14.5"),
        (5, "14.500000", "nan"),
        (5, "14.500000", "-1"),
        (5, "0\top0", "one\top0"),
        (6, "1\top1", "2\top1"),
        (7, "\t-\t-", "\t-"),
    ],
)
def test_a_broken_time_file_is_refused_with_its_line(number: int, old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError, match=f"line {number} of the operator times"):
        parse_operator_times(TEXT.replace(old, new, 1))


@pytest.mark.parametrize("n_lines", [0, 1, 2, 3])
def test_a_time_file_that_ends_within_its_heading_is_refused(n_lines: int) -> None:
    with pytest.raises(UsageError, match=f"line {n_lines + 1} "):
        parse_operator_times("".join(TEXT.splitlines(keepends=True)[:n_lines]))


def test_times_of_another_model_are_stale() -> None:
    check_fresh(TIMES, path="t", model_sha256="ab" * 32, n_operators=5)
    with pytest.raises(UsageError, match="'t' is of another model"):
        check_fresh(TIMES, path="t", model_sha256="ac" * 32, n_operators=5)
    with pytest.raises(UsageError, match="lists 5 operators, and the model has 6"):
        check_fresh(TIMES, path="t", model_sha256="ab" * 32, n_operators=6)


def test_a_list_that_is_not_in_the_artifacts_form_is_refused() -> None:
    with pytest.raises(PlanError, match="line 1"):
        parse_operator_overheads("conv: 13.00x\n")
