"""Kinds of settings: from what TOML or a flag gives to a checked value, and back.

A kind parses both, so that a flag and a key accept and refuse the same. `plain`
gives the one form of a value in JSON, which the digest is made of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.control.limits import MAX_BYTES, MOST_TOKENS
from inferonnx.control.roles import parse_roles, role_words
from inferonnx.control.tokens import NEVER_S, TokenEntry
from inferonnx.errors import ConfigError, InferonnxError
from inferonnx.sizes import format_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.control.roles import Role

_64_DIGITS = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]+):([0-9]{1,5})")
_NOUNS = {"int": "this large number", "list": "a list", "dict": "a table"}
_TOKEN_KEYS = ("id", "roles", "expires", "sha256")


class Address(NamedTuple):
    """Where to listen.

    Attributes:
        host: Name or address, IPv6 without brackets.
        port: 0 for one that the system chooses.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of setting.

    Attributes:
        written: How a value is written, for the documentation.
        parse: Value of what TOML or a flag gives; ConfigError without a place.
        plain: A value as JSON has it.
        placeholder: Stands for a value in a command's help.
    """

    written: str
    parse: Callable[[Any], Any]
    plain: Callable[[Any], object] = lambda value: value
    placeholder: str = "N"


def whole(least: int, most: int) -> Kind:
    """Return the kind of whole numbers from `least` to `most`."""

    def parse(raw: object) -> int:
        if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 16:
            raw = int(raw)  # from a flag
        if not isinstance(raw, int) or isinstance(raw, bool) or not least <= raw <= most:
            raise _wrong(raw, f"a whole number from {least} to {most}")
        return raw

    return Kind(written=f"{least} to {most}", parse=parse)


def size(least: int, most: int = MAX_BYTES) -> Kind:
    """Return the kind of sizes from `least` to `most` bytes."""

    def parse(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise _wrong(raw, 'a size, like "64MiB"')
        n_bytes = parse_size(raw)
        if not least <= n_bytes <= most:
            raise _wrong(raw, f"a size of at least {format_size(least)}, at most 8 PiB")
        return n_bytes

    at_least = f", at least {format_size(least)}" if least > 1 else ""
    return Kind(written=f"size{at_least}", parse=parse, placeholder="SIZE")


def choice(*words: str) -> Kind:
    """Return the kind that is one of `words`."""

    def parse(raw: object) -> str:
        if raw not in words:
            raise _wrong(raw, " or ".join(words))
        return str(raw)

    written = " or ".join(f'"{word}"' for word in words)
    return Kind(written=written, parse=parse, placeholder=f"{{{','.join(words)}}}")


def _switch(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise _wrong(raw, "true or false")
    return raw


def _path(raw: object) -> str:
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise _wrong(raw, "a path")
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("a path has to be UTF-8", hint="Rename what it leads to.") from error
    return raw


def _address(raw: object) -> Address:
    match = _ADDRESS.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or int(match[2]) > 65_535:
        raise _wrong(raw, 'HOST:PORT, like "127.0.0.1:8443" or "[::1]:8443"')
    return Address(host=match[1].strip("[]"), port=int(match[2]))


def _public_key(raw: object) -> bytes:
    if not isinstance(raw, str) or _64_DIGITS.fullmatch(raw) is None:
        raise _wrong(raw, "the 64 hexadecimal digits of the owner's public key")
    return bytes.fromhex(raw)


def _names(raw: object) -> tuple[str, ...]:
    # What a host name is, and how many there may be, crypto.x509 knows.
    if not isinstance(raw, list | tuple) or not raw:
        raise _wrong(raw, "a list of host names and addresses")
    for name in raw:
        if not isinstance(name, str) or not name.isascii() or not name.isprintable() or not name:
            raise _wrong(name, "a host name or an address")
    return tuple(raw)


def _roles(raw: object) -> frozenset[Role]:
    if not isinstance(raw, list | tuple) or not all(isinstance(word, str) for word in raw):
        raise _wrong(raw, "a list of roles")
    return parse_roles(raw)


def _tokens(raw: object) -> tuple[TokenEntry, ...]:
    """Return entries in the order of their ids."""
    if not isinstance(raw, list | tuple) or len(raw) > MOST_TOKENS:
        raise _wrong(raw, f"at most {MOST_TOKENS} tables [[token]]")
    entries = sorted(map(_token, raw), key=lambda entry: entry.id)
    for first, second in pairwise(entries):
        if first.id == second.id:
            raise ConfigError(f"token {first.id} stands there twice")
    return tuple(entries)


def _token(raw: object) -> TokenEntry:
    if not isinstance(raw, dict) or set(raw) != set(_TOKEN_KEYS):
        raise ConfigError(
            f"a token has exactly the keys {', '.join(_TOKEN_KEYS)}",
            hint="`inferonnx token new` prints such lines.",
        )
    return TokenEntry(
        id=_text(raw["id"]),
        roles=_roles(raw["roles"]),
        sha256=_sha256(raw["sha256"]),
        expires_s=_expires(raw["expires"]),
    )


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise _wrong(raw, "a text")
    return raw


def _sha256(raw: object) -> bytes:
    if not isinstance(raw, str) or _64_DIGITS.fullmatch(raw) is None:
        # It is not shown: it may be the token itself.
        raise ConfigError("the sha256 of a token has 64 hexadecimal digits")
    return bytes.fromhex(raw)


def _expires(raw: Any) -> int:
    if raw == "never":
        return NEVER_S
    try:
        if raw.tzinfo is None:
            raise ValueError("a local time")
        return int(raw.timestamp())
    except (AttributeError, ValueError, OverflowError) as error:
        raise _wrong(raw, 'a date and time with its offset, or "never"') from error


def _plain_token(entry: TokenEntry) -> Mapping[str, object]:
    return {
        "id": entry.id,
        "roles": role_words(entry.roles),
        "expires": "never" if entry.expires_s == NEVER_S else entry.expires_s,
        "sha256": entry.sha256.hex(),
    }


SWITCH = Kind(written="true or false", parse=_switch)
PATH = Kind(written="path", parse=_path, placeholder="FILE")
ADDRESS = Kind(written="HOST:PORT", parse=_address, plain=str, placeholder="HOST:PORT")
PUBLIC_KEY = Kind(written="64 digits", parse=_public_key, plain=bytes.hex, placeholder="PUBKEY")
NAMES = Kind(written="list of names", parse=_names, plain=list, placeholder="NAME")
ROLES = Kind(written="list of roles", parse=_roles, plain=role_words)
TOKENS = Kind(
    written="tables", parse=_tokens, plain=lambda entries: [_plain_token(e) for e in entries]
)


def parse_value(kind: Kind, raw: object, *, where: str) -> Any:
    """Return the value of a setting.

    Args:
        kind: Of the setting.
        raw: What TOML or a flag gives.
        where: Key or flag, for the error.

    Raises:
        ConfigError: It is none.
    """
    try:
        return kind.parse(raw)
    except InferonnxError as error:
        raise ConfigError(f"{where}: {error.message}", where=where, hint=error.hint) from error


def _wrong(raw: object, wanted: str) -> ConfigError:
    return ConfigError(f"{_shown(raw)} is not {wanted}")


def _shown(raw: object) -> str:
    """Return the beginning of a text, or a small number; of anything else what it is."""
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, str):
        return f"{raw[:60]!r}"
    # Python refuses to write numbers of thousands of digits, which hexadecimal TOML can hold.
    if isinstance(raw, float) or (isinstance(raw, int) and abs(raw) <= MAX_BYTES):
        return str(raw)
    return _NOUNS.get(type(raw).__name__, "a value of this type")
