from __future__ import annotations

import dataclasses

import pytest

from inferonnx.control import Address, Role, ServerConfig
from inferonnx.errors import ConfigError

TLS = {"tls_cert": "c", "tls_key": "k"}


def test_leaving_everything_out_refuses_everything():
    config = ServerConfig(models="m")
    assert config.owner is None
    assert not config.owner_first_come
    assert not config.allow_anonymous_infer
    assert config.tokens == ()
    assert config.client_roles == frozenset()
    assert config.key is None
    assert config.tls_min == "1.3"
    assert config.listen.host == "127.0.0.1"
    assert config.grpc is None


def test_a_configuration_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ServerConfig(models="m").allow_anonymous_infer = True


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"owner": bytes(32), "owner_first_come": True}, "exclude each other"),
        ({"tls_cert": "c"}, "go together"),
        ({"tls_key": "k"}, "go together"),
        ({**TLS, "cert_out": "o"}, "cert_out is for"),
        ({**TLS, "tls_san": ("a",)}, "tls_san is for"),
        ({"client_roles": frozenset({Role.INFER})}, "client_roles needs client_ca"),
        ({"passphrase_file": "p"}, "needs the key"),
        ({"grpc": Address("a", 1), "listen": Address("a", 1)}, "the same address"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        ServerConfig(models="m", **values)


@pytest.mark.parametrize(
    "values",
    [
        TLS,
        {"grpc": Address("a", 0), "listen": Address("a", 0)},
        {"client_ca": "ca"},
        {"client_ca": "ca", "client_roles": frozenset(Role)},
        {"key": "k", "passphrase_file": "p"},
        {"owner": bytes(32)},
        {"owner_first_come": True},
    ],
    ids="-".join,
)
def test_others_go_together(values):
    config = ServerConfig(models="m", **values)
    assert {name: getattr(config, name) for name in values} == values
