from __future__ import annotations

import hashlib
import tomllib
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.control import (
    NEVER_S,
    TOKEN_RANDOM_BYTES,
    Role,
    check_token,
    config_lines,
    new_token,
    parse_config,
    parse_expiry,
)
from inferonnx.control.tokens import DAY_S, MAX_LIFE_DAYS
from inferonnx.errors import UnauthenticatedError, UsageError

NOW_S = 1_790_000_000
RANDOM = bytes(range(TOKEN_RANDOM_BYTES))
OTHER_RANDOM = bytes(range(100, 100 + TOKEN_RANDOM_BYTES))


TEXT, ENTRY = new_token(RANDOM, roles=[Role.INFER], expires_s=NOW_S + 10)
OTHER_TEXT, OTHER_ENTRY = new_token(OTHER_RANDOM, roles=[Role.MANAGE], expires_s=NEVER_S)
ENTRIES = (OTHER_ENTRY, ENTRY)


def test_a_token_is_known_by_its_hash():
    assert TEXT == "ifx_000102030405_BgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCU"
    assert ENTRY.sha256 == hashlib.sha256(TEXT.encode()).digest()
    assert check_token(TEXT, ENTRIES, now_s=NOW_S) is ENTRY
    assert check_token(OTHER_TEXT, ENTRIES, now_s=NOW_S) is OTHER_ENTRY


def test_a_token_of_another_role_brings_that_role_alone():
    assert check_token(OTHER_TEXT, ENTRIES, now_s=NOW_S).roles == {Role.MANAGE}
    assert check_token(TEXT, ENTRIES, now_s=NOW_S).roles == {Role.INFER}


@pytest.mark.parametrize(("at_s", "is_good"), [(9, True), (10, False), (11, False), (9**12, False)])
def test_a_token_expires(at_s, is_good):
    if is_good:
        assert check_token(TEXT, ENTRIES, now_s=NOW_S + at_s) is ENTRY
    else:
        with pytest.raises(UnauthenticatedError, match=f"token {ENTRY.id} has expired"):
            check_token(TEXT, ENTRIES, now_s=NOW_S + at_s)


def test_never_is_later_than_any_clock():
    assert check_token(OTHER_TEXT, ENTRIES, now_s=1 << 60) is OTHER_ENTRY


OTHER_SECRET = f"ifx_{ENTRY.id}_{OTHER_TEXT[17:]}"
ATTEMPTS = {
    "hash": ENTRY.sha256.hex(),
    "hash-in-the-form-of-a-token": f"ifx_{ENTRY.id}_{ENTRY.sha256.hex()[:43]}",
    "id": ENTRY.id,
    "empty": "",
    "other-secret": OTHER_SECRET,
    "other-id": f"ifx_{OTHER_ENTRY.id}_{TEXT[17:]}",
    "unknown": new_token(bytes(38), roles=[Role.INFER], expires_s=NEVER_S)[0],
    "last-changed": TEXT[:-1] + "A",
    # Base64 of 32 bytes leaves 2 bits: U and V decode to the same bytes.
    "same-bytes": TEXT[:-1] + "V",
    "shorter": TEXT[:-1],
    "longer": TEXT + "A",
    "padded": TEXT + "=",
    "space": TEXT + " ",
    "line-end": TEXT + "\n",
    "capitals": TEXT.upper(),
    "twice": f"{TEXT}, {TEXT}",
    "surrogate": TEXT[:-1] + "\udc80",
}


@pytest.mark.parametrize("text", ATTEMPTS.values(), ids=ATTEMPTS)
def test_nothing_else_is_the_token(text):
    with pytest.raises(UnauthenticatedError, match="not one of this server") as caught:
        check_token(text, ENTRIES, now_s=NOW_S)
    assert TEXT[17:40] not in caught.value.message + caught.value.hint


def test_who_lacks_the_token_does_not_learn_that_it_expired():
    with pytest.raises(UnauthenticatedError, match="not one of this server"):
        check_token(OTHER_SECRET, ENTRIES, now_s=NOW_S + 10)


def test_an_entry_of_zeros_lets_nobody_in():
    zero = replace(ENTRY, sha256=bytes(32))
    for text in (TEXT, f"ifx_{ENTRY.id}_" + "A" * 43):
        with pytest.raises(UnauthenticatedError):
            check_token(text, [zero], now_s=NOW_S)


@given(st.text(max_size=80))
def test_any_text_is_refused(text):
    entry = new_token(RANDOM, roles=Role, expires_s=NEVER_S)[1]
    with pytest.raises(UnauthenticatedError):
        check_token(text, [entry], now_s=NOW_S)


@given(st.binary(min_size=38, max_size=38), st.sets(st.sampled_from(Role), min_size=1))
def test_the_lines_for_a_configuration_give_the_entry_back(random, roles):
    for expires_s in (NOW_S, NEVER_S):
        text, entry = new_token(random, roles=roles, expires_s=expires_s)
        lines = config_lines(entry)
        assert parse_config(lines)["tokens"] == (entry,)
        assert text not in lines
        assert text[17:] not in lines
        assert check_token(text, [entry], now_s=NOW_S - 1) is entry


def test_the_lines_are_toml_of_a_moment():
    tree = tomllib.loads(config_lines(ENTRY))["token"]
    assert tree[0]["expires"].timestamp() == NOW_S + 10
    assert tree[0]["roles"] == ["infer"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": "x"}, "no id of a token"),
        ({"id": "A" * 12}, "no id of a token"),
        ({"roles": frozenset()}, "has no role"),
        ({"sha256": bytes(31)}, "32 bytes"),
        ({"expires_s": -1}, "no clock shows"),
        ({"expires_s": 1 << 63}, "no clock shows"),
    ],
)
def test_an_entry_that_can_not_be_is_refused(changed, words):
    with pytest.raises(UsageError, match=words):
        replace(ENTRY, **changed)


def test_random_bytes_are_counted():
    with pytest.raises(ValueError, match="38 random bytes"):
        new_token(bytes(32), roles=[Role.INFER], expires_s=0)


@pytest.mark.parametrize(
    ("text", "expires_s"),
    [
        ("30d", NOW_S + 30 * DAY_S),
        ("1h", NOW_S + 3600),
        (f"{MAX_LIFE_DAYS}d", NOW_S + MAX_LIFE_DAYS * DAY_S),
        ("never", NEVER_S),
        ("2027-01-31", 1_801_353_600),
        ("2027-01-31T00:00:00Z", 1_801_353_600),
        ("2027-01-31T01:00:00+01:00", 1_801_353_600),
        ("2027-01-31 00:00:00+00:00", 1_801_353_600),
    ],
)
def test_an_end_is_read(text, expires_s):
    assert parse_expiry(text, now_s=NOW_S) == expires_s


@pytest.mark.parametrize(
    "text",
    [
        *("", "30", "d", "0d", "-1d", "30days", "30D", "1.5d", "\u0661d", "9999999d", "36501d"),
        *("2020-01-01", "2027-13-01", "2027-01-31T00:00:00", "2027-1-31", "Never", "9999-12-31"),
        *("0001-01-01T00:00:00+23:59", "tomorrow", "2027-01-31Z", "9" * 5000 + "d"),
    ],
)
def test_other_ends_are_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_expiry(text, now_s=NOW_S)
    assert len(caught.value.message) < 120


@given(st.text(max_size=40))
def test_any_text_is_an_end_or_refused(text):
    with suppress(UsageError):
        assert parse_expiry(text, now_s=NOW_S) > NOW_S
