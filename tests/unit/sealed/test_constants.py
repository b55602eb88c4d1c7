"""The tables of the specification are those of the code, and every rule is tested."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inferonnx.crypto import SUITES
from inferonnx.sealed import constants
from inferonnx.tensors import DType

ROOT = Path(__file__).parents[3]
SPECIFICATION = (ROOT / "docs" / "sealed-format.md").read_text(encoding="utf-8")
RULE = re.compile(r"S-\d\d")


def table(first_column: str) -> list[list[str]]:
    """Return the rows of the table whose header row begins with `first_column`."""
    lines = iter(SPECIFICATION.splitlines())
    for line in lines:
        if line.startswith(f"| {first_column} |"):
            next(lines)
            rows = []
            for row in lines:
                if not row.startswith("|"):
                    return rows
                rows.append([cell.strip() for cell in row.strip("|").split("|")])
    raise LookupError(first_column)


def number(text: str) -> int:
    """Return the value of "255", "2^20" or "2^53 - 1"."""
    power, _, less = text.partition(" - ")
    base, _, exponent = power.partition("^")
    return int(base) ** int(exponent or 1) - int(less or 0)


def test_header_table_is_the_codes():
    offset, rows = 0, []
    for name, size in constants.HEADER_FIELDS:
        rows.append([f"`{name}`", str(offset), str(size)])
        offset += size
    assert [row[:3] for row in table("field")] == rows
    assert offset == constants.HEADER_BYTES
    assert f"public header of {offset} bytes" in SPECIFICATION


def test_suite_table_is_the_codes():
    rows = [[row[0], row[1].strip("`"), *row[3:]] for row in table("number")]
    assert rows == [
        [str(s.number), s.name, str(s.key_bytes), str(s.nonce_bytes), str(s.tag_bytes)]
        for s in SUITES.values()
    ]


def test_limits_table_is_the_codes():
    assert {row[0]: number(row[1]) for row in table("limit")} == {
        "release": constants.MAX_RELEASE,
        "integer in the manifest": constants.MAX_INTEGER,
        "segments": constants.MAX_SEGMENTS,
        "sealed manifest": constants.MAX_MANIFEST_BYTES,
        "JSON text": constants.MAX_JSON_BYTES,
        "one text": constants.MAX_TEXT_BYTES,
        "name": constants.MAX_NAME_BYTES,
        "partitions": constants.MAX_PARTITIONS,
        "entries of a list": constants.MAX_LIST,
        "axes of a shape": constants.MAX_RANK,
    }


def test_element_types_are_the_codes():
    bits = {int(dtype): int(row[0]) for row in table("bits") for dtype in row[1].split(",")}
    assert bits == constants.DTYPE_BITS


@pytest.mark.parametrize("dtype", sorted(constants.DTYPE_BITS))
def test_element_types_are_those_of_tensors(dtype):
    assert DType(dtype).bits == constants.DTYPE_BITS[dtype]


def test_labels_are_those_of_the_specification():
    labels = [value for name, value in vars(constants).items() if name.startswith("LABEL_")]
    text = [label[:-1].decode() for label in labels if len(label) > 1]
    assert sorted(text) == sorted(
        set(re.findall(r'"(inferonnx/sealed/v1/[a-z-]+)\\0"', SPECIFICATION))
    )
    assert all(label.endswith(b"\0") for label in labels if len(label) > 1)


def test_no_label_begins_another():
    labels = [value for name, value in vars(constants).items() if name.startswith("LABEL_")]
    for label in labels:
        assert [other for other in labels if other.startswith(label)] == [label]


def test_other_numbers_are_those_of_the_specification():
    assert f'`"{constants.MAGIC.decode()}"`' in SPECIFICATION
    assert f"format version, {constants.FORMAT_VERSION}" in SPECIFICATION
    assert constants.SEGMENT_BYTES == constants.PIECE_BYTES == 1 << 20
    assert (
        f"N = 2^{constants.SCRYPT_LOG2_N}, r = {constants.SCRYPT_R}, p = {constants.SCRYPT_P}"
        in SPECIFICATION
    )
    assert constants.KEY_FILE_MAGIC in SPECIFICATION
    assert f"at most {constants.MAX_KEY_FILE_BYTES:,} bytes" in SPECIFICATION
    assert f"multiple of\n{constants.WEIGHT_ALIGNMENT}." in SPECIFICATION


def rules_of_the_specification() -> list[str]:
    return re.findall(r"^\*\*(S-\d\d)\*\*", SPECIFICATION, re.MULTILINE)


def test_rules_are_numbered_without_gaps():
    rules = rules_of_the_specification()
    assert rules == [f"S-{i:02}" for i in range(1, len(rules) + 1)]


def test_every_paragraph_that_binds_is_a_rule():
    body = SPECIFICATION.split("## 2. The file")[1].split("## 10. Security")[0]
    for paragraph in re.split(r"\n\n", body):
        if re.search(r"\bMUST\b", paragraph):
            # Long rules go on in paragraphs after a formula, and section 9 lists the rules again.
            assert RULE.search(paragraph) or paragraph.startswith(
                ("A reader MUST refuse a manifest",)
            )


def test_every_rule_has_a_vector_or_a_test():
    cited = set()
    for name in ("sealed.json", "keys.json", "merkle.json"):
        cited |= set(RULE.findall((ROOT / "tests" / "vectors" / name).read_text(encoding="ascii")))
    for path in (ROOT / "tests" / "unit").glob("*/test_*.py"):
        if path != Path(__file__):
            cited |= set(RULE.findall(path.read_text(encoding="utf-8")))
    assert sorted(set(rules_of_the_specification()) - cited) == []
    assert sorted(cited - set(rules_of_the_specification())) == []


def test_every_rule_that_the_code_cites_exists():
    cited = set()
    for path in (ROOT / "src" / "inferonnx").rglob("*.py"):
        cited |= set(RULE.findall(path.read_text(encoding="utf-8")))
    assert cited
    assert sorted(cited - set(rules_of_the_specification())) == []


def test_vectors_name_their_members():
    text = json.loads((ROOT / "tests" / "vectors" / "sealed.json").read_text(encoding="ascii"))
    assert "TEST KEYS" in text["warning"]
