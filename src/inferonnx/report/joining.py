"""Pages are joined from the files in `assets/`: markup with slots, style, programs.

A page's policy (CSP) allows its inline style and its inline program by their hashes,
so that nothing else that might get into it is either. The server makes a page in the
process whose memory is promised: what is imported here, it has anyway.
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64
from typing import TYPE_CHECKING

from inferonnx.crypto import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FOLDER = os.path.join(os.path.dirname(__file__), "assets")
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def joined(names: Iterable[str]) -> str:
    """Return the text of these files, one after the other."""
    return "".join(_asset(name) for name in names)


def filled(template: str, slots: Mapping[str, str]) -> str:
    """Return the text of a file with its `{{slots}}` filled.

    One pass: what is filled in is never searched for slots.

    Raises:
        KeyError: The file has a slot that nothing is for.
    """
    return _SLOT.sub(lambda match: slots[match[1]], _asset(template))


def inline_policy(*, style: str, program: str) -> str:
    """Return the directives that allow exactly these two inline blocks, and nothing from afar."""
    return (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(program)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{b2a_base64(sha256(text.encode()), newline=False).decode()}'"


def _asset(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return file.read()
