"""What the report makes of verdicts: passes, differences, causes."""

import pytest

from inferonnx.backend.judging import Outcome
from inferonnx.backend.report import counts, differs, page, summary
from inferonnx.backend.workers import Verdict

PASS = Outcome(passed=True, answered=True)
STREAMED = Outcome(passed=True, answered=True, n_partitions=3, n_streamed=2, same_bits=True)
WHOLE = Outcome(passed=True, answered=True, n_partitions=1, same_bits=True)
WRONG = Outcome(passed=False, answered=True, why="AssertionError: not equal")
DEAD = Outcome(passed=False, answered=False, why="the process died of SIGSEGV")
NO_KERNEL = Outcome(passed=False, answered=False, why="Could not find an implementation for Add")


def verdict(plain, sealed, *, name="test_x", kind="node", variant="as it is"):
    return Verdict(name=name, kind=kind, variant=variant, plain=plain, sealed=sealed)


@pytest.mark.parametrize(
    ("plain", "sealed", "told"),
    [
        (PASS, STREAMED, False),
        (WRONG, WRONG, False),
        (NO_KERNEL, NO_KERNEL, False),
        (PASS, WRONG, True),
        (PASS, DEAD, True),
        (WRONG, DEAD, True),
        (NO_KERNEL, STREAMED, True),
    ],
)
def test_a_difference_is_one_side_that_passes_or_answers_alone(plain, sealed, told):
    assert differs(verdict(plain, sealed)) is told


def test_counts():
    verdicts = [verdict(PASS, STREAMED), verdict(PASS, WHOLE), verdict(PASS, DEAD)]
    assert counts([*verdicts, verdict(WRONG, WRONG)]) == {
        "cases": 4,
        "plain_passes": 3,
        "sealed_passes": 2,
        "streamed": 1,
        "cut": 1,
        "same_bits": 2,
        "partitions": 4,
        "blocks": 2,
        "differences": 1,
    }


def test_the_page_says_that_there_is_no_difference():
    text = page([verdict(PASS, STREAMED), verdict(NO_KERNEL, NO_KERNEL, variant="constants")])
    assert "None: the same cases pass on both sides." in text
    assert "| node | as it is | 1 | 1 | 1 | 1 | 1 | 1 |" in text
    assert "| node | constants | 1 | 0 | 0 | 0 | 0 | 0 |" in text
    assert "| all |  | 2 | 1 | 1 | 1 | 1 | 1 |" in text
    assert "| no kernel for these types on the CPU | 1 |" in text


def test_page_and_json_name_every_difference():
    verdicts = [verdict(PASS, STREAMED), verdict(PASS, DEAD, name="test_bad", kind="real")]
    text = page(verdicts)
    assert "None:" not in text
    assert "| test\\_bad | as it is | passes | the process died of SIGSEGV |" in text
    report = summary(verdicts)
    assert [case["name"] for case in report["differences"]] == ["test_bad"]
    assert report["differences"][0]["sealed"] == "the process died of SIGSEGV"
    assert [(group["kind"], group["cases"]) for group in report["groups"]] == [
        ("node", 1),
        ("real", 1),
    ]
    assert report["total"]["differences"] == 1
