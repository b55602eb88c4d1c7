"""Names and versions of served models: what stands in paths of URLs and of the disk."""

from __future__ import annotations

import re

from inferonnx.errors import ModelNameError

MAX_NAME_CHARS = 128
"""Characters of a name: folders take 255, and logs and tables stay readable."""

MAX_VERSION = (1 << 63) - 1
"""Protocols and databases hold a version in a signed 64-bit integer."""

_NAME = re.compile(rf"(?!\.)[A-Za-z0-9._-]{{1,{MAX_NAME_CHARS}}}")
_DIGITS = re.compile(r"[0-9]+")


def check_name(name: str) -> str:
    """Return `name`: letters, digits, `.`, `_` and `-`, the first no dot.

    So no name is a path, hidden, or `..`, and none needs escaping anywhere.

    Raises:
        ModelNameError: It is another text.
    """
    if _NAME.fullmatch(name) is None:
        raise ModelNameError(
            f"{name[:MAX_NAME_CHARS]!r} can't be the name of a model",
            hint=f"Names have 1 to {MAX_NAME_CHARS} letters, digits, dots, dashes and "
            "underscores, and begin with no dot.",
        )
    return name


def parse_version(text: str) -> int:
    """Return the version that `text` names: 1 to `MAX_VERSION`, zeros before it allowed.

    Only clients may write the zeros; whoever makes paths uses `str` of the number.

    Raises:
        ModelNameError: It names none.
    """
    digits = text.lstrip("0")
    is_one = _DIGITS.fullmatch(digits) is not None and len(digits) <= len(str(MAX_VERSION))
    version = int(digits) if is_one else 0
    if not 1 <= version <= MAX_VERSION:
        raise ModelNameError(
            f"{text[:MAX_NAME_CHARS]!r} is not a version of a model",
            hint=f"Versions are whole numbers from 1 to {MAX_VERSION}.",
        )
    return version
