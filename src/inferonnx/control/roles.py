"""Who asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from inferonnx.errors import ForbiddenError, UnauthenticatedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Role(Enum):
    """What a caller may do; a caller may have several, and none includes another."""

    INFER = "infer"
    MANAGE = "manage"
    METRICS = "metrics"


class How(Enum):
    """What is known about a caller, the most first."""

    OWNER = "owner"
    TOKEN = "token"  # noqa: S105 - a kind, no token
    CERTIFICATE = "certificate"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        roles: What it may do. An owner's signed request needs no role: the signature
            allows that one action.
        how: How it is known.
        name: Which token, for logs: its id; empty otherwise.
    """

    roles: frozenset[Role]
    how: How
    name: str = ""


def parse_roles(words: Iterable[str]) -> frozenset[Role]:
    """Return the roles that `words` name.

    Raises:
        UsageError: One of them names none.
    """
    known = {role.value: role for role in Role}
    roles = set()
    for word in words:
        if word not in known:
            raise UsageError(f"{word!r:.60} is no role", hint=f"Roles are {', '.join(known)}.")
        roles.add(known[word])
    return frozenset(roles)


def role_words(roles: Iterable[Role]) -> list[str]:
    """Return the words for `roles`, always in the same order."""
    held = set(roles)
    return [role.value for role in Role if role in held]


def require(caller: Caller, *roles: Role) -> None:
    """Raise unless the caller has one of `roles`; with none given, nobody has.

    Raises:
        UnauthenticatedError: It is nobody who is known.
        ForbiddenError: It is known, and may not.
    """
    if caller.roles.intersection(roles):
        return
    wanted = " or ".join(role_words(roles)) or "no"
    if caller.how is How.ANONYMOUS:
        raise UnauthenticatedError(
            f"this needs a token with the role {wanted}",
            hint="Give one with --token-file or INFERONNX_TOKEN.",
        )
    raise ForbiddenError(
        f"this needs the role {wanted}, which this caller has not",
        hint="Ask the server's operator for a token that has it.",
    )
