from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from inferonnx.control import (
    NEVER_S,
    SETTINGS,
    Address,
    Role,
    ServerConfig,
    config_digest,
    encode_config,
    new_token,
    parse_config,
    server_config,
)
from inferonnx.control.config_digest import LABEL_CONFIG, SCHEMA

DOCUMENT = (Path(__file__).parents[3] / "docs" / "serve-config.md").read_text(encoding="utf-8")
CONFIG = ServerConfig(models="m")
ENTRIES = [new_token(bytes([i] * 38), roles=[Role.INFER], expires_s=NEVER_S)[1] for i in range(3)]

OTHERS = {
    "models": "n",
    "listen": Address("::", 1),
    "grpc": Address("::", 1),
    "owner": bytes(32),
    "log_format": "json",
    "tokens": (ENTRIES[0],),
    "client_roles": frozenset({Role.INFER}),
    "tls_san": ("a.b",),
    "tls_min": "1.2",
    "threads": 1,
    "max_connections_per_address": 1,
}


def other(one):
    """Return another value of a field."""
    if one.name in OTHERS:
        return OTHERS[one.name]
    if one.default is None:
        return "path"
    return not one.default if isinstance(one.default, bool) else one.default + 1


def unchecked(**changed):
    """Return a configuration whose settings may contradict each other."""
    config = replace(CONFIG)
    for name, value in changed.items():
        object.__setattr__(config, name, value)
    return config


def digest(config):
    contents = {
        "client_ca_sha256": None if config.client_ca is None else bytes(32),
        "tls_cert_sha256": None if config.tls_cert is None else bytes(32),
    }
    return config_digest(encode_config(config, **contents))


def test_every_setting_changes_the_digest():
    seen = {digest(CONFIG)}
    for one in fields(ServerConfig):
        seen.add(digest(unchecked(**{one.name: other(one)})))
    assert len(seen) == 1 + len(SETTINGS)


def test_the_content_of_trusted_files_changes_the_digest():
    config = replace(CONFIG, client_ca="ca")
    one = encode_config(config, client_ca_sha256=bytes(32))
    two = encode_config(config, client_ca_sha256=bytes([1] * 32))
    assert config_digest(one) != config_digest(two)


@pytest.mark.parametrize(
    "contents",
    [
        {},
        {"client_ca_sha256": bytes(31)},
        {"client_ca_sha256": bytes(32), "tls_cert_sha256": bytes(32)},
    ],
    ids=["left-out", "short", "made-up"],
)
def test_contents_of_named_files_can_not_be_left_out_or_made_up(contents):
    with pytest.raises(ValueError, match="one SHA-256 for each file"):
        encode_config(replace(CONFIG, client_ca="ca"), **contents)


def test_the_form_is_that_of_the_documentation():
    config = replace(CONFIG, models="ü/\u2028", tokens=tuple(ENTRIES))
    encoded = encode_config(config)
    tree = json.loads(encoded)
    again = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert encoded == again.encode()
    assert "ü".encode() in encoded
    assert set(tree) == {one.key for one in SETTINGS} | {
        "schema",
        "client_ca_sha256",
        "tls_cert_sha256",
    }
    assert config_digest(encoded) == hashlib.sha256(LABEL_CONFIG + encoded).digest()


def test_how_it_was_written_does_not_matter():
    one = parse_config('models = "m"\nmemory = "1GiB"\nlisten = "127.0.0.1:8443"\n')
    two = parse_config('listen = "127.0.0.1:8443"\nmemory = 1073741824\n# a remark\nmodels = "m"')
    assert digest(server_config(one, {})) == digest(server_config(two, {})) == digest(CONFIG)


def test_numbers_are_exact_in_every_json_reader():
    changed = {one.name: other(one) for one in fields(ServerConfig)}
    encoded = encode_config(unchecked(**{**changed, "client_ca": None, "tls_cert": None}))

    def numbers(value):
        if isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                yield from numbers(part)
        elif isinstance(value, float) or (isinstance(value, int) and value >= 1 << 53):
            yield value

    assert list(numbers(json.loads(encoded))) == []


def test_the_documentation_has_label_schema_and_the_default_s_text():
    assert f'"{LABEL_CONFIG[:-1].decode()}\\0"' in DOCUMENT
    assert f'"{SCHEMA}"' in DOCUMENT
    example = replace(CONFIG, models="/srv/models")
    assert encode_config(example).decode() in DOCUMENT.replace("\n    ", "")
    assert digest(example).hex() in DOCUMENT
