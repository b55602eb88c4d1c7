"""Bearer tokens: made once, shown once, kept as a hash.

A token is `ifx_<id>_<secret>`: 12 hexadecimal digits that name it in configurations
and logs, and 256 random bits. Its entry holds SHA-256 of the whole text. A password
hash (scrypt) would slow down who guesses passwords; nobody guesses 256 random bits,
and a server that spends 32 MiB a request on a hash could be stopped by asking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.control.roles import Role, role_words
from inferonnx.crypto import SHA256_BYTES, equal_bytes, sha256
from inferonnx.errors import UnauthenticatedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

ID_BYTES = 6
"""48 bits: names among the few tokens of a server, drawn without looking at the others."""

SECRET_BYTES = 32
TOKEN_RANDOM_BYTES = ID_BYTES + SECRET_BYTES

NEVER_S = (1 << 63) - 1
"""The second of the end of a token that does not end: later than any clock."""

DAY_S = 86_400

MAX_LIFE_DAYS = 36_500
"""A hundred years; whoever wants more wants `never`."""

_ID = re.compile(f"[0-9a-f]{{{2 * ID_BYTES}}}")
_TOKEN = re.compile(f"ifx_({_ID.pattern})_[A-Za-z0-9_-]{{43}}")
_LIFE = re.compile(r"([0-9]{1,6})([dh])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEntry:
    """What a server knows of a token.

    Attributes:
        id: Names it.
        roles: What it allows; at least one.
        sha256: SHA-256 of its text.
        expires_s: Seconds since 1970 from which on it is refused; `NEVER_S` for never.
    """

    id: str
    roles: frozenset[Role]
    sha256: bytes
    expires_s: int

    def __post_init__(self) -> None:
        """Check each field.

        Raises:
            UsageError: One can't be a token's.
        """
        if _ID.fullmatch(self.id) is None:
            raise UsageError(f"{self.id!r:.40} is no id of a token")
        if not self.roles:
            raise UsageError(f"token {self.id} has no role", hint="Give it one, or leave it out.")
        if len(self.sha256) != SHA256_BYTES:
            raise UsageError(f"token {self.id} needs the 32 bytes of its SHA-256")
        if not 0 <= self.expires_s <= NEVER_S:
            raise UsageError(f"token {self.id} ends at a time that no clock shows")


def new_token(random: bytes, *, roles: Iterable[Role], expires_s: int) -> tuple[str, TokenEntry]:
    """Return a new token, which nobody can get again, and its entry.

    Args:
        random: `TOKEN_RANDOM_BYTES` of a cryptographic generator.
        roles: What it allows.
        expires_s: As in `TokenEntry`.

    Raises:
        UsageError: There is no role.
    """
    from base64 import urlsafe_b64encode  # loaded here: a server only checks tokens

    if len(random) != TOKEN_RANDOM_BYTES:
        raise ValueError(f"a token takes {TOKEN_RANDOM_BYTES} random bytes, not {len(random)}")
    name = random[:ID_BYTES].hex()
    secret = urlsafe_b64encode(random[ID_BYTES:]).rstrip(b"=").decode()
    text = f"ifx_{name}_{secret}"
    entry = TokenEntry(
        id=name, roles=frozenset(roles), sha256=sha256(text.encode()), expires_s=expires_s
    )
    return text, entry


def check_token(text: str, entries: Iterable[TokenEntry], *, now_s: int) -> TokenEntry:
    """Return the entry of a token.

    (1) It has the form of one. (2) An entry has its id. (3) The entry's hash is its
    hash, compared in constant time. (4) It has not expired.

    Raises:
        UnauthenticatedError: One of these does not hold. Who does not have the token
            learns nothing about it: (1) to (3) fail alike.
    """
    match = _TOKEN.fullmatch(text)  # (1)
    if match is None:
        raise _unknown()
    entry = next((entry for entry in entries if entry.id == match[1]), None)  # (2)
    # An unknown id is compared too, with what no text hashes to: ids take no other time.
    expected = entry.sha256 if entry else bytes(SHA256_BYTES)
    if not equal_bytes(sha256(text.encode()), expected) or entry is None:  # (3)
        raise _unknown()
    if now_s >= entry.expires_s:  # (4)
        raise UnauthenticatedError(
            f"token {entry.id} has expired", hint="Ask the server's operator for a new one."
        )
    return entry


def parse_expiry(text: str, *, now_s: int) -> int:
    """Return the second at which a token ends.

    Args:
        text: `30d`, `12h`, a date (its first second in UTC), a date and time with its
            offset (`2027-01-31T12:00:00Z`), or `never`.
        now_s: Seconds since 1970.

    Raises:
        UsageError: It is none of these, or in the past.
    """
    if text == "never":
        return NEVER_S
    life = _LIFE.fullmatch(text)
    if life:
        expires_s = now_s + int(life[1]) * (DAY_S if life[2] == "d" else DAY_S // 24)
    else:
        expires_s = _instant(text)
    if not now_s < expires_s <= now_s + MAX_LIFE_DAYS * DAY_S:
        raise UsageError(
            f"a token can't end at {text!r:.40}",
            hint=f"It ends later than now and within {MAX_LIFE_DAYS} days, or never.",
        )
    return expires_s


def config_lines(entry: TokenEntry) -> str:
    """Return the lines of a configuration that make a server know the token."""
    roles = ", ".join(f'"{word}"' for word in role_words(entry.roles))
    return (
        "[[token]]\n"
        f'id = "{entry.id}"\n'
        f"roles = [{roles}]\n"
        f"expires = {expiry_text(entry.expires_s)}\n"
        f'sha256 = "{entry.sha256.hex()}"\n'
    )


def expiry_text(expires_s: int) -> str:
    """Return the end of a token in TOML: a date and time in UTC, or "never"."""
    from datetime import UTC, datetime

    if expires_s == NEVER_S:
        return '"never"'
    return datetime.fromtimestamp(expires_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant(text: str) -> int:
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text + "T00:00Z" if _DATE.fullmatch(text) else text)
        if moment.tzinfo is None:
            raise ValueError("a time without its offset")
        return int(moment.timestamp())
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r:.40} is no time at which a token could end",
            hint="Write 30d, 12h, 2027-01-31, 2027-01-31T12:00:00Z or never.",
        ) from error


def _unknown() -> UnauthenticatedError:
    return UnauthenticatedError(
        "the token is not one of this server", hint="Ask the server's operator for one."
    )
