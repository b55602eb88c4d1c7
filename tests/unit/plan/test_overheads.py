"""parse_operator_overheads: the artifact's list, and what is refused of it."""

from __future__ import annotations

import pytest

from inferonnx.errors import PlanError
from inferonnx.plan import parse_operator_overheads

TEXT = """\
Heaviest operators for SqueezeNet 1.0:
fire9/concat: 31.25x
conv: 10: 12.50x

Heaviest operators for Empty:

Heaviest operators for DenseNet-121:
fc6: 14x
"""


def test_parse_reads_models_and_operators_in_order() -> None:
    models = parse_operator_overheads(TEXT)
    assert list(models) == ["SqueezeNet 1.0", "Empty", "DenseNet-121"]
    assert list(models["SqueezeNet 1.0"].items()) == [("fire9/concat", 31.25), ("conv: 10", 12.5)]
    assert models["Empty"] == {}
    assert models["DenseNet-121"] == {"fc6": 14.0}


@pytest.mark.parametrize("text", ["", "\n\n", TEXT.replace("\n", "\r\n"), TEXT.rstrip("\n")])
def test_parse_bears_blank_text_and_line_ends(text: str) -> None:
    expected = parse_operator_overheads(TEXT) if text.strip() else {}
    assert parse_operator_overheads(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        pytest.param("conv: 13.00x\n", 1, "under no model", id="no-heading"),
        pytest.param("Heaviest operators for A:\n\nconv: 13x", 3, "under no model", id="after-gap"),
        pytest.param("Heaviest operators for A:\nconv 13x", 2, "is not '<operator>", id="no-colon"),
        pytest.param("Heaviest operators for A:\nconv: 13", 2, "is not '<operator>", id="no-x"),
        pytest.param("Heaviest operators for A:\nconv: manyx", 2, "is not", id="no-number"),
        pytest.param("Heaviest operators for A:\nconv: nanx", 2, "is not", id="nan"),
        pytest.param("Heaviest operators for A:\nconv: infx", 2, "is not", id="infinite"),
        pytest.param("Heaviest operators for A:\n: 13x", 2, "is not", id="no-operator"),
        pytest.param("Heaviest operators for A\n", 1, "under no model", id="heading-without-colon"),
        pytest.param(
            "Heaviest operators for A:\n\nHeaviest operators for A:\n",
            3,
            "listed",
            id="model-twice",
        ),
        pytest.param(
            "Heaviest operators for A:\nc: 2x\nc: 1x\n", 3, "'c' is listed twice", id="twice"
        ),
    ],
)
def test_parse_refuses(text: str, line: int, problem: str) -> None:
    with pytest.raises(PlanError, match=problem) as caught:
        parse_operator_overheads(text)
    assert caught.value.where == f"line {line}"
