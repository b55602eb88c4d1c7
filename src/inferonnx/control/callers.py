"""Who asks: what a connection and its headers prove, by the server's configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from inferonnx.control.roles import Caller, How, Role
from inferonnx.control.tokens import check_token
from inferonnx.errors import UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inferonnx.control.config import ServerConfig

_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE | re.ASCII)


def identify(
    config: ServerConfig,
    *,
    authorization: Iterable[str],
    has_client_certificate: bool,
    now_s: int,
) -> Caller:
    """Return who asks; nobody that is known has the roles of everybody.

    Roles of a certificate and a token add up. Credentials that do not hold are an
    error, also where none are needed: their owner wants to know.

    Args:
        config: Of the server.
        authorization: The values of all `Authorization` headers.
        has_client_certificate: Whether TLS has verified one, of `client_ca`.
        now_s: Seconds since 1970.

    Raises:
        UnauthenticatedError: The token does not hold.
    """
    roles = {Role.INFER} if config.allow_anonymous_infer else set()
    how, name = How.ANONYMOUS, ""
    if has_client_certificate:
        roles |= config.client_roles
        how = How.CERTIFICATE
    values = list(authorization)
    if values:
        entry = check_token(_bearer(values), config.tokens, now_s=now_s)
        roles |= entry.roles
        how, name = How.TOKEN, entry.id
    return Caller(roles=frozenset(roles), how=how, name=name)


def _bearer(values: list[str]) -> str:
    """Return the token of the one `Authorization` header."""
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise UnauthenticatedError(
            "the header Authorization is not in the form `Bearer TOKEN`",
            where="Authorization",
            hint="Send one such header.",
        )
    return match[1]
