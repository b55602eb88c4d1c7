from __future__ import annotations

import os.path
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.control import check_name, parse_version
from inferonnx.errors import ModelNameError


@pytest.mark.parametrize(
    "name", ["a", "resnet152-v2-7", "a..b", "A_b.C-9", "-", "_", "a.", "1", "x" * 128]
)
def test_a_name_is_itself(name):  # O-02
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "...", ".hidden", "a/b", "a\\b", "a b", "a\0", "a\n", "a%2f", "é", "a:b"),
        *("\u0661", "x" * 129, "~", "CON:", "a\u200d", " a", "a+b"),
    ],
)
def test_other_names_are_refused(name):  # O-02
    with pytest.raises(ModelNameError) as caught:
        check_name(name)
    assert len(caught.value.message) < 1000


@given(st.text(max_size=200))
def test_a_name_is_one_step_of_a_path(name):
    try:
        check_name(name)
    except ModelNameError:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name) is None or name.startswith(".")
        return
    assert os.path.normpath(os.path.join("/models", name)) == f"/models/{name}"
    assert os.path.basename(name) == name


@pytest.mark.parametrize(
    ("text", "version"),
    [("1", 1), ("01", 1), ("0" * 5000 + "7", 7), (str((1 << 63) - 1), (1 << 63) - 1)],
    ids=["one", "zero-before", "zeros-before", "largest"],
)
def test_a_version_is_a_number(text, version):
    assert parse_version(text) == version


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "000", "-1", "+1", "1.0", " 1", "1\n", "1_0", "abc", "0x1", "next", "1e3"),
        *("\u0661", "²", str(1 << 63), "9" * 19, "9" * 20, "9" * 5000),
    ],
)
def test_other_versions_are_refused(text):
    with pytest.raises(ModelNameError) as caught:
        parse_version(text)
    assert len(caught.value.message) < 1000


@given(st.text(max_size=30) | st.integers().map(str))
def test_a_version_is_read_back_or_refused(text):
    try:
        version = parse_version(text)
    except ModelNameError:
        return
    assert 1 <= version < 1 << 63
    assert parse_version(str(version)) == version
