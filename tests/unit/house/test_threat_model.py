"""The table of attacks names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
HOSTILE = (ROOT / "tests" / "e2e" / "test_hostile.py").read_text()


def test_attacks_that_are_named_are_tested():
    found = re.findall(r"`(test_\w+)`", TEXT)
    assert len(found) > 15
    for name in found:
        assert f"def {name}(" in HOSTILE, name


def test_files_that_are_named_are_there():
    found = re.findall(r"`(tests/[\w/.]+)`(?: \(`(\w+)`)?", TEXT)
    assert len(found) > 15
    for path, test in found:
        assert (ROOT / path).exists(), path
        if test:
            assert test in (ROOT / path).read_text(), (path, test)


def test_attacks_are_in_the_table():
    for name in re.findall(r"^def (test_\w+)", HOSTILE, re.MULTILINE):
        assert f"`{name}`" in TEXT, name
