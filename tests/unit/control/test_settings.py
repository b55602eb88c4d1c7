"""The table of settings, and docs/serve-config.md, which says the same."""

from __future__ import annotations

import json
import re
import tomllib
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.control import (
    GROUPS,
    SETTINGS,
    Address,
    ServerConfig,
    limits,
    parse_config,
    parse_flags,
    server_config,
)
from inferonnx.errors import ConfigError
from inferonnx.sizes import GIB, KIB, MIB

DOCUMENT = (Path(__file__).parents[3] / "docs" / "serve-config.md").read_text(encoding="utf-8")


def test_every_field_has_a_setting_in_the_same_order():
    assert [setting.field for setting in SETTINGS] == [one.name for one in fields(ServerConfig)]


def test_keys_and_flags_are_unique_and_follow_from_the_field():
    keys = [setting.key for setting in SETTINGS]
    assert len(set(keys)) == len(keys)
    flags = [setting.flag for setting in SETTINGS if setting.flag]
    assert len(set(flags)) == len(flags)
    for setting in SETTINGS:
        flag = "--" + setting.key.replace("_", "-")
        assert setting.flag in ("", flag) or setting.field in ("page_drop", "resident")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_default_is_a_value_of_its_kind(setting):
    if setting.default in (MISSING, None, ()):
        return
    plain = setting.kind.plain(setting.default)
    assert setting.kind.parse(plain) == setting.default


def test_a_limit_has_one_reason_each():
    names = [name for name in vars(limits) if name.isupper() and name not in ("GIB", "KIB", "MIB")]
    source = Path(limits.__file__).read_text(encoding="utf-8")
    for name in names:
        assert re.search(rf'^{name} = .*\n"""\S', source, re.MULTILINE), name


def test_flags_win_over_the_file_and_the_file_over_defaults():
    file = parse_config('models = "a"\nlisten = "0.0.0.0:1"\nmemory = "96MiB"\n')
    config = server_config(file, parse_flags({"listen": "[::]:2", "memory_bytes": None}))
    assert config.models == "a"
    assert config.listen == Address("::", 2)
    assert config.memory_bytes == 96 * MIB
    assert config.max_queue == limits.DEFAULT_QUEUE


def test_flags_alone_configure():
    config = server_config({}, parse_flags({"models": "m", "tls_san": ["a.b"], "threads": "3"}))
    assert (config.models, config.tls_san, config.threads) == ("m", ("a.b",), 3)


def test_a_missing_setting_is_named():
    with pytest.raises(ConfigError, match="models is not set") as caught:
        server_config({}, {})
    assert "--models" in caught.value.hint


def test_contradictions_between_file_and_flags_are_refused():
    file = parse_config('models = "m"\nowner_first_come = true')
    with pytest.raises(ConfigError, match="exclude each other"):
        server_config(file, parse_flags({"owner": "ab" * 32}))


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("lisen", "listen"),
        ("max-queue", "max_queue"),
        ("tokens", "token"),
        ("memory_bytes", "memory"),
        ("allow_anonymous_inference", "allow_anonymous_infer"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_name(key, near):
    with pytest.raises(ConfigError, match=f"'{key}' is no setting") as caught:
        parse_config(f"{key} = 1")
    assert caught.value.hint == f"Did you mean {near}?"


def test_a_key_like_no_other_is_refused_all_the_same():
    for key in ("zzzzzz", '""', '"' + "x" * 9999 + '"'):
        with pytest.raises(ConfigError, match="no setting") as caught:
            parse_config(f"{key} = 1")
        assert caught.value.hint == ConfigError.usual_hint


@pytest.mark.parametrize(
    "text",
    [
        "models",
        "models = ",
        'models = "a"\nmodels = "b"',
        "\0",
        'models = "\ud800"',
        "x = " + "[" * 100_000,
        "x = " + "9" * 5000,
        "#" * ((1 << 20) + 1),
        "[models]\na = 1",
        "max_queue = 0x" + "f" * 9999,
        "[[token]]",
        "[token]\n",
        "memory = 1979-05-27",
        "listen = 8443",
        "max_queue = nan",
    ],
    ids=range(15),
)
def test_bad_text_is_refused_in_one_line(text):
    with pytest.raises(ConfigError) as caught:
        server_config(parse_config(text), {})
    assert len(caught.value.message) < 300
    assert "\n" not in caught.value.message


def test_a_flag_that_is_wrong_is_named_as_a_flag():
    with pytest.raises(ConfigError, match=r"^--tls-min: '1\.1' is not 1\.2") as caught:
        parse_flags({"tls_min": "1.1"})
    assert caught.value.where == "--tls-min"


def toml_values():
    plain = st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20),
        st.datetimes(),
        st.just("never"),
    )
    return st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["id", "roles", "expires", "sha256"]), inner)
        ),
        max_leaves=6,
    )


def written(value):
    """Return a value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


@given(st.dictionaries(st.sampled_from([setting.key for setting in SETTINGS]), toml_values()))
def test_any_values_give_a_configuration_or_our_errors(values):
    text = "".join(f"{key} = {written(value)}\n" for key, value in values.items())
    tomllib.loads(text)
    with suppress(ConfigError):
        assert server_config(parse_config(text), {"models": "m"}).models == "m"


@given(st.text(max_size=200))
def test_any_text_gives_a_configuration_or_our_errors(text):
    with suppress(ConfigError):
        assert parse_config(text) == {}


def shown(setting):
    """Return the default of a setting as its table has it."""
    if setting.is_required:
        return "required"
    if setting.default is None:
        return "none"
    plain = setting.kind.plain(setting.default)
    if setting.field.endswith("_bytes"):
        unit, name = next((u, n) for u, n in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B"))
                          if plain % u == 0)  # fmt: skip
        plain = f"{plain // unit}{name}"
    return f"`{json.dumps(plain)}`"


def table(settings):
    rows = ["| key | flag | values | default | meaning |", "|---|---|---|---|---|"]
    for one in settings:
        flag = f"`{one.flag}`" if one.flag else ""
        rows.append(f"| `{one.key}` | {flag} | {one.kind.written} | {shown(one)} | {one.meaning} |")
    return "\n".join(rows)


@pytest.mark.parametrize("group", GROUPS)
def test_the_documentation_has_the_table(group):
    assert f"## {group}\n\n{table(GROUPS[group])}\n" in DOCUMENT


def test_the_documentation_has_no_other_settings():
    rows = re.findall(r"^\| `([a-z0-9_]+)` \|", DOCUMENT, re.MULTILINE)
    assert rows == [setting.key for setting in SETTINGS]


def test_the_example_of_the_documentation_is_one():
    example = re.search(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)[1]
    config = server_config(parse_config(example), {})
    assert len(config.tokens) == 1
    assert config.owner is not None
