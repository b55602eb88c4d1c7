from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.errors import UsageError
from inferonnx.sizes import GIB, KIB, MIB, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("0", 0),
        ("17", 17),
        ("17B", 17),
        ("85MiB", 85 * MIB),
        ("1.5 GiB", 3 * GIB // 2),
        ("90MB", 90_000_000),
        ("0.5kB", 500),
        (" 2KiB ", 2 * KIB),
        (5, 5),
    ],
)
def test_a_size_is_a_number_of_bytes(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize(
    "text", ["", "M", "85M", "-1", "1e3", "1,5MiB", "0.3B", ".5MiB", "\u0661", "9" * 5000, -1]
)
def test_others_are_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert len(caught.value.message) < 120


@given(st.text(max_size=50))
def test_any_text_is_a_size_or_refused(text):
    with suppress(UsageError):
        assert parse_size(text) >= 0


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (96 * MIB, "96.0 MiB")]
)
def test_a_size_is_shown_short(n_bytes, text):
    assert format_size(n_bytes) == text
