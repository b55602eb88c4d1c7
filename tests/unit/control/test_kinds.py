from __future__ import annotations

import datetime as dt

import pytest

from inferonnx.control import NEVER_S, Address, Role
from inferonnx.control.kinds import (
    ADDRESS,
    NAMES,
    PATH,
    PUBLIC_KEY,
    ROLES,
    SWITCH,
    TOKENS,
    choice,
    parse_value,
    size,
    whole,
)
from inferonnx.errors import ConfigError
from inferonnx.sizes import MIB

UTC_2027 = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
TOKEN = {"id": "0" * 12, "roles": ["infer"], "expires": UTC_2027, "sha256": "ab" * 32}
HUGE = 1 << 40_000  # Python refuses to write it in decimal digits

GOOD = [
    (whole(1, 9), 9, 9),
    (whole(1, 9), "1", 1),
    (size(1), 17, 17),
    (size(1), "96MiB", 96 * MIB),
    (choice("1.2", "1.3"), "1.2", "1.2"),
    (SWITCH, True, True),
    (PATH, "/a b/ü", "/a b/ü"),
    (ADDRESS, "127.0.0.1:0", "127.0.0.1:0"),
    (ADDRESS, "[::1]:8443", "[::1]:8443"),
    (ADDRESS, "models.example.org:65535", "models.example.org:65535"),
    (PUBLIC_KEY, "0f" * 32, "0f" * 32),
    (NAMES, ["a.b", "::1"], ["a.b", "::1"]),
    (NAMES, ("a.b",), ["a.b"]),
    (ROLES, ["metrics", "infer"], ["infer", "metrics"]),
    (ROLES, [], []),
    (TOKENS, [], []),
    (TOKENS, [TOKEN], [{**TOKEN, "expires": 1_798_761_600}]),
    (TOKENS, [{**TOKEN, "expires": "never"}], [{**TOKEN, "expires": "never"}]),
]


@pytest.mark.parametrize(("kind", "raw", "plain"), GOOD, ids=range(len(GOOD)))
def test_a_value_is_read_and_has_one_form(kind, raw, plain):
    value = parse_value(kind, raw, where="key")
    assert kind.plain(value) == plain


BAD = [
    *((whole(1, 9), raw) for raw in (0, 10, -1, True, 1.0, "", "x", "0", "1" * 20, "²", HUGE)),
    *((size(4), raw) for raw in (3, True, 1.5, "3B", "M", "9" * 5000, [], -1, HUGE, 1 << 53)),
    *((choice("a", "b"), raw) for raw in ("c", "A", "", 1, ["a"], {}, HUGE)),
    *((SWITCH, raw) for raw in (0, 1, "true", None, [])),
    *((PATH, raw) for raw in ("", "a\0b", "\udc80", 1, b"a", [])),
    *(
        (ADDRESS, raw)
        for raw in ("", ":1", "a", "a:", "a:x", "a:65536", "a:999999", "::1:80", "[::1]", "[a]:1:2",
                    "https://a:1", "a b:1", "a:1\n", "[x]:1", 8443, "a:\u0661", "a" * 9999)
    ),
    *((PUBLIC_KEY, raw) for raw in ("", "0F" * 32, "0f" * 31, "0f" * 33, "x" * 64, 1, HUGE)),
    *((NAMES, raw) for raw in ([], "a.b", [""], [1], ["ü"], ["a\n"], {}, [HUGE])),
    *((ROLES, raw) for raw in ("infer", ["Infer"], [1], {}, [HUGE])),
    *((TOKENS, raw) for raw in ({}, "x", [1], [{}], [TOKEN, TOKEN], [TOKEN] * 2000)),
    *(
        (TOKENS, [{**TOKEN, **changed}])
        for changed in (
            {"more": 1}, {"id": 0}, {"id": HUGE}, {"id": "x"}, {"roles": []}, {"roles": "infer"},
            {"roles": ["all"]}, {"sha256": "ifx_" + "0" * 12}, {"sha256": "AB" * 32},
            {"sha256": 7}, {"expires": 0}, {"expires": "2027-01-01"}, {"expires": "Never"},
            {"expires": UTC_2027.date()}, {"expires": UTC_2027.replace(tzinfo=None)},
            {"expires": UTC_2027.replace(year=1)}, {"expires": HUGE},
        )
    ),
    *((TOKENS, [{k: v for k, v in TOKEN.items() if k != name}]) for name in TOKEN),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "raw"), BAD, ids=range(len(BAD)))
def test_other_values_are_refused_in_one_line_that_names_the_key(kind, raw):
    with pytest.raises(ConfigError) as caught:
        parse_value(kind, raw, where="some_key")
    assert caught.value.message.startswith("some_key: ")
    assert caught.value.where == "some_key"
    assert caught.value.hint
    assert len(caught.value.message) < 250
    assert "\n" not in caught.value.message


def test_what_may_be_a_token_is_not_shown():
    text = "ifx_0123456789ab_" + "s" * 43
    with pytest.raises(ConfigError) as caught:
        parse_value(TOKENS, [{**TOKEN, "sha256": text}], where="token")
    assert "sss" not in caught.value.message


def test_tokens_stand_in_the_order_of_their_ids():
    tokens = parse_value(TOKENS, [{**TOKEN, "id": "b" * 12}, TOKEN], where="token")
    assert [entry.id for entry in tokens] == ["0" * 12, "b" * 12]
    assert tokens[0].roles == {Role.INFER}
    assert parse_value(TOKENS, [{**TOKEN, "expires": "never"}], where="")[0].expires_s == NEVER_S


def test_an_address_has_its_brackets_in_its_text_alone():
    address = parse_value(ADDRESS, "[2001:db8::7]:443", where="")
    assert address == Address(host="2001:db8::7", port=443)
    assert str(address) == "[2001:db8::7]:443"
