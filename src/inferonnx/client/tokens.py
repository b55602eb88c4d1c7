"""The caller's token: a secret that goes into one header and nowhere else."""

from __future__ import annotations

import re

from inferonnx.crypto import Secret
from inferonnx.errors import UsageError

MAX_TOKEN_CHARS = 4096
"""Ours have 60; other servers hand out signed ones, which are long."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


def check_token(text: str) -> Secret:
    """Return a token as a secret.

    Raises:
        UsageError: It has a character that no token has. The error does not show it.
    """
    if len(text) > MAX_TOKEN_CHARS or _TOKEN.fullmatch(text) is None:
        raise UsageError(
            "the token has characters that no token has, or none at all",
            hint="A token is one word, like ifx_... of `inferonnx token new`.",
        )
    return Secret(text.encode("ascii"))
