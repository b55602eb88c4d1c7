"""The table of settings, and the configuration that a file and flags make by it.

A field of `ServerConfig` has its type and default there, and here how it is written,
what kind of value it is and what it means. The parser, the digest and the tables of
docs/serve-config.md are drawn from both.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.control import limits
from inferonnx.control.config import ServerConfig
from inferonnx.control.kinds import (
    ADDRESS,
    NAMES,
    PATH,
    PUBLIC_KEY,
    ROLES,
    SWITCH,
    TOKENS,
    Kind,
    choice,
    parse_value,
    size,
    whole,
)
from inferonnx.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS = {one.name: one.default for one in fields(ServerConfig)}
_TIMEOUT = whole(1, limits.MOST_TIMEOUT_S)
_CONNECTIONS = whole(1, limits.MOST_CONNECTIONS)


class Setting(NamedTuple):
    """One setting.

    Attributes:
        field: Attribute of `ServerConfig`.
        kind: Of its values.
        meaning: What it does, in half a line.
        flag: On the command line; empty when it stands in the file alone.
        against: What the flag does, where it says no to what `meaning` says.
    """

    field: str
    kind: Kind
    meaning: str
    flag: str = ""
    against: str = ""

    @property
    def key(self) -> str:
        """In the file: a size says its unit there, and TOML names one table of many."""
        return "token" if self.field == "tokens" else self.field.removesuffix("_bytes")

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def default(self) -> Any:
        """Its value when it is not given."""
        return _DEFAULTS[self.field]


GROUPS: Mapping[str, tuple[Setting, ...]] = {
    "Serving": (
        Setting("models", PATH, "folder of the models", "--models"),
        Setting("listen", ADDRESS, "where REST is served; port 0: the system chooses", "--listen"),
        Setting("grpc", ADDRESS, "where gRPC is served", "--grpc"),
        Setting(
            "memory_bytes",
            size(limits.LEAST_MEMORY_BYTES),
            "peak resident memory of the whole process",
            "--memory",
        ),
        Setting(
            "threads",
            whole(1, limits.MOST_THREADS),
            "threads that open and compute; none: one a core",
            "--threads",
        ),
        Setting(
            "page_drop",
            SWITCH,
            "drop clean pages of libraries; not inside an SGX library OS",
            "--no-page-drop",
            "keep clean pages of libraries in memory: inside an SGX library OS they can't go",
        ),
        Setting(
            "resident",
            SWITCH,
            "keep weights decrypted where memory is left; false: for measurements",
            "--no-resident",
            "read and decrypt all weights in every pass; for measurements",
        ),
        Setting("drain_timeout_s", _TIMEOUT, "what running requests get after SIGTERM"),
        Setting("log_format", choice("text", "json"), "form of lines on stderr", "--log-format"),
    ),
    "Who may do what": (
        Setting(
            "owner",
            PUBLIC_KEY,
            "public key of the one owner who may push, unlock and delete; none: nobody may",
            "--owner",
        ),
        Setting(
            "owner_first_come",
            SWITCH,
            "the first whose push or unlock is not refused is the owner; for development",
            "--owner-first-come",
        ),
        Setting(
            "allow_anonymous_infer",
            SWITCH,
            "everybody has the role infer",
            "--allow-anonymous-infer",
        ),
        Setting("tokens", TOKENS, "as `inferonnx token new` prints them"),
        Setting(
            "client_ca",
            PATH,
            "CA certificates in PEM; without a certificate of theirs no client connects",
            "--client-ca",
        ),
        Setting("client_roles", ROLES, "roles of every client with such a certificate"),
        Setting("key", PATH, "owner's key file: unlocks at start; for development", "--key"),
        Setting("passphrase_file", PATH, "first line: passphrase of that key", "--passphrase-file"),
    ),
    "TLS": (
        Setting("tls_san", NAMES, "names in the certificate that the server makes", "--tls-san"),
        Setting("tls_min", choice("1.2", "1.3"), "least version of TLS", "--tls-min"),
        Setting("cert_out", PATH, "where that certificate is written", "--cert-out"),
        Setting("certificate_days", whole(1, limits.MOST_CERTIFICATE_DAYS), "how long it is valid"),
        Setting(
            "tls_cert",
            PATH,
            "a certificate chain in PEM in its place; refused in a TEE",
            "--tls-cert",
        ),
        Setting("tls_key", PATH, "the key of that certificate, in PEM", "--tls-key"),
    ),
    "Connections": (
        Setting("max_connections", _CONNECTIONS, "open at one time; of gRPC as many more"),
        Setting("max_connections_per_address", _CONNECTIONS, "of one client; none: all"),
        Setting("handshake_timeout_s", _TIMEOUT, "for the TLS handshake"),
        Setting("header_timeout_s", _TIMEOUT, "from a request's first byte to its last header"),
        Setting("body_timeout_s", _TIMEOUT, "for a whole body; not of an upload"),
        Setting("min_body_rate_bytes", size(1), "what any body has to bring in a second"),
        Setting("idle_timeout_s", _TIMEOUT, "between two requests"),
        Setting("reply_timeout_s", _TIMEOUT, "in which no byte of a reply is taken"),
        Setting("max_header_bytes", size(1024), "all headers of a request together"),
        Setting("max_headers", whole(8, limits.MOST_HEADERS), "headers of a request"),
        Setting("max_body_bytes", size(1), "a body, also when unpacked; not of an upload"),
        Setting("max_chunks", whole(1, limits.MOST_CHUNKS), "of a body; not of an upload"),
    ),
    "Work": (
        Setting(
            "concurrency",
            whole(1, limits.MOST_CONCURRENCY),
            "calls that may share a pass over a model's weights",
            "--concurrency",
        ),
        Setting("max_batch", whole(1, limits.MOST_BATCH), "requests in a batch; 1: no batching"),
        Setting(
            "batch_delay_us",
            whole(0, limits.MOST_BATCH_DELAY_US),
            "what the first of a batch waits for others, at most, in microseconds",
        ),
        Setting(
            "max_queue",
            whole(1, limits.MOST_QUEUE),
            "requests that wait for one model; the next is told to come again",
        ),
        Setting("request_timeout_s", _TIMEOUT, "from a whole request to its answer"),
    ),
    "Models on disk": (
        Setting("quota_bytes", size(1), "models and half uploads together"),
        Setting("max_uploads", whole(1, limits.MOST_UPLOADS), "half uploads at one time"),
        Setting(
            "upload_expiry_s",
            whole(1, limits.MOST_UPLOAD_EXPIRY_S),
            "after its last byte a half upload is removed",
        ),
    ),
}
"""All settings, in the groups and the order of the documentation."""

SETTINGS: tuple[Setting, ...] = tuple(one for group in GROUPS.values() for one in group)
_BY_KEY = {setting.key: setting for setting in SETTINGS}
_BY_FIELD = {setting.field: setting for setting in SETTINGS}


def parse_config(text: str) -> Mapping[str, Any]:
    """Return the fields that a configuration file sets, checked one by one.

    Raises:
        ConfigError: It is not TOML, has an unknown key, or a value that is wrong.
    """
    import tomllib  # loaded here: a server that flags alone configure does not need it

    if len(text) > limits.MOST_CONFIG_CHARS:
        raise ConfigError(f"the configuration has more than {limits.MOST_CONFIG_CHARS} characters")
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        is_told = isinstance(error, tomllib.TOMLDecodeError)
        said = str(error) if is_told else "a value is too long or too deep"
        raise ConfigError(f"the configuration is not TOML: {said:.200}") from error
    values = {}
    for key, raw in tree.items():
        setting = _BY_KEY.get(key)
        if setting is None:
            raise _unknown(key)
        values[setting.field] = parse_value(setting.kind, raw, where=key)
    return values


def parse_flags(raw: Mapping[str, object]) -> Mapping[str, Any]:
    """Return the fields that flags set, checked one by one.

    Args:
        raw: By field: texts, lists of texts, numbers, booleans; None when not given.

    Raises:
        ConfigError: A value is wrong; it names the flag.
    """
    return {
        name: parse_value(_BY_FIELD[name].kind, value, where=_BY_FIELD[name].flag or name)
        for name, value in raw.items()
        if value is not None
    }


def server_config(file: Mapping[str, Any], flags: Mapping[str, Any]) -> ServerConfig:
    """Return the effective configuration: flags win over the file, the file over defaults.

    Args:
        file: Of `parse_config`; empty without a file.
        flags: Of `parse_flags`.

    Raises:
        ConfigError: A setting without a default is missing, or two contradict each other.
    """
    values = {**file, **flags}
    for setting in SETTINGS:
        if setting.is_required and setting.field not in values:
            raise ConfigError(
                f"{setting.key} is not set", hint=f"Give {setting.flag}, or set it in the file."
            )
    return ServerConfig(**values)


def _unknown(key: str) -> ConfigError:
    import difflib

    near = difflib.get_close_matches(key, _BY_KEY, n=1)
    hint = f"Did you mean {near[0]}?" if near else ""
    return ConfigError(f"{key!r:.60} is no setting of a server", where=f"{key:.60}", hint=hint)
